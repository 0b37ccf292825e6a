"""The smart index's rulebook: exact tables, a literal tournament, and properties."""

from collections import Counter
from collections.abc import Collection
from dataclasses import FrozenInstanceError
from math import fsum

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gold.decisions import Decision, Determination, Holding
from gold.eligibility import without_ratio
from gold.returns import FloatArray, IntArray
from gold.smart_index import (
    Elimination,
    correlated_pairs,
    correlation_tournament,
    determine,
    rank_by_sharpe,
    top_with_buffer,
)
from tests.gold.markets import rules_with

NAN = float("nan")
SEEDS = st.integers(0, 2**32 - 1)


def correlations(size: int, **pairs: float) -> FloatArray:
    """(N, N) correlations of 0, except for the pairs `_<i>_<j>=rho`."""
    rho = np.eye(size)
    for name, value in pairs.items():
        first, second = (int(part) for part in name[1:].split("_"))
        rho[first, second] = rho[second, first] = value
    return rho


def determination(
    symbols: list[str],
    sharpe: npt.ArrayLike,
    annual_volatility: npt.ArrayLike,
    rho: FloatArray,
    *,
    returns: IntArray | None = None,
    members: Collection[str] = (),
    **changed: object,
) -> Determination:
    rules = rules_with(**changed)
    ratios = [np.asarray(values, dtype=np.float64) for values in (sharpe, annual_volatility)]
    counts = np.full(len(symbols), 500) if returns is None else returns
    return determine(
        symbols,
        without_ratio(symbols, counts, *ratios),
        *ratios,
        *correlated_pairs(rho, rules.correlation_threshold),
        rules,
        members,
    )


def test_correlated_pairs_are_strictly_above_of_either_sign_and_in_order() -> None:
    rho = correlations(5, _2_4=0.9, _0_3=-0.95, _0_1=0.85, _1_2=-0.85, _1_3=NAN, _0_2=0.8500001)
    rho[4, 4] = NAN
    pairs, pair_rho = correlated_pairs(rho, 0.85)
    assert pairs.tolist() == [[0, 2], [0, 3], [2, 4]]
    assert pair_rho.tolist() == [0.8500001, -0.95, 0.9]


@pytest.mark.parametrize("rho", [np.empty((0, 0)), np.ones((1, 1)), np.full((4, 4), NAN)])
def test_no_correlated_pairs(rho: FloatArray) -> None:
    pairs, pair_rho = correlated_pairs(rho, 0.85)
    assert (pairs.shape, pair_rho.shape) == ((0, 2), (0,))


def test_tournament_skips_the_pairs_of_a_dropped_symbol() -> None:
    # 0 falls to 1, so the pair (0, 2) is skipped and 2, though weaker than 0, stays.
    won = correlation_tournament(
        np.array([2.0, 3.0, 1.0]), np.array([[0, 1], [0, 2]]), np.array([0.9, 0.91])
    )
    assert won == (Elimination(loser=0, winner=1, rho=0.9),)


def test_a_winner_can_lose_later_and_what_it_beat_stays_dropped() -> None:
    won = correlation_tournament(
        np.array([2.0, 1.0, 3.0]), np.array([[0, 1], [0, 2]]), np.array([0.9, 0.91])
    )
    assert won == (Elimination(1, 0, 0.9), Elimination(0, 2, 0.91))


def test_tournament_drops_the_second_on_a_tie() -> None:
    pairs, rho = correlated_pairs(correlations(3, _0_1=0.9, _0_2=0.9, _1_2=0.9), 0.85)
    won = correlation_tournament(np.array([1.5, 1.5, 1.5]), pairs, rho)
    assert [row.loser for row in won] == [1, 2]
    assert [row.winner for row in won] == [0, 0]


def literal_tournament(sharpe: FloatArray, rho: FloatArray, threshold: float) -> dict[int, int]:
    """The rule word for word, over all pairs: dropped symbol -> the one that beat it."""
    dropped: dict[int, int] = {}
    for i in range(len(sharpe)):
        for j in range(i + 1, len(sharpe)):
            if not abs(rho[i][j]) > threshold:
                continue
            if i in dropped or j in dropped:
                continue
            if sharpe[i] >= sharpe[j]:
                dropped[j] = i
            else:
                dropped[i] = j
    return dropped


