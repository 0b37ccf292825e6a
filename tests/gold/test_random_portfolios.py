"""Random draws and the weights of the benchmarks."""

import numpy as np
import pytest
from scipy.stats import chisquare

from gold.index_tables import level_names, statistics
from gold.random_portfolios import portfolio_weights, random_draws
from tests.gold.markets import random_market, rules_with, run_index

EDGES = ("p05", "p50", "p95")
AS_OF = 1_735_689_600_000_000


def test_a_draw_is_without_replacement_and_in_order() -> None:
    drawn = random_draws(50, 20, 500, 42, AS_OF)
    assert drawn.shape == (500, 20)
    assert (np.diff(drawn, axis=1) > 0).all()
    assert (drawn.min(), drawn.max()) == (0, 49)
    assert len({tuple(row) for row in drawn.tolist()}) == 500


def test_every_name_is_as_likely_as_any_other() -> None:
    counts = np.bincount(random_draws(40, 10, 4000, 7, AS_OF).ravel(), minlength=40)
    assert chisquare(counts).pvalue > 0.001


def test_the_seed_and_the_date_decide_and_nothing_else() -> None:
    one = random_draws(50, 20, 10, 42, AS_OF)
    np.testing.assert_array_equal(one, random_draws(50, 20, 10, 42, AS_OF))
    np.testing.assert_array_equal(one, random_draws(50, 20, 30, 42, AS_OF)[:10])
    assert (one != random_draws(50, 20, 10, 43, AS_OF)).any()
    assert (one != random_draws(50, 20, 10, 42, AS_OF + 1)).any()


@pytest.mark.parametrize("eligible", [0, 3, 20])
def test_too_few_eligible_names_are_all_drawn(eligible: int) -> None:
    drawn = random_draws(eligible, 20, 4, 42, AS_OF)
    assert drawn.tolist() == [list(range(eligible))] * 4


def test_weights_of_the_index_and_its_benchmarks() -> None:
    index = np.array([0.3, 0, 0, 0, 0.7, 0])
    weights = portfolio_weights(
        index, np.array([0, 1, 4, 5]), 2, AS_OF, size=2, portfolios=50, seed=42
    )
    assert weights.shape == (53, 6)
    assert weights[:3].tolist() == [
        [0.3, 0, 0, 0, 0.7, 0],
        [0.25, 0.25, 0, 0, 0.25, 0.25],
        [0, 0, 1, 0, 0, 0],
    ]
    assert set(map(tuple, np.sort(weights[3:], axis=1).tolist())) == {(0, 0, 0, 0, 0.5, 0.5)}
    assert not weights[3:, [2, 3]].any()  # neither Bitcoin, which is not eligible, nor the fourth


@pytest.mark.parametrize(("top_n", "defined"), [(3, True), (20, False)])
def test_portfolios_that_all_hold_everything_tell_nothing_of_luck(
    top_n: int, defined: bool
) -> None:
    rules = rules_with(calendar="weekly", lookback_days=20, top_n=top_n)
    outcome = run_index(random_market(3, days=60), rules, portfolios=30)
    assert outcome.levels is not None
    assert max(len(made.eligible) for made in outcome.determinations) in range(4, 10)
    names = level_names("mine", has_bitcoin=True)
    found = {
        row.statistic: row.value
        for row in statistics(outcome.levels, names, "4h", trials=1)
        if row.statistic.startswith("random_")
    }
    assert set(found) == {"random_share_below", *(f"random_{p}_total_return" for p in EDGES)}
    assert (found["random_share_below"] is not None) == defined
    assert (found["random_p05_total_return"] != found["random_p95_total_return"]) == defined


NOTHING = np.array([], dtype=np.int64)


def test_with_nothing_eligible_all_but_bitcoin_is_cash() -> None:
    weights = portfolio_weights(np.zeros(1), NOTHING, 0, AS_OF, size=20, portfolios=2, seed=1)
    assert weights.tolist() == [[0], [0], [1], [0], [0]]


def test_a_market_without_bitcoin_has_no_row_of_it() -> None:
    weights = portfolio_weights(
        np.array([1.0]), np.array([0]), None, AS_OF, size=1, portfolios=2, seed=1
    )
    assert weights.tolist() == [[1], [1], [1], [1]]
