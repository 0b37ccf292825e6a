"""What the report says of a walk-forward index: sentences, tables and figures.

Everything that is said of its worth is after costs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

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
    ("total_cost", "Costs, of the final level", percent),
    ("cost_drag", "Costs, of the annual growth rate", percent),
    ("probabilistic_sharpe", "Probability of a Sharpe above 0", percent),
    ("deflated_sharpe", "The same, after the settings tried", percent),
)
_AGAINST: Final[tuple[tuple[str, str, Callable[..., str]], ...]] = (
    ("beta", "Beta", ratio),
    ("alpha", "Alpha, per year", percent),
    ("tracking_error", "Tracking error, per year", percent),
    ("information_ratio", "Information ratio", ratio),
)


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


def rules(made_with: Mapping[str, object]) -> str:
    """The rules that tell one index from another, in a sentence."""
    weighting = str(made_with["weighting"]).replace("_", " ")
    execution = {"next_open": "at the next bar's open", "close": "at the close before it"}
    return (
        f"Determined {made_with['calendar']} from the {made_with['lookback_days']} days before: at "
        f"most {made_with['top_n']} members by Sharpe ratio, of eligible symbols with correlations "
        f"within \N{PLUS-MINUS SIGN}{made_with['correlation_threshold']:g}, weighted by "
        f"{weighting}; traded {execution[str(made_with['execution'])]}, at "
        f"{made_with['cost_bps']:g} basis points of one-way turnover."
    )


def standing(result: IndexResult) -> tuple[str, ...]:
    """How the index did beside its benchmarks and random portfolios, in plain words."""
    own = result.statistic("total_return")
    sentences = [
        _beside(
            own, result.statistic("total_return", benchmark), BENCHMARKS.get(benchmark, benchmark)
        )
        for benchmark in result.benchmarks
    ]
    below = result.statistic("random_share_below")
    if np.isfinite(below):
        low, high = (result.statistic(f"random_p{edge}_total_return") for edge in ("05", "95"))
        sentences.append(_luck(own, below, low, high, result.rules["random_portfolios"]))
    return tuple(sentences)


def _beside(own: float, other: float, benchmark: str) -> str:
    figures = f"{percent(own)} against {percent(other)}"
    if own == other:
        return f"It earned as much as {benchmark}: {figures}."
    return f"It {'lost to' if own < other else 'did better than'} {benchmark}: {figures}."


def _luck(own: float, below: float, low: float, high: float, drawn: object) -> str:
    band = f"the band in which 90% of them ended ({percent(low)} to {percent(high)})"
    start = f"It ended above {percent(below)} of {drawn} random portfolios"
    if low <= own <= high:
        return f"{start}, inside {band}: its choice of members cannot be told from luck."
    if own < low:
        return f"{start}, below {band}: its choice of members did harm."
    return f"{start}, above {band}: more than luck usually gives."


def statistics_table(result: IndexResult, shown: Collection[str]) -> Table:
    """A row for each statistic that is asked for, the index beside its benchmarks."""
    names = (result.name, *result.benchmarks)
    found = result.statistics.set_index(["index_name", "statistic"])[["value", "at"]]
    rows = []
    for statistic, title, show in _STATISTICS:
        column = "at" if show is minute else "value"
        if statistic in shown and (result.name, statistic) in found.index:
            cells = [show(found[column].get((name, statistic))) for name in names]
            rows.append((title, *cells))
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
    """One line on a determination; its trades are those up to the next one."""
    came, went = int((change == "in").sum()), int((change == "out").sum())
    members = int((result.weights["as_of"] == date).sum())
    line = f"{minute(date)}: {count(came)} in, {count(went)} out, {count(members)} members"
    if date >= result.end:
        return f"{line}; not in effect yet"
    later = result.dates[result.dates > date]
    at = result.trades["open_time"]
    mine = result.trades[(at >= date) & (at < later[0] if len(later) else True)]
    turnover, cost = float(mine["turnover"].sum()), float(mine["cost"].sum())
    return f"{line}; turnover {percent(turnover)}, costs {cost:.3%}"
