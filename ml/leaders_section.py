"""What the report says of the clusters' leaders: how stable the clusters are, what leaders earned.

What is said of the portfolio's worth is walked forward and after costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from ml import index_plots
from ml.images import Image, image
from ml.index_figures import curves
from ml.index_section import standing, statistics_table
from ml.plot_style import MARKETS
from ml.report_tables import Table, number, percent, ratio, table, text

if TYPE_CHECKING:
    from ml.index_results import IndexResult
    from ml.report_data import ReportData

TINY_CLUSTER: Final = 5
"""Symbols below which a cluster's leader is the best of next to nobody."""

_STATISTICS: Final = (
    *("total_return", "cagr", "volatility", "sharpe", "max_drawdown"),
    *("annual_turnover", "total_cost"),
)


@dataclass(frozen=True)
class LeadersSection:
    """The portfolio of each month's leaders on the page.

    Attributes:
        span: From its first level to its last, UTC.
        standing: What it is worth beside its benchmarks and luck, a sentence each.
        equity: Its level beside its benchmarks.
        statistics: It beside its benchmarks.
        months: Each determination's leaders, the newest first.
    """

    span: str
    standing: tuple[str, ...]
    equity: Image
    statistics: Table
    months: Table


def leaders_section(data: ReportData) -> LeadersSection | None:
    """Put the portfolio into words, a table and a picture; None without one."""
    leaders = data.leaders
    if leaders is None:
        return None
    about = f"{MARKETS[data.market]}, {data.interval}, {leaders.span}, walk-forward, after costs"
    times, levels = curves(leaders, "level")
    figure = index_plots.equity_curves(times, levels, {}, leaders.name, about)
    return LeadersSection(
        span=leaders.span,
        standing=standing(leaders),
        equity=image(figure, "Level of the cluster leaders and their benchmarks"),
        statistics=statistics_table(leaders, _STATISTICS),
        months=_months(leaders),
    )


def stability(figures: Mapping[str, str]) -> tuple[str, ...]:
    """How far the clusters last, in words, a sentence each; empty without figures.

    Args:
        figures: What the task `kmeans` reported: `resampled_agreement` and `monthly_agreement` are
            adjusted Rand indices.
    """
    resampled, monthly = (
        number(figures, name) for name in ("resampled_agreement", "monthly_agreement")
    )
    sentences = []
    if np.isfinite(resampled):
        sentences.append(
            f"Clusters of resampled symbols agree with these by {ratio(resampled)} (adjusted Rand "
            "index: 1 is the same clusters, 0 nothing in common)."
        )
    if np.isfinite(monthly):
        sentences.append(
            f"Clusters made anew each month agree with those of the month before by "
            f"{ratio(monthly)}: {_lasting(monthly)}."
        )
    return tuple(sentences)


def _lasting(agreement: float) -> str:
    if agreement < 0.3:
        return "a symbol's cluster says next to nothing of its cluster a month on"
    if agreement < 0.7:
        return "part of a symbol's cluster is still there a month on"
    return "a symbol mostly stays in its cluster"


def tiny_clusters(clusters: pd.DataFrame) -> str:
    """Why the leaders of small clusters are to be taken with care, naming them; else empty.

    Args:
        clusters: `ml.clusters` of one run.
    """
    sizes = clusters.groupby("cluster").size()
    tiny = sizes[sizes < TINY_CLUSTER]
    if tiny.empty:
        return ""
    named = ", ".join(f"{cluster} ({size})" for cluster, size in tiny.items())
    return (
        f"Clusters of fewer than {TINY_CLUSTER} symbols: {named}. Take their leaders with care: "
        "the best of next to nobody is no choice, and what lies so far from all others is mostly "
        "a young symbol whose few weeks, annualised, run to extremes. Such a leader gets the same "
        "weight as the best of hundreds."
    )


def _months(leaders: IndexResult) -> Table:
    """Who led at each determination, the newest first."""
    held = leaders.weights.sort_values(["as_of", "rank"], ascending=[False, True])
    return table(
        held.assign(day=held["as_of"].dt.strftime("%Y-%m-%d")),
        ("day", "As of", text),
        ("symbol", "Leader", text),
        ("weight", "Weight", percent),
        ("detail", "Why", text),
    )
