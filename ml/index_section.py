"""What the report says of a walk-forward index: sentences, tables and figures.

Everything that is said of its worth is after costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from ml.images import Image, image
from ml.index_figures import index_figures
from ml.index_results import IndexResult, membership_changes, stopped_members
from ml.report_tables import Column, Table, count, minute, percent, ratio, table, text

BENCHMARKS: Final = {
    "equal_weight": "equal weight of the eligible universe",
    "buy_and_hold_btc": "buy-and-hold BTC",
}
"""Benchmarks as sentences name them."""

_STATISTICS: Final[tuple[tuple[str, str, Callable[..., str]], ...]] = (
    ("total_return", "Total return", percent),
    ("cagr", "Compound annual growth rate", percent),
    ("volatility", "Volatility, per year", percent),
    ("sharpe", "Sharpe", ratio),
    ("sortino", "Sortino", ratio),
    ("calmar", "Calmar", ratio),
    ("max_drawdown", "Maximum drawdown", percent),
    ("max_drawdown_peak", "  from (UTC)", minute),
    ("max_drawdown_trough", "  to (UTC)", minute),
    ("max_drawdown_recovery", "  recovered (UTC)", minute),
    ("max_drawdown_days", "  days to recovery or the end", count),
    ("value_at_risk_95", "Value at risk 95%, a day", percent),
    ("conditional_value_at_risk_95", "Conditional value at risk 95%, a day", percent),
    ("skewness", "Skewness", ratio),
    ("kurtosis", "Excess kurtosis", ratio),
    ("best_day", "Best day", percent),
    ("worst_day", "Worst day", percent),
    ("best_month", "Best month", percent),
    ("worst_month", "Worst month", percent),
    ("win_rate_day", "Days that gained", percent),
    ("win_rate_month", "Months that gained", percent),
    ("annual_turnover", "One-way turnover, per year", percent),
    ("total_cost", "Costs, of the level without them", percent),
    ("cost_drag", "Costs, of the annual growth rate", percent),
    ("probabilistic_sharpe", "Probability of a Sharpe above 0", percent),
    (
        "deflated_sharpe",
        "Probability of one above the best by luck of {trials} tried",
        percent,
    ),
)
_AGAINST: Final[tuple[tuple[str, str, Callable[..., str]], ...]] = (
    ("beta", "Beta", ratio),
    ("alpha", "Alpha, per year", percent),
    ("tracking_error", "Tracking error, per year", percent),
    ("information_ratio", "Information ratio", ratio),
)

# On each side of the band of random portfolios lie 5 % of them.
_TAIL: Final = 0.05


@dataclass(frozen=True)
class Rebalance:
    """One determination: when, in a line what it changed, and each change with its reason."""

    title: str
    changes: Table


@dataclass(frozen=True)
class IndexSection:
    """One index on the page.

    Attributes:
        name: Name of the index.
        span: From its first level to its last, UTC.
        rules: How it is made, in a sentence.
        standing: What it is worth beside its benchmarks and luck, a sentence each.
        images: Its figures by name.
        statistics: It beside its benchmarks.
        against: It measured against each benchmark.
        rebalances: Its determinations, the newest first.
        stopped: Members sold because they had stopped trading.
    """

    name: str
    span: str
    rules: str
    standing: tuple[str, ...]
    images: Mapping[str, Image]
    statistics: Table
    against: Table
    rebalances: tuple[Rebalance, ...]
    stopped: Table


def index_section(result: IndexResult, market: str) -> IndexSection:
    """Put an index into words, tables and pictures."""
    return IndexSection(
        name=result.name,
        span=result.span,
        rules=rules(result.rules),
        standing=standing(result),
        images={name: image(figure, alt) for name, alt, figure in index_figures(result, market)},
        statistics=statistics_table(result, tuple(name for name, _, _ in _STATISTICS)),
        against=_against(result),
        rebalances=rebalances(result),
        stopped=table(
            stopped_members(result),
            ("open_time", "Sold at (UTC)", minute),
            ("symbol", "Symbol", text),
        ),
    )


def rules(made_with: Mapping[str, Any]) -> str:
    """The rules that tell one index from another, in a sentence."""
    weighting = str(made_with["weighting"]).replace("_", " ")
    cap, floor, buffer = (made_with[name] for name in ("cap", "floor", "rank_buffer"))
    members = f"at most {made_with['top_n']} members by Sharpe ratio"
    if buffer:
        members += f" (who stay down to rank {made_with['top_n'] + buffer})"
    if cap < 1 or floor > 0:
        weighting += f" within {percent(floor)} and {percent(cap)}"
    return (
        f"Determined {made_with['calendar']} from the {made_with['lookback_days']} days before: "
        f"{members}, of eligible symbols with correlations within "
        f"\N{PLUS-MINUS SIGN}{made_with['correlation_threshold']:g}, weighted by {weighting}; "
        f"traded {_trades(str(made_with['execution']), int(made_with['delay_bars']))}, at "
        f"{made_with['cost_bps']:g} basis points of one-way turnover."
    )


def _trades(execution: str, delay_bars: int) -> str:
    """When the trades of a determination are done."""
    at_open = execution == "next_open"
    if not delay_bars:
        return "at the next bar's open" if at_open else "at the close it was determined at"
    bars = "1 bar" if delay_bars == 1 else f"{delay_bars} bars"
    return f"at the {'open' if at_open else 'close'} {bars} after the determination"


def standing(result: IndexResult) -> tuple[str, ...]:
    """How the index did beside its benchmarks and random portfolios, in plain words."""
    own = result.statistic("total_return")
    sentences = [
        _beside(
            own, result.statistic("total_return", benchmark), BENCHMARKS.get(benchmark, benchmark)
        )
        for benchmark in result.benchmarks
    ]
    low, high = (result.statistic(f"random_p{edge}_total_return") for edge in ("05", "95"))
    below = result.statistic("random_share_below")
    if np.isfinite(below) and low < high:
        sentences.append(_luck(below, low, high, result.rules))
    elif np.isfinite(low):
        sentences.append(
            "Of luck nothing can be said: the random portfolios do not differ, as happens when no "
            "more names are eligible than the index may hold."
        )
    return tuple(sentences)


def _beside(own: float, other: float, benchmark: str) -> str:
    figures = f"{percent(own)} against {percent(other)}"
    if own == other:
        return f"It earned as much as {benchmark}: {figures}."
    return f"It {'lost to' if own < other else 'did better than'} {benchmark}: {figures}."


def _luck(below: float, low: float, high: float, made_with: Mapping[str, Any]) -> str:
    """Where the index ended among random portfolios, and what that tells.

    Their 5 and 95 % are known as well as their number allows: within two standard errors of an
    edge, other draws could put the index on its other side.
    """
    drawn, size = made_with["random_portfolios"], made_with["top_n"]
    error = 2 * math.sqrt(_TAIL * (1 - _TAIL) / drawn)
    where, meaning = "inside", "cannot be told from luck"
    if min(abs(below - _TAIL), abs(below - (1 - _TAIL))) <= error:
        where, meaning = "at the edge of", "cannot be told from luck by so few"
    elif below < _TAIL:
        where, meaning = "below", "did harm"
    elif below > 1 - _TAIL:
        where, meaning = "above", "did better than luck usually does"
    choice = "names" if made_with["weighting"] == "equal" else "names and weights together"
    return (
        f"It ended above {round(below * drawn):,} of {drawn:,} random portfolios of {size} "
        f"eligible names, equally weighted: {where} the band in which 90% of them ended "
        f"({percent(low)} to {percent(high)}). Its {choice} {meaning}."
    )


def statistics_table(result: IndexResult, shown: Collection[str]) -> Table:
    """A row for each statistic that is asked for, the index beside its benchmarks."""
    names = (result.name, *result.benchmarks)
    found = result.statistics.set_index(["index_name", "statistic"])[["value", "at"]]
    rows = []
    for statistic, title, show in _STATISTICS:
        column = "at" if show is minute else "value"
        if statistic in shown and (result.name, statistic) in found.index:
            cells = [show(found[column].get((name, statistic))) for name in names]
            rows.append((title.format(trials=result.rules["trials"]), *cells))
    columns = (
        Column("After costs", numeric=False),
        *(Column(name, numeric=True) for name in names),
    )
    return Table(columns, tuple(rows))


def _against(result: IndexResult) -> Table:
    """A row for each benchmark."""
    rows = tuple(
        (
            benchmark,
            *(show(result.statistic(f"{name}_{benchmark}")) for name, _, show in _AGAINST),
        )
        for benchmark in result.benchmarks
    )
    titles = (Column(title, numeric=True) for _, title, _ in _AGAINST)
    return Table((Column("Against", numeric=False), *titles), rows)


def rebalances(result: IndexResult) -> tuple[Rebalance, ...]:
    """Each determination with who came in, who went out and why, the newest first."""
    changes = dict(list(membership_changes(result).groupby("as_of")))
    nothing = pd.DataFrame(columns=["as_of", "change", "symbol", "weight", "detail"])
    found = []
    for date in result.dates:
        mine = changes.get(date, nothing)
        shown = table(
            mine,
            ("change", "", text),
            ("symbol", "Symbol", text),
            ("weight", "Weight", percent),
            ("detail", "Why", text),
        )
        found.append(Rebalance(_title(result, date, mine["change"]), shown))
    return tuple(reversed(found))


def _title(result: IndexResult, date: pd.Timestamp, change: pd.Series) -> str:
    """One line on a determination; its trades are those up to when the next one takes effect."""
    came, went = int((change == "in").sum()), int((change == "out").sum())
    members = int((result.weights["as_of"] == date).sum())
    line = f"{minute(date)}: {count(came)} in, {count(went)} out, {count(members)} members"
    start = date + result.delay
    if start >= result.end:
        return f"{line}; not in effect yet"
    later = result.dates[result.dates > date]
    at = result.trades["open_time"]
    mine = result.trades[(at >= start) & (at < later[0] + result.delay if len(later) else True)]
    turnover, cost = float(mine["turnover"].sum()), float(mine["cost"].sum())
    return f"{line}; turnover {percent(turnover)}, costs {cost:.3%}"
