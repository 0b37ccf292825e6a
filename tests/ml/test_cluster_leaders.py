from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from gold.decisions import Determination
from gold.lookback import Lookback
from lakehouse.intervals import bars_per_year
from lakehouse.settings import RuleSettings
from ml.cluster_leaders import ClusteredDate, cluster_in_turn, month_to_month
from tests.gold.markets import (
    Published,
    aligned,
    knowledge,
    noisy_after,
    random_market,
    rules_with,
    run_index,
)
from tests.gold.test_lookahead import assert_same_until, bars_until

CLUSTERS = 3
LOOSE = {"lookback_days": 20, "enter_volume": 0.0, "stay_volume": 0.0, "min_real_share": 0.0}


def decide(lookbacks: Iterable[Lookback], _: RuleSettings) -> tuple[Determination, ...]:
    dates = cluster_in_turn(lookbacks, CLUSTERS, seed=42)
    return tuple(date.determination for date in dates)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.data())
def test_the_future_changes_nothing_before_it(seed: int, data: st.DataObject) -> None:
    market, rules = random_market(seed), rules_with(**LOOSE, calendar="weekly")
    whole = run_index(market, rules, decide=decide)
    as_of = int(data.draw(st.sampled_from(whole.dates.tolist())))
    bars = bars_until(market, as_of)
    for other in (market.until(bars), noisy_after(market, bars, seed + 1)):
        assert_same_until(run_index(other, rules, decide=decide), whole, as_of)


def test_a_look_ahead_would_be_seen() -> None:
    market, rules = random_market(3), rules_with(**LOOSE, calendar="weekly")
    whole = run_index(market, rules, decide=decide)
    as_of = int(whole.dates[5])
    early = run_index(noisy_after(market, bars_until(market, as_of) - 1, 1), rules, decide=decide)
    with pytest.raises(AssertionError):
        assert_same_until(early, whole, as_of)


def clustered(market: Published, clusters: int = CLUSTERS, **changed: Any) -> list[ClusteredDate]:
    candles, rules = aligned(market), rules_with(**{**LOOSE, "calendar": "monthly", **changed})
    dates = run_index(market, rules).dates
    lookbacks = [knowledge(candles, int(as_of), rules) for as_of in dates]
    return list(cluster_in_turn(lookbacks, clusters, seed=42))


def test_the_highest_sharpe_of_each_cluster_is_held_at_equal_weights() -> None:
    market = random_market(11, symbols=24)
    for date in clustered(market):
        candles = pd.DataFrame(
            {
                "symbol": np.array(aligned(market).symbols)[aligned(market).symbol_index],
                "time": aligned(market).open_time,
                "close": aligned(market).close,
                "segment": aligned(market).segment,
            }
        )
        begins = date.as_of - 20 * 86_400_000_000
        inside = candles[(candles["time"] >= begins) & (candles["time"] < date.as_of)]
        before = inside.groupby(["symbol", "segment"])["close"].shift()
        r = np.log(inside["close"] / before).groupby(inside["symbol"])
        year = bars_per_year(market.interval)
        measures = pd.DataFrame({"return": r.mean() * year, "volatility": r.std() * year**0.5})
        measures["sharpe"] = measures["return"] / measures["volatility"]
        measures = measures.loc[list(date.symbols)]
        np.testing.assert_allclose(date.measures, measures, rtol=1e-9)
        # No symbol lies nearer to the mean of another cluster.
        points = pd.DataFrame(StandardScaler().fit_transform(measures))
        centres = points.groupby(date.cluster).mean()
        far = ((points.to_numpy()[:, None] - centres.to_numpy()[None]) ** 2).sum(axis=2)
        assert far.argmin(axis=1).tolist() == date.cluster.tolist()
        assert date.determination.members == set(measures.groupby(date.cluster)["sharpe"].idxmax())
        assert [row.weight for row in date.determination.holdings] == [1 / CLUSTERS] * CLUSTERS
        assert [row.rank for row in date.determination.holdings] == [1, 2, 3]
        means = pd.Series(measures["sharpe"].to_numpy()).groupby(date.cluster).mean()
        assert means.is_monotonic_decreasing


def test_every_symbol_has_a_decision_that_names_its_leader() -> None:
    date = clustered(random_market(11, symbols=24))[0]
    rows = {row.symbol: row for row in date.determination.decisions}
    assert rows["USDCUSDT"].rule == "exclusion"
    assert set(date.symbols) == set(date.determination.eligible)
    assert list(rows) == sorted(rows)
    for symbol, cluster, leads in zip(date.symbols, date.cluster, date.is_leader, strict=True):
        assert f"cluster {cluster}," in rows[symbol].detail
        assert rows[symbol].decision == ("selected" if leads else "not_ranked")
        [leader] = np.array(date.symbols)[date.is_leader & (date.cluster == cluster)]
        assert leads or rows[symbol].detail.startswith(f"{leader} leads")


def test_a_month_with_too_few_symbols_is_held_in_cash_and_says_why() -> None:
    dates = clustered(random_market(3), clusters=9)
    assert all(not date.determination.holdings for date in dates)
    [reason] = {row.detail for row in dates[0].determination.decisions if row.rule == "rank"}
    assert reason == dates[0].skipped
    assert reason.endswith("are too few for 9 clusters")
    assert list(month_to_month(dates)) == []


def test_members_need_less_volume_to_stay() -> None:
    market = random_market(5, symbols=24)
    strict = {**LOOSE, "calendar": "weekly", "enter_volume": 1.2e7}
    rules, candles = rules_with(**strict), aligned(market)
    dates = run_index(market, rules).dates.tolist()
    known = [knowledge(candles, as_of, rules) for as_of in dates]
    in_turn = cluster_in_turn(known, 2, seed=42)
    alone = [cluster_in_turn([each], 2, seed=42)[0] for each in known]
    stayed = [set(t.symbols) - set(a.symbols) for t, a in zip(in_turn, alone, strict=True)]
    assert any(stayed)
    for names, before in zip(stayed[1:], in_turn, strict=False):
        assert names <= before.determination.members


def test_months_are_compared_over_the_symbols_that_both_have() -> None:
    first, second = clustered(random_market(11, symbols=24))[:2]
    [(as_of, found, common)] = month_to_month([first, second])
    both = sorted(set(first.symbols) & set(second.symbols))
    assert (as_of, common) == (second.as_of, len(both))
    pairs = [dict(zip(date.symbols, date.cluster, strict=True)) for date in (first, second)]
    together = np.array(
        [
            [each[one] == each[two] for each in pairs]
            for i, one in enumerate(both)
            for two in both[:i]
        ]
    )
    # The adjusted Rand index from pairs of symbols: Hubert and Arabie, 1985, equation 5.
    a, b = together.T
    expected = a.sum() * b.sum() / len(a)
    agreed = ((a & b).sum() - expected) / ((a.sum() + b.sum()) / 2 - expected)
    assert found == pytest.approx(agreed)
    skipped = replace(second, skipped="too few")
    assert list(month_to_month([first, skipped])) == []
