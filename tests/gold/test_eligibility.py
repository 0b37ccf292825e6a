"""Eligibility rule by rule, and what a lookback knows of each symbol."""

from collections import Counter
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest

from gold.correlation import correlation_matrix
from gold.decisions import Refusal, Rule
from gold.eligibility import (
    Candidates,
    Eligibility,
    excluded,
    illiquid,
    no_ratio,
    not_trading,
    refusals,
    too_few_bars,
    too_young,
    without_ratio,
)
from gold.lookback import Lookback, LookbackCandles, determine_in_turn, look_back
from gold.metrics import asset_metrics
from lakehouse.intervals import MICROS_PER_DAY
from tests.gold.markets import (
    MAX_FILL_BARS,
    aligned,
    knowledge,
    random_market,
    rules_with,
    run_index,
)

NAN = float("nan")
BAR = 4 * 3_600_000_000
# 2025-02-01T00:00Z
AS_OF = 1_738_368_000_000_000


def date(**changed: Any) -> Eligibility:
    return Eligibility(rules_with(**changed), AS_OF, "4h", MAX_FILL_BARS)


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        ("USDCUSDT", "stable"),
        ("PAXGUSDT", "pegged"),
        ("BTCDOMUSDT", "pegged"),
        ("WBTCUSDT", "wrapped"),
        ("WBETHUSDT", "staked"),
        ("BTCUPUSDT", "leveraged"),
        ("BULLUSDT", "leveraged"),
    ],
)
def test_the_lists_of_base_yaml_exclude(symbol: str, kind: str) -> None:
    lists = rules_with().exclusions
    refusal = excluded(symbol, lists)
    assert refusal is not None
    assert refusal.rule == "exclusion"
    base = symbol.removesuffix("USDT")
    assert refusal.detail == f"{base} is {kind}, by the list of {lists.reviewed}"


@pytest.mark.parametrize(
    "symbol", ["BTCUSDT", "JUPUSDT", "SYRUPUSDT", "BULLAUSDT", "USTCUSDT", "USDT", "PUMPBTCUSDT"]
)
def test_names_that_only_look_excluded_are_not(symbol: str) -> None:
    assert excluded(symbol, rules_with().exclusions) is None


def test_no_asset_is_on_two_lists() -> None:
    lists = rules_with().exclusions.model_dump(exclude={"reviewed"})
    counted = Counter(asset for assets in lists.values() for asset in assets)
    assert set(counted.values()) == {1}
    assert all(list(assets) == sorted(assets) for assets in lists.values())


def test_a_symbol_trades_until_a_hole_is_longer_than_one_that_is_filled() -> None:
    assert not_trading(AS_OF - 7 * BAR, date()) is None  # six bars lacking
    assert not_trading(AS_OF - 8 * BAR, date()) == Refusal(
        "trading", "last bar 2025-01-30 16:00, 7 lacking since, at most 6 allowed"
    )
    assert not_trading(-1, date()) == Refusal("trading", "no bar in 90 days")


def test_a_symbol_must_have_been_listed_when_the_lookback_began() -> None:
    begins = AS_OF - 90 * MICROS_PER_DAY
    assert too_young(begins, date()) is None
    assert too_young(begins + BAR, date()) == Refusal(
        "history", "first bar 2024-11-03 04:00, the lookback begins 2024-11-03 00:00"
    )
    assert too_young(begins - 9 * MICROS_PER_DAY, date(min_age_days=99)) is None
    assert too_young(begins - 9 * MICROS_PER_DAY + BAR, date(min_age_days=99)) == Refusal(
        "history", "98 days old, at least 99 needed"
    )


def test_filled_bars_are_not_real_ones() -> None:
    assert too_few_bars(486, date()) is None  # 0.9 x 540
    assert too_few_bars(485, date()) == Refusal(
        "history", "485 of 540 bars are real, a share of 0.9 needed"
    )


@pytest.mark.parametrize("days", [30, 50, 90, 180])
def test_a_share_that_is_just_reached_is_enough(days: int) -> None:
    for percent in range(1, 101):
        bars, rest = divmod(days * 6 * percent, 100)
        if rest:
            continue
        rules = date(lookback_days=days, min_real_share=percent / 100)
        assert too_few_bars(bars, rules) is None, percent
        assert too_few_bars(bars - 1, rules) is not None, percent


