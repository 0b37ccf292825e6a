"""Holding periods and chained levels: by hand, and by units and cash."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gold.backtest import Levels, chain
from gold.calendar import HoldingPeriod, holding_periods, rebalance_dates
from gold.decisions import minute
from gold.holding import Execution, PricePanel, hold, one_way_turnover, price_panel
from gold.index_rows import held_of, held_rows
from gold.returns import FloatArray
from lakehouse.intervals import MICROS_PER_DAY, interval_micros
from lakehouse.settings import RuleSettings
from tests.gold.markets import (
    START,
    Candles,
    Published,
    aligned,
    hold_all,
    random_market,
    rules_with,
    run_index,
)

SEEDS = st.integers(0, 2**32 - 1)
DAY = MICROS_PER_DAY
DOCS = Path(__file__).parents[2] / "docs" / "index.md"


def worked_example() -> Levels:
    """The example of docs/index.md: A, B and C over four days, rebalanced after two."""
    opens = np.array([[100, 50, 10], [110, 50, 16], [120, 45, 20], [126, 45, 22]])
    closes = np.array([[110, 50, 16], [120, 45, 20], [126, 45, 22], [132, 54, 18]])
    bar, symbol = (part.ravel() for part in np.indices(opens.shape))
    periods = [HoldingPeriod(0, 0, 2 * DAY), HoldingPeriod(2 * DAY, 2 * DAY, 4 * DAY)]
    panels = [
        price_panel(3, symbol, bar * DAY, opens.ravel(), closes.ravel(), each, "1d", "next_open")
        for each in periods
    ]
    weights = [np.array([[0.6, 0.4, 0.0]]), np.array([[0.5, 0.0, 0.5]])]
    held = [
        hold(panels[0], weights[0], weights[1], 0.001),
        hold(panels[1], weights[1], None, 0.001),
    ]
    return chain(held, "1d", 0.001)


def test_the_worked_example_of_the_docs() -> None:
    levels = worked_example()
    # By hand. 1,000 less the cost of the first purchase is 999: 599.40 in A and 399.60 in B.
    first = [599.40 * 110 / 100 + 399.60 * 50 / 50, 599.40 * 120 / 100 + 399.60 * 45 / 50]
    # A and B have drifted to 2/3 and 1/3; C is bought, B sold: (1/6 + 1/3 + 1/2) / 2 = 0.5.
    traded = first[1] * (1 - 0.001 * 0.5)
    second = [traded * (126 / 120 + 22 / 20) / 2, traded * (132 / 120 + 18 / 20) / 2]
    level = np.array([1000, *first, *second])
    np.testing.assert_allclose(levels.level[:, 0], level, rtol=1e-14)
    np.testing.assert_allclose(levels.turnover[:, 0], [0, 1, 0, 0.5, 0], atol=1e-15)
    np.testing.assert_allclose(levels.cost[:, 0], [0, 0.001, 0, 0.0005, 0], atol=1e-15)
    np.testing.assert_allclose(levels.period_return[1:, 0], level[1:] / level[:-1] - 1, rtol=1e-12)
    assert np.isnan(levels.period_return[0, 0])
    np.testing.assert_allclose(levels.drawdown[:4, 0], 0, atol=0)
    assert levels.drawdown[4, 0] == pytest.approx(level[4] / level[3] - 1, rel=1e-13)
    assert levels.open_time.tolist() == [day * DAY for day in range(-1, 4)]


def test_the_docs_show_the_levels_of_the_example() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for level in worked_example().level[:, 0]:
        assert f"{level:,.2f}" in text


def by_units(
    candles: Candles,
    periods: tuple[HoldingPeriod, ...],
    weights: list[FloatArray],
    rules: RuleSettings,
) -> tuple[list[float], list[float], list[tuple[float, float]]]:
    """Levels and turnovers of one portfolio by units and cash, trade by trade, bar by bar.

    Returns:
        Levels and turnovers by bar, and the value before and after each rebalance's trades, its
        costs left out.
    """
    step, rate = interval_micros(candles.interval), rules.cost_bps / 1e4
    columns = (candles.symbol_index, candles.open_time, candles.open, candles.close)
    quotes = {(s, t): (o, c) for s, t, o, c in zip(*(c.tolist() for c in columns), strict=True)}
    units: dict[int, float] = {}
    last: dict[int, float] = {}
    cash, levels, turnovers, jumps = 1000.0, [1000.0], [0.0], []
    for period, target in zip(periods, weights, strict=True):
        at_open = rules.execution == "next_open"
        trade = {
            s: quotes[s, period.start if at_open else period.start - step][0 if at_open else 1]
            for s in range(len(candles.symbols))
            if (s, period.start if at_open else period.start - step) in quotes
        }
        owned = {s: n * trade.get(s, last.get(s, 0.0)) for s, n in units.items()}
        before = cash + sum(owned.values())
        wanted = {s: float(w) for s, w in enumerate(target) if w > 0 and s in trade}
        changes = [
            wanted.get(s, 0) - owned.get(s, 0) / before for s in wanted.keys() | owned.keys()
        ]
        changes.append((1 - sum(wanted.values())) - cash / before)
        turnover = sum(map(abs, changes)) / 2
        value = before * (1 - rate * turnover)
        units = {s: w * value / trade[s] for s, w in wanted.items()}
        cash = value - sum(n * trade[s] for s, n in units.items())
        jumps.append((value, cash + sum(n * trade[s] for s, n in units.items())))
        last = dict(trade)
        for bar in range(period.start, period.end, step):
            sold = 0.0
            for s in [s for s in units if (s, bar) not in quotes]:
                amount = units.pop(s) * last[s]
                cash, sold = cash + amount * (1 - rate), sold + amount
            last |= {s: quotes[s, bar][1] for s in units}
            levels.append(cash + sum(n * last[s] for s, n in units.items()))
            turnovers.append(turnover + sold / (levels[-1] + rate * sold))
            turnover = 0.0
    return levels, turnovers, jumps


@settings(max_examples=40, deadline=None)
@given(
    SEEDS,
    st.sampled_from(["next_open", "close"]),
    st.sampled_from([0.0, 10.0, 250.0]),
    st.integers(0, 3),
)
def test_levels_equal_units_and_cash(
    seed: int, execution: Execution, cost_bps: float, delay_bars: int
) -> None:
    candles = aligned(random_market(seed, days=60))
    rules = rules_with(
        calendar="weekly", execution=execution, cost_bps=cost_bps, delay_bars=delay_bars
    )
    dates = rebalance_dates(candles.first_open, candles.last_open, "4h", "weekly", 7)
    periods = holding_periods(dates, candles.last_open, "4h", delay_bars)
    # Weights of anything listed or not: what has no price stays in cash.
    rng = np.random.default_rng(seed)
    weights = [rng.dirichlet(np.full(len(candles.symbols), 0.4), 2) for _ in dates]
    weights[2][1] = 0.0  # all cash
    levels = chain(hold_all(candles, periods, weights, rules), "4h", cost_bps / 1e4)
    for portfolio in range(2):
        expected, turnovers, jumps = by_units(
            candles, periods, [each[portfolio] for each in weights[: len(periods)]], rules
        )
        np.testing.assert_allclose(levels.level[:, portfolio], expected, rtol=1e-12)
        np.testing.assert_allclose(levels.turnover[:, portfolio], turnovers, atol=1e-12)
        # A rebalance makes no jump: the new units are worth what the old ones were.
        assert all(after == pytest.approx(before, rel=1e-12) for before, after in jumps)
    np.testing.assert_allclose(levels.cost, levels.turnover * cost_bps / 1e4, atol=6e-4)
    assert (levels.cost <= levels.turnover * cost_bps / 1e4 + 1e-15).all()


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(["next_open", "close"]))
def test_no_jump_at_a_rebalance_before_costs(seed: int, execution: Execution) -> None:
    market = random_market(seed, days=75)
    market = replace(market, present=np.ones_like(market.present))
    liquid = {"enter_volume": 0, "stay_volume": 0}
    rules = rules_with(
        calendar="weekly", lookback_days=14, top_n=3, cost_bps=0, execution=execution, **liquid
    )
    outcome = run_index(market, rules)
    assert outcome.levels is not None
    level = dict(zip(outcome.levels.open_time.tolist(), outcome.levels.level[:, 0], strict=True))
    step = interval_micros("4h")
    code = {symbol: position for position, symbol in enumerate(market.symbols)}
    value = 1000.0
    for period, made in zip(outcome.periods, outcome.determinations, strict=False):
        start, end = ((at - market.start) // step for at in (period.start, period.end))
        at_open = execution == "next_open"
        bought = market.open[start] if at_open else market.close[start - 1]
        units = {
            code[row.symbol]: row.weight * value / bought[code[row.symbol]] for row in made.holdings
        }
        assert level[period.start] == pytest.approx(worth(units, market.close[start]), rel=1e-12)
        assert level[period.end - step] == pytest.approx(
            worth(units, market.close[end - 1]), rel=1e-12
        )
        if end < len(market.open):
            value = worth(units, market.open[end] if at_open else market.close[end - 1])


def worth(units: dict[int, float], price: FloatArray) -> float:
    return sum(number * float(price[symbol]) for symbol, number in units.items())


def panel_of(*closes: list[float], exits: list[float] | None = None) -> PricePanel:
    """Prices of one symbol for each list: its entry, then its closes."""
    columns = np.array(closes, dtype=np.float64).T
    after = np.array([column[-1] for column in closes] if exits is None else exits)
    return PricePanel(np.arange(len(columns) - 1) * DAY, columns[0], columns[1:], after)


NAN = float("nan")


def test_a_symbol_that_stops_is_sold_at_its_last_price_and_stays_in_cash() -> None:
    # The second one comes back after its hole, as another coin may: nobody holds it any more.
    panel = panel_of([10, 11, 12, 13], [10, 8, NAN, 500])
    held = hold(panel, np.array([[0.5, 0.5]]), np.array([[0.5, 0.5]]), 0.01)
    assert held.stopped.tolist() == [3, 1]
    cash = 0.5 * 0.8 * 0.99
    np.testing.assert_allclose(held.growth[:, 0], [0.95, 0.6 + cash, 0.65 + cash], rtol=1e-15)
    np.testing.assert_allclose(held.sold[:, 0], [0, 0.4 / (0.6 + 0.4), 0], rtol=1e-15)
    # At the exit it is cash that buys it anew, not a holding of it that is kept.
    drifted = 0.65 / (0.65 + cash)
    assert held.exit_turnover[0] == pytest.approx((abs(0.5 - drifted) + 0.5 + (1 - drifted)) / 2)


def test_a_symbol_without_a_price_at_the_entry_or_the_exit_is_not_bought() -> None:
    panel = panel_of([10, 11, 12], [NAN, 8, 9], [5, 5, 5], exits=[12, 9, NAN])
    held = hold(panel, np.array([[0.5, 0.5, 0]]), np.array([[0.0, 0.5, 0.5]]), 0.0)
    assert held.stopped.tolist() == [2, 0, 2]
    assert held.invested.tolist() == [0.5]
    np.testing.assert_allclose(held.growth[:, 0], [0.5 + 0.55, 0.5 + 0.6], rtol=1e-15)
    # A falls from 0.6 / 1.1 to 0, B is bought, C cannot be: the rest was cash and stays it.
    assert held.exit_turnover[0] == pytest.approx((0.6 / 1.1 + 0.5 + abs(0.5 - 0.5 / 1.1)) / 2)


def test_a_symbol_that_stops_before_the_first_close_is_sold_at_its_entry() -> None:
    held = hold(panel_of([10, NAN, 10]), np.array([[1.0]]), None, 0.01)
    assert held.growth[:, 0].tolist() == [0.99, 0.99]
    assert held.sold[:, 0].tolist() == [1.0, 0.0]
    levels = chain([held], "1d", 0.01)
    assert levels.level[:, 0] == pytest.approx([1000, 1000 * 0.99**2, 1000 * 0.99**2], rel=1e-15)
    assert levels.turnover[:, 0].tolist() == [0, 2, 0]
    assert levels.cost[:, 0] == pytest.approx([0, 1 - 0.99**2, 0], rel=1e-12)


def test_only_what_was_bought_is_named_as_sold() -> None:
    # A is held to the end, B stops, C has no price to buy it at, D stops before the first close,
    # and E, of which the same is true, is no member.
    columns = ([10, 11, 12], [10, 8, NAN], [NAN, 8, 9], [10, NAN, NAN], [10, NAN, NAN])
    weights = np.array([[0.4, 0.2, 0.2, 0.2, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
    held = hold(panel_of(*columns), weights, None, 0.001)
    rows = held_rows(0, held, list("ABCDE"), weights[0] > 0)
    assert held_of(rows, HoldingPeriod(0, 0, 2 * DAY), "1d")[1] == {0: ["D"], DAY: ["B"]}


def market_in_which_one_stops(stopped: int, back: int | None = None) -> Published:
    """Three coins of 4h bars, of which A lacks those from one (to another)."""
    rng = np.random.default_rng(1)
    close = np.exp(np.cumsum(rng.normal([0.002, 0.0005, 0.0005], 0.01, (170 * 6, 3)), axis=0))
    opens = np.vstack([np.ones((1, 3)), close[:-1]])
    present = np.ones(close.shape, dtype=np.bool_)
    present[stopped:back, 0] = False
    names = ("AUSDT", "BTCUSDT", "CUSDT")
    return Published(names, "4h", opens, close, np.full(close.shape, 1e8), present)


@pytest.mark.parametrize("delay_bars", [0, 4])
@pytest.mark.parametrize("lacking", [7, 60])
def test_the_next_decision_says_that_a_member_was_sold(delay_bars: int, lacking: int) -> None:
    rules = rules_with(top_n=3, correlation_threshold=1.0, delay_bars=delay_bars)
    whole = run_index(market_in_which_one_stops(170 * 6), rules)
    first, second = ((at - START) // interval_micros("4h") for at in whole.dates[:2].tolist())
    found = []
    for stopped in (first + 20, second - 7, second - 6, second - 5):
        outcome = run_index(market_in_which_one_stops(stopped, stopped + lacking), rules)
        at = START + (stopped + 6) * interval_micros("4h")
        own = [made.decisions[0].detail for made in outcome.determinations]
        told = [place for place, detail in enumerate(own) if "a member until sold" in detail]
        assert all(own[place].endswith(f"sold at the bar of {minute(at)}") for place in told)
        assert bool(told) == (at in outcome.sold)
        found.append(told)
    # Sold within the period; at the last bar before the date; at the first one after it, of which
    # the next determination cannot know (without a delay it is not held then, for lack of a price
    # to buy it at); and bought at the flat price of a filled bar, to be sold one bar later.
    assert found == [[1], [1], [2] if delay_bars else [], [2]]


def test_buy_and_hold_never_trades_again() -> None:
    outcome = run_index(random_market(5), rules_with(calendar="weekly", lookback_days=20))
    assert outcome.levels is not None
    assert outcome.levels.turnover[1:, 2].tolist() == [
        1.0,
        *[0.0] * (len(outcome.levels.level) - 2),
    ]


@pytest.mark.parametrize(
    ("before", "after", "turnover"),
    [
        ([0, 0], [0.5, 0.5], 1),
        ([0, 0], [0.5, 0], 0.5),
        ([1, 0], [0, 1], 1),
        ([0.5, 0.5], [0.5, 0.5], 0),
        ([0.5, 0.5], [0, 0], 1),
        ([0.6, 0.2], [0.2, 0.6], 0.4),
    ],
)
def test_turnover_table(before: list[float], after: list[float], turnover: float) -> None:
    found = one_way_turnover(np.array([before]), np.array([after]))
    assert found[0] == pytest.approx(turnover, abs=1e-15)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_what_nobody_holds_and_later_bars_change_no_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    close = np.exp(np.cumsum(rng.normal(0, 0.02, (40, 11)), axis=0))
    panel = PricePanel(np.arange(39), close[0], close[1:], close[-1])
    weights = rng.dirichlet(np.ones(11), 30) * (rng.random((30, 11)) < 0.6)
    unheld = np.flatnonzero(~np.isin(np.arange(11), [2, 5, 6]))
    weights[:, [2, 5, 6]] = 0
    one = hold(panel, weights, weights, 0.001)
    fewer = PricePanel(
        panel.open_time, *(part[..., unheld] for part in (close[0], close[1:], close[-1]))
    )
    other = hold(fewer, weights[:, unheld], weights[:, unheld], 0.001)
    shorter = replace(panel, open_time=panel.open_time[:17], close=panel.close[:17])
    for name in ("growth", "exit_growth", "exit_turnover", "sold"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(hold(shorter, weights, None, 0.001).growth, one.growth[:17])


def test_periods_that_do_not_follow_each_other_are_refused() -> None:
    held = hold(panel_of([1, 1, 1]), np.array([[1.0]]), None, 0.0)
    with pytest.raises(ValueError, match="begin where"):
        chain([held, held], "1d", 0.0)
    with pytest.raises(ValueError, match="no holding period"):
        chain([], "1d", 0.0)
