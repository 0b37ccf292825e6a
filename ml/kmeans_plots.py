"""Figures of KMeans: numbers of clusters beside each other, and clusters from month to month.

Like those of `ml.plots`: each function returns a new figure, and `subtitle` should name the market
and the interval.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from gold.returns import FloatArray
from ml.plot_style import (
    BLUE,
    MUTED,
    VERMILLION,
    Numbers,
    TimeArray,
    new_figure,
    one_plot,
    point_label,
    styled,
    time_axis,
)


def sweep(
    ks: Sequence[int], measures: Mapping[str, Numbers], chosen: int, subtitle: str = ""
) -> Figure:
    """What each number of clusters gives, a panel for each measure, the chosen one marked.

    Args:
        ks: Numbers of clusters tried, ascending.
        measures: Name of a measure -> its value for each k; NaN is left out.
        chosen: The k in use; it need not be among `ks`.
        subtitle: Market and interval.
    """
    figure = new_figure(8, 1.2 + 2.1 * len(measures), "Number of clusters", subtitle)
    panels = figure.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, measures.items(), strict=True):
        _by_clusters(styled(axes), ks, np.asarray(values, dtype=np.float64), chosen)
        axes.set_ylabel(name)
    panels[-1].set_xlabel("Number of clusters k")
    panels[-1].set_xticks(list(ks))
    return figure


def month_to_month(times: TimeArray, agreement: FloatArray, subtitle: str = "") -> Figure:
    """Agreement of each month's clusters with those of the month before.

    Args:
        times: T determination dates, UTC, ascending.
        agreement: (T,) adjusted Rand indices, 1 for the same clusters, 0 for nothing in common.
        subtitle: Market, interval and length of the lookback.
    """
    title = "How far a month's clusters are those of the month before"
    figure, axes = one_plot(8, 3.6, title, subtitle)
    axes.plot(times, agreement, color=BLUE, marker="o")
    for time, value in zip(times, agreement.tolist(), strict=True):
        point_label(axes, f"{value:.2f}", (time, value), MUTED)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_ylim(min(-0.05, float(agreement.min(initial=0.0)) - 0.05), 1.08)
    axes.set_ylabel("Adjusted Rand index")
    time_axis(axes, times)
    axes.set_xlabel("Clusters of, UTC")
    return figure


def _by_clusters(axes: Axes, ks: Sequence[int], values: FloatArray, chosen: int) -> None:
    """One measure by the number of clusters, each point with its number."""
    axes.plot(ks, values, color=BLUE, marker="o")
    around = np.pad(values, 1, mode="edge")
    spread = np.nanmax(values) - np.nanmin(values)
    valley = values < (around[:-2] + around[2:]) / 2 - 0.05 * spread
    for k, value, below in zip(ks, values.tolist(), valley.tolist(), strict=True):
        if not np.isfinite(value):
            continue
        shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
        used = k == chosen
        text = f"{shown}, used" if used else shown
        point_label(axes, text, (k, value), VERMILLION if used else MUTED, below=below)
        if used:
            axes.plot(k, value, "o", color=VERMILLION, markersize=10, zorder=3)
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.25)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