def draw(seed: int, size: int = 24) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Sharpe ratios with ties, volatilities, and correlations with many strong pairs."""
    rng = np.random.default_rng(seed)
    rho = np.triu(rng.uniform(-1, 1, (size, size)) ** 3, k=1)
    rho = np.where(rng.random((size, size)) < 0.1, NAN, rho)
    rho = np.triu(rho, k=1) + np.triu(rho, k=1).T + np.eye(size)
    sharpe = np.round(rng.normal(0, 1, size), 1)
    volatility = rng.lognormal(0, 0.5, size)
    undefined = rng.random(size) < 0.2
    undefined[0] = False
    sharpe[undefined] = NAN
    volatility[undefined & (rng.random(size) < 0.5)] = NAN
    return sharpe, volatility, rho


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([0.0, 0.3, 0.85]))
def test_tournament_equals_the_literal_loop(seed: int, threshold: float) -> None:
    sharpe, _, rho = draw(seed)
    sharpe = np.nan_to_num(sharpe)
    won = correlation_tournament(sharpe, *correlated_pairs(rho, threshold))
    assert {row.loser: row.winner for row in won} == literal_tournament(sharpe, rho, threshold)
    assert all(row.rho == rho[row.loser, row.winner] for row in won)


def test_rank_is_descending_with_ties_in_symbol_order() -> None:
    sharpe = np.array([1.0, -0.0, 2.0, 1.0, 0.0, -3.0, 2.0])
    assert rank_by_sharpe(sharpe).tolist() == [2, 6, 0, 3, 1, 4, 5]


def test_a_determination_by_hand() -> None:
    outcome = determination(
        ["ADA", "BTC", "ETH", "LUNA", "SOL", "USDC", "XRP"],
        sharpe=[0.31, 0.9, 1.2, NAN, 0.6, NAN, 0.5],
        annual_volatility=[0.8, 0.5, 0.7, NAN, 1.0, 0.0, 0.9],
        rho=correlations(7, _0_2=0.912, _1_3=0.99, _4_6=-0.8504),
        returns=np.array([500, 500, 500, 50, 500, 51, 500]),
        top_n=2,
    )
    assert outcome.decisions == (
        Decision("ADA", "dropped", "correlation", "rho 0.912 with ETH > 0.85; Sharpe 0.31 < 1.20"),
        Decision("BTC", "selected", "rank", "rank 2 of 3, Sharpe 0.90; weight 0.5833"),
        Decision("ETH", "selected", "rank", "rank 1 of 3, Sharpe 1.20; weight 0.4167"),
        Decision("LUNA", "ineligible", "history", "50 returns, more than 50 needed"),
        Decision("SOL", "not_ranked", "rank", "rank 3 of 3, Sharpe 0.60; the first 2 are held"),
        Decision("USDC", "ineligible", "history", "no volatility"),
        Decision(
            "XRP", "dropped", "correlation", "rho -0.8504 with SOL < -0.85; Sharpe 0.50 < 0.60"
        ),
    )
    eth, btc = outcome.holdings
    assert (eth.symbol, eth.rank, eth.sharpe, eth.annual_volatility) == ("ETH", 1, 1.2, 0.7)
    assert (btc.symbol, btc.rank, btc.sharpe, btc.annual_volatility) == ("BTC", 2, 0.9, 0.5)
    assert eth.weight == pytest.approx(5 / 12, rel=1e-15)
    assert btc.weight == pytest.approx(7 / 12, rel=1e-15)


@pytest.mark.parametrize(
    ("first", "second", "detail"),
    [
        (1.2, 1.2, "rho 0.900 with A > 0.85; Sharpe 1.20 = 1.20"),
        (1.2012, 1.2011, "rho 0.900 with A > 0.85; Sharpe 1.2011 < 1.2012"),
    ],
)
def test_a_detail_never_hides_what_decided(first: float, second: float, detail: str) -> None:
    outcome = determination(["A", "B"], [first, second], [1, 1], correlations(2, _0_1=0.9))
    assert outcome.decisions[1].detail == detail


def test_an_ineligible_symbol_takes_no_part_in_the_tournament() -> None:
    outcome = determination(
        ["A", "B", "C"], [1.0, NAN, 2.0], [1.0, 1.0, 1.0], correlations(3, _0_1=1.0, _1_2=1.0)
    )
    assert [row.decision for row in outcome.decisions] == ["selected", "ineligible", "selected"]


def test_fewer_symbols_than_the_index_may_hold() -> None:
    outcome = determination(["A", "B"], [-1.0, 1.0], [1.0, 1.0], correlations(2), top_n=20)
    assert [(row.symbol, row.weight, row.rank) for row in outcome.holdings] == [
        ("B", 0.5, 1),
        ("A", 0.5, 2),
    ]


def test_a_single_symbol_takes_it_all() -> None:
    outcome = determination(["A"], [-0.4], [0.7], np.ones((1, 1)))
    assert outcome.holdings == (Holding("A", 1.0, 1, -0.4, 0.7),)


def test_all_tied_and_all_correlated_keeps_the_first() -> None:
    outcome = determination(["A", "B", "C"], [1.0] * 3, [1.0] * 3, np.ones((3, 3)))
    assert [row.symbol for row in outcome.holdings] == ["A"]
    assert [row.decision for row in outcome.decisions] == ["selected", "dropped", "dropped"]


def test_all_tied_and_uncorrelated_keeps_symbol_order() -> None:
    outcome = determination(["A", "B", "C"], [1.0] * 3, [2.0] * 3, np.eye(3), top_n=2)
    assert [row.symbol for row in outcome.holdings] == ["A", "B"]
    assert outcome.decisions[2].decision == "not_ranked"


@pytest.mark.parametrize("size", [0, 3])
def test_with_no_eligible_symbol_nothing_is_held(size: int) -> None:
    nothing = np.full(size, NAN)
    outcome = determination(["A", "B", "C"][:size], nothing, nothing, np.eye(size))
    assert [row.decision for row in outcome.decisions] == ["ineligible"] * size
    assert (outcome.holdings, outcome.eligible, outcome.members) == ((), (), frozenset())


@pytest.mark.parametrize("symbols", [["B", "A"], ["A", "A"]])
def test_symbols_out_of_order_are_refused(symbols: list[str]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        determination(symbols, [1, 2], [1, 1], np.eye(2))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 30), st.sampled_from([0.05, 0.3, 0.85]))
def test_what_holds_of_every_determination(seed: int, top_n: int, threshold: float) -> None:
    sharpe, volatility, rho = draw(seed)
    symbols = [f"S{number:02}" for number in range(sharpe.size)]
    outcome = determination(
        symbols, sharpe, volatility, rho, correlation_threshold=threshold, top_n=top_n
    )
    decided = {row.symbol: row for row in outcome.decisions}
    held = {row.symbol for row in outcome.holdings}
    selected = {row.symbol for row in outcome.decisions if row.decision == "selected"}
    standing = [i for i, s in enumerate(symbols) if decided[s].rule == "rank"]

    assert [row.symbol for row in outcome.decisions] == symbols  # each exactly once, in order
    assert all(row.detail for row in outcome.decisions)
    assert held == selected
    assert len(held) == min(top_n, len(standing))
    assert fsum(row.weight for row in outcome.holdings) == pytest.approx(1.0, abs=1e-15)
    assert all(0 < row.weight <= 1 for row in outcome.holdings)
    assert [row.rank for row in outcome.holdings] == list(range(1, len(held) + 1))
    # No two that survive the tournament, held or not, correlate above the threshold.
    among = np.abs(rho[np.ix_(standing, standing)]) > threshold
    assert not (among & ~np.eye(len(standing), dtype=bool)).any()
    # Nobody that was passed over has a higher Sharpe than a member.
    passed_over = [sharpe[i] for i in standing if symbols[i] not in held]
    assert min(row.sharpe for row in outcome.holdings) >= max(passed_over, default=-np.inf)
    counted = Counter(row.decision for row in outcome.decisions)
    with_ratio = np.isfinite(sharpe) & np.isfinite(volatility)
    assert counted["ineligible"] == int((~with_ratio).sum())
    assert outcome.eligible == tuple(s for s, both in zip(symbols, with_ratio, strict=True) if both)


def test_the_winner_of_a_dropped_symbol_need_not_be_held() -> None:
    # B beats A and then loses to C: A's row names B, which is itself dropped.
    outcome = determination(
        ["A", "B", "C"], [1.0, 2.0, 3.0], [1.0] * 3, correlations(3, _0_1=0.9, _1_2=0.95)
    )
    assert [row.decision for row in outcome.decisions] == ["dropped", "dropped", "selected"]
    assert "with B" in outcome.decisions[0].detail


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_the_order_of_the_pairs_changes_nothing(seed: int) -> None:
    sharpe, volatility, rho = draw(seed)
    symbols = [f"S{number:02}" for number in range(sharpe.size)]
    pairs, pair_rho = correlated_pairs(rho, 0.3)
    order = np.random.default_rng(seed).permutation(pair_rho.size)
    refused = without_ratio(symbols, np.full(sharpe.size, 500), sharpe, volatility)
    rules = rules_with(correlation_threshold=0.3, top_n=5)
    one, other = (
        determine(symbols, refused, sharpe, volatility, p, r, rules)
        for p, r in ((pairs, pair_rho), (pairs[order], pair_rho[order]))
    )
    assert one == other


@pytest.mark.parametrize(
    ("is_member", "top_n", "rank_buffer", "places"),
    [
        ("......", 3, 0, [0, 1, 2]),
        ("..m.m.", 3, 0, [0, 1, 2]),  # without a buffer a member counts like any other
        ("...m.m", 3, 1, [0, 1, 3]),  # rank 4 is kept, rank 6 is too far
        ("...mmm", 3, 3, [3, 4, 5]),
        ("..mmmm", 3, 9, [2, 3, 4]),  # no more than top_n, the best of them
        ("m.....", 3, 2, [0, 1, 2]),
        (".m", 3, 2, [0, 1]),
        ("", 3, 2, []),
    ],
)
def test_rank_buffer_table(is_member: str, top_n: int, rank_buffer: int, places: list[int]) -> None:
    taken = top_with_buffer([mark == "m" for mark in is_member], top_n, rank_buffer)
    assert taken.tolist() == places


def test_a_member_within_the_buffer_keeps_its_place_and_its_rank() -> None:
    outcome = determination(
        *(["A", "B", "C", "D"], [4, 3, 2, 1], [1] * 4, np.eye(4)),
        members={"C", "D"},
        top_n=2,
        rank_buffer=1,
    )
    assert [(row.symbol, row.rank) for row in outcome.holdings] == [("A", 1), ("C", 3)]
    assert [row.detail for row in outcome.decisions] == [
        "rank 1 of 4, Sharpe 4.00; weight 0.5000",
        "rank 2 of 4, Sharpe 3.00; 2 are held, members down to rank 3 first",
        "rank 3 of 4, Sharpe 2.00; weight 0.5000",
        "rank 4 of 4, Sharpe 1.00; 2 are held, members down to rank 3 first",
    ]


def test_weights_by_sharpe_hold_only_what_has_one_above_0() -> None:
    outcome = determination(
        ["A", "B", "C"], [1.0, 3.0, 0.0], [1.0, 2.0, 0.5], np.eye(3), weighting="sharpe"
    )
    assert [(row.symbol, row.weight) for row in outcome.holdings] == [("B", 0.75), ("A", 0.25)]
    assert outcome.decisions[2] == Decision(
        "C", "not_ranked", "rank", "rank 3 of 3, Sharpe 0.00; a weight by Sharpe needs one above 0"
    )


def test_the_rules_cap_the_weights() -> None:
    outcome = determination(
        ["A", "B", "C"], [3, 2, 1], [0.1, 1.0, 2.0], np.eye(3), cap=0.5, floor=0.2, top_n=3
    )
    # 20 : 2 : 1: the first is capped, the others share the rest, the last is lifted to the floor.
    assert [row.weight for row in outcome.holdings] == pytest.approx([0.5, 0.3, 0.2], abs=1e-15)


def test_a_cap_that_too_few_members_can_keep_is_named_where_it_is_broken() -> None:
    few = [
        determination(["A", "B", "C"][:n], [3, 2, 1][:n], [1, 2, 3][:n], np.eye(n), cap=0.4)
        for n in (1, 2, 3)
    ]
    told = "weight {}, above the cap of 0.4 that {} cannot keep"
    assert [each.decisions[0].detail.partition("; ")[2] for each in few] == [
        *(told.format("1.0000", "1 member"), told.format("0.5000", "2 members"), "weight 0.4000"),
    ]


def test_results_are_frozen() -> None:
    outcome = determination(["A"], [1.0], [1.0], np.ones((1, 1)))
    with pytest.raises(FrozenInstanceError):
        outcome.holdings[0].weight = 0.5  # type: ignore[misc]  # what the test is about