@pytest.mark.parametrize(
    ("sharpe", "volatility", "refused"),
    [
        (1.0, 0.5, False),
        (-2.0, 0.5, False),
        (NAN, 0.5, True),
        (1.0, NAN, True),
        (1.0, 0.0, True),
        (np.inf, 0.5, True),
        (0.0, np.inf, True),
    ],
)
def test_a_ratio_and_a_volatility_are_needed(
    sharpe: float, volatility: float, refused: bool
) -> None:
    assert no_ratio(51, sharpe, volatility) == (
        Refusal("history", "no volatility") if refused else None
    )
    few = Refusal("history", "50 returns, more than 50 needed") if refused else None
    assert no_ratio(50, sharpe, volatility) == few
    alone = without_ratio(["A"], np.array([50]), np.array([sharpe]), np.array([volatility]))
    assert alone == ({"A": few} if few else {})


@pytest.mark.parametrize(
    ("volume", "is_member", "detail"),
    [
        (10e6, False, None),
        (9_999_999.0, False, "median daily volume 9,999,999, 10,000,000 needed to enter"),
        (9_999_999.96, False, "median daily volume 9,999,999.96, 10,000,000.00 needed to enter"),
        (9_999_999.0, True, None),
        (5e6, True, None),
        (4.9e6, True, "median daily volume 4,900,000, 5,000,000 needed to stay"),
        (NAN, True, "median daily volume nan, 5,000,000 needed to stay"),
        (0.0, False, "median daily volume 0, 10,000,000 needed to enter"),
    ],
)
def test_a_member_may_be_less_liquid(volume: float, is_member: bool, detail: str | None) -> None:
    expected = None if detail is None else Refusal("liquidity", detail)
    assert illiquid(volume, rules_with(), is_member) == expected


def test_the_first_broken_rule_is_the_one_that_is_named() -> None:
    bad = {"excluded": 0, "trading": 1, "history": 2, "liquidity": 3}
    size = len(bad) + 1
    candidates = Candidates(
        ("USDCUSDT", "X1USDT", "X2USDT", "X3USDT", "X4USDT"),
        np.array([AS_OF] * 3 + [0, 0]),
        np.array([-1, -1, *[AS_OF - BAR] * 3]),
        np.array([0, 0, 0, 540, 540]),
        np.full(size, 539),
        np.full(size, 1.0),
        np.full(size, 0.5),
        np.array([0.0, 0, 0, 6e6, 6e6]),
    )
    refused = refusals(candidates, date(), members={"X4USDT"})
    assert {symbol: row.rule for symbol, row in refused.items()} == {
        "USDCUSDT": "exclusion",
        "X1USDT": "trading",
        "X2USDT": "history",
        "X3USDT": "liquidity",
    }


def test_what_a_lookback_knows_of_each_symbol() -> None:
    market = random_market(8)
    candles = aligned(market)
    rules = rules_with(
        lookback_days=30, correlation_threshold=0.5, enter_volume=1e7, stay_volume=1e6
    )
    as_of = candles.last_open - 40 * BAR
    found = knowledge(candles, as_of, rules)
    known = found.candidates
    begins = as_of - 30 * MICROS_PER_DAY
    listed = [i for i, first in enumerate(candles.first_open_time) if first < as_of]
    assert known.symbols == tuple(candles.symbols[i] for i in listed)
    for row, symbol in enumerate(listed):
        used = (candles.symbol_index == symbol) & (candles.open_time < as_of)
        used &= candles.open_time >= begins
        real = candles.open_time[used & ~candles.is_filled]
        assert known.last_open_time[row] == (real.max() if real.size else -1)
        assert known.real_bars[row] == real.size
        columns = (candles.open_time, candles.close, candles.segment, candles.quote_volume)
        metrics = asset_metrics(*(column[used] for column in columns), "4h")
        assert known.returns[row] == metrics.returns
        figures = (metrics.sharpe, metrics.annual_volatility, metrics.median_daily_quote_volume)
        np.testing.assert_array_equal(
            [known.sharpe[row], known.annual_volatility[row], known.median_daily_quote_volume[row]],
            np.array(figures, dtype=np.float64),
        )
    # Pairs of those that a member's volume admits, by a plain matrix of their returns.
    refused = refusals(known, found.eligibility, members=known.symbols)
    admitted = [i for i, symbol in enumerate(known.symbols) if symbol not in refused]
    times = np.arange(begins, as_of, BAR)
    matrix = np.zeros((times.size, len(admitted)))
    for column, row in enumerate(admitted):
        used = (candles.symbol_index == listed[row]) & np.isin(candles.open_time, times)
        position = (candles.open_time[used] - begins) // BAR
        same = np.diff(candles.segment[used]) == 0
        matrix[position[1:][same], column] = np.diff(np.log(candles.close[used]))[same]
    rho = correlation_matrix(matrix[1:])
    expected = {
        (admitted[i], admitted[j]): rho[i, j]
        for i in range(len(admitted))
        for j in range(i + 1, len(admitted))
        if abs(rho[i, j]) > 0.5
    }
    assert 0 < len(expected) < len(admitted) * (len(admitted) - 1) / 2
    assert {tuple(pair): r for pair, r in zip(found.pairs.tolist(), found.rho, strict=True)} == (
        pytest.approx(expected, rel=1e-12)
    )


