"""No look-ahead: a cut or falsified future changes no decision, weight or level, bit for bit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.intervals import interval_micros
from tests.gold.markets import (
    START,
    Outcome,
    Published,
    noisy_after,
    random_market,
    rules_with,
    run_index,
)

SEEDS = st.integers(0, 2**32 - 1)

RULES = st.fixed_dictionaries(
    {
        "calendar": st.sampled_from(["weekly", "monthly", "quarterly"]),
        "lookback_days": st.integers(12, 40),
        "min_real_share": st.sampled_from([0.0, 0.9, 0.98]),
        "min_age_days": st.sampled_from([0, 30]),
        "enter_volume": st.sampled_from([0.0, 1e7]),
        "stay_volume": st.just(0.0),
        "correlation_threshold": st.sampled_from([0.3, 0.6, 0.85]),
        "top_n": st.integers(3, 6),
        "rank_buffer": st.integers(0, 3),
        "weighting": st.sampled_from(["inverse_volatility", "equal", "sharpe"]),
        "cap": st.sampled_from([0.4, 1.0]),
        "floor": st.sampled_from([0.0, 0.1]),
        "delay_bars": st.integers(0, 3),
        "execution": st.sampled_from(["next_open", "close"]),
        "cost_bps": st.sampled_from([0.0, 10.0, 80.0]),
    }
)


def assert_same_until(known: Outcome, whole: Outcome, as_of: int) -> None:
    """All that was said of bars before `as_of`, and the decisions at it, to the last bit."""
    dates = whole.dates <= as_of
    assert known.dates[known.dates <= as_of].tolist() == whole.dates[dates].tolist()
    decided = int(dates.sum())
    assert known.determinations[:decided] == whole.determinations[:decided]
    assert whole.levels is not None
    before = int((whole.levels.open_time < as_of).sum())
    if known.levels is None:  # no determination had taken effect: the start's bar at most
        assert before <= 1
        return
    for name in ("open_time", "level", "period_return", "cost", "turnover", "drawdown"):
        np.testing.assert_array_equal(
            getattr(known.levels, name)[:before], getattr(whole.levels, name)[:before], strict=True
        )


def bars_until(market: Published, as_of: int) -> int:
    return (as_of - START) // interval_micros(market.interval)


@settings(max_examples=50, deadline=None)
@given(SEEDS, RULES, st.data())
def test_the_future_changes_nothing_before_it(
    seed: int, changed: dict[str, Any], data: st.DataObject
) -> None:
    market, rules = random_market(seed), rules_with(**changed)
    whole = run_index(market, rules)
    as_of = int(data.draw(st.sampled_from(whole.dates.tolist())))
    bars = bars_until(market, as_of)
    assert_same_until(run_index(market.until(bars), rules), whole, as_of)
    assert_same_until(run_index(noisy_after(market, bars, seed + 1), rules), whole, as_of)


def test_at_every_date_of_one_market() -> None:
    market, rules = random_market(3), rules_with(calendar="weekly", lookback_days=30, top_n=4)
    whole = run_index(market, rules)
    assert len(whole.dates) > 10
    for as_of in whole.dates.tolist():
        bars = bars_until(market, as_of)
        assert_same_until(run_index(market.until(bars), rules), whole, as_of)


def test_a_look_ahead_would_be_seen() -> None:
    # The rules see one bar more than they may: some decision must then differ from before.
    market, rules = random_market(3), rules_with(calendar="weekly", lookback_days=30, top_n=4)
    whole = run_index(market, rules)
    as_of = int(whole.dates[5])
    early = run_index(noisy_after(market, bars_until(market, as_of) - 1, 1), rules)
    with pytest.raises(AssertionError):
        assert_same_until(early, whole, as_of)