def test_a_lookback_without_a_candle_refuses_all() -> None:
    nothing = np.empty(0, dtype=np.int64)
    candles = LookbackCandles(
        nothing,
        nothing,
        nothing.astype(float),
        nothing,
        nothing.astype(float),
        nothing.astype(bool),
    )
    found = look_back(("A", "B"), np.zeros(2, dtype=np.int64), candles, date())
    assert found.pairs.shape == (0, 2)
    refused = refusals(found.candidates, found.eligibility, ())
    assert {row.rule for row in refused.values()} == {"trading"}


def test_every_listed_symbol_is_decided_once_at_every_date() -> None:
    rules: set[Rule] = set()
    for seed in range(6):
        market = random_market(seed)
        candles = aligned(market)
        first = dict(zip(candles.symbols, candles.first_open_time.tolist(), strict=True))
        outcome = run_index(
            market, rules_with(calendar="weekly", lookback_days=20, top_n=2, enter_volume=6e6)
        )
        for as_of, made in zip(outcome.dates.tolist(), outcome.determinations, strict=True):
            listed = sorted(symbol for symbol in first if first[symbol] < as_of)
            assert [row.symbol for row in made.decisions] == listed
            rules |= {row.rule for row in made.decisions}
            held = {row.symbol for row in made.decisions if row.decision == "selected"}
            assert made.members == held
            if held:
                assert sum(row.weight for row in made.holdings) == pytest.approx(1, abs=1e-12)
    assert rules == set(get_args(Rule))  # the market shows each rule at work


def of_volume(as_of: int, volumes: dict[str, float]) -> Lookback:
    """What a date knows of symbols that differ in their volume alone."""
    count = len(volumes)
    full = np.full(count, 540)
    ratios = np.arange(count, 0, -1, dtype=np.float64)
    found = Candidates(
        tuple(volumes),
        np.zeros(count, dtype=np.int64),
        np.full(count, as_of - BAR),
        full,
        full - 1,
        ratios,
        np.ones(count),
        np.array(list(volumes.values())),
    )
    known = Eligibility(rules_with(), as_of, "4h", MAX_FILL_BARS)
    return Lookback(known, found, np.empty((0, 2), dtype=np.int64), np.empty(0))


def test_a_member_that_left_must_enter_again() -> None:
    # Enough to stay, and too little to enter: a member stays, one that has left does not return.
    volumes = [2e7, 7e6, 1e6, 7e6, 7e6, 2e7, 7e6]
    dates = [AS_OF + place * 30 * MICROS_PER_DAY for place in range(len(volumes))]
    lookbacks = [
        of_volume(as_of, {"AUSDT": volume, "BUSDT": 2e7})
        for as_of, volume in zip(dates, volumes, strict=True)
    ]
    made = determine_in_turn(lookbacks, rules_with())
    assert ["".join(sorted(each.members)) for each in made] == [
        *("AUSDTBUSDT", "AUSDTBUSDT", "BUSDT", "BUSDT", "BUSDT", "AUSDTBUSDT", "AUSDTBUSDT"),
    ]


def test_members_stay_on_less_volume_and_within_the_buffer() -> None:
    # The rules are kinder to members: with both kindnesses turnover can only be less here.
    market = random_market(4, days=150)
    strict = {"calendar": "weekly", "lookback_days": 20, "top_n": 3}
    liquid = {"enter_volume": 1e7, "stay_volume": 1e7}
    changes = []
    for kind in (liquid, {"enter_volume": 1e7, "stay_volume": 1e6, "rank_buffer": 2}):
        made = run_index(market, rules_with(**strict, **kind)).determinations
        changes.append(sum(len(b.members - a.members) for a, b in pairwise(made)))
    assert changes[1] < changes[0]
