"""Figures of the gold and ML results, for MLflow and the report.

Each function returns a new `matplotlib.figure.Figure` and touches no global state of matplotlib,
so that figures may be drawn from several threads. Inputs are plain sequences and arrays; returns
and volatilities are fractions per year (0.5 is drawn as 50 %). `subtitle` is the line below the
title: it should name the market, the interval and the span of the data in UTC. Categories differ by
colour and by marker.
"""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    PercentFormatter,
)

from gold.returns import FloatArray, IntArray
from ml.plot_style import (
    BLUE,
    CATEGORIES,
    INK,
    MINUS,
    MUTED,
    VERMILLION,
    VIK,
    Numbers,
    one_plot,
    percent,
    point_label,
)

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")

# Above this many symbols their names would be smaller than print, so only a few are given.
MOST_LABELS = 64
_FEW_LABELS = 40
# Up to this many symbols each cell also carries its number.
_MOST_NUMBERS = 30

# Ticks of an annualised return, as fractions per year, on an axis that compresses its tails.
_RETURN_TICKS = (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100)

# Where a label may stand around its point: pixels at 72 dots per inch, nearest first.
_OFFSETS = [
    (1.9 * radius * float(np.cos(angle)), radius * float(np.sin(angle)))
    for radius in (16.0, 24.0, 34.0, 46.0, 60.0)
    for angle in np.pi / 4 * np.array([2, 6, 1, 3, 5, 7, 0, 4])
]


def scree(explained: Numbers, cumulative: Numbers, subtitle: str = "") -> Figure:
    """Shares of variance of the principal components, each and cumulated.

    Args:
        explained: Share of the total variance of each component, in order, as fractions.
        cumulative: Their running sum.
        subtitle: Market, interval and span.
    """
    figure, axes = one_plot(8, 4.2, "Variance explained by principal component", subtitle)
    component = list(range(1, len(explained) + 1))
    axes.bar(component, explained, color=BLUE, width=0.7, label="each component")
    axes.plot(component, cumulative, color=VERMILLION, marker="o", label="cumulative")
    for x, each, total in zip(component, explained, cumulative, strict=True):
        point_label(axes, f"{each:.1%}", (x, float(each)), INK)
        if x > 1:  # the first component's two values are one
            point_label(axes, f"{total:.0%}", (x, float(total)), VERMILLION)
    axes.set_xlabel("Component")
    axes.set_ylabel("Share of the variance of log returns")
    axes.set_xticks(component)
    axes.grid(visible=False, axis="x")
    axes.set_ylim(0, 1.15 * float(np.max(cumulative, initial=0.0)) or 1.0)
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.legend(loc="center right", frameon=False, labelcolor=INK, fontsize=9)
    return figure


def importances(features: Sequence[str], values: Numbers, subtitle: str = "") -> Figure:
    """Feature importances of the gradient-boosted trees, largest on top.

    Args:
        features: Names.
        values: Share of the loss reduction of each feature; they sum to 1.
        subtitle: Market, interval and span.
    """
    title = "Feature importances of the gradient-boosted trees"
    label = "Share of the loss reduction while fitting (in-sample)"
    return _bars(features, values, title, label, subtitle)


def permutation_importances(features: Sequence[str], values: Numbers, subtitle: str = "") -> Figure:
    """Permutation importances of the features out of sample, largest on top.

    Args:
        features: Names.
        values: Fall of the out-of-sample R² when the feature is shuffled, as a fraction; a
            negative one is drawn to the left.
        subtitle: Market, interval and span.
    """
    title = "What the walk-forward forecasts rest on"
    label = "Fall of the out-of-sample R\N{SUPERSCRIPT TWO} when the feature is shuffled"
    return _bars(features, values, title, label, subtitle, digits=2)


def index_weights(symbols: Sequence[str], weights: Numbers, subtitle: str = "") -> Figure:
    """Weights of the index's members, largest on top; fractions that sum to 1."""
    return _bars(symbols, weights, "Index weights", "Share of the index", subtitle)


def cluster_scatter(
    symbols: Sequence[str],
    annual_volatility: Numbers,
    annual_return: Numbers,
    cluster: Sequence[int] | IntArray,
    leaders: Collection[str],
    subtitle: str = "",
) -> Figure:
    """Risk and return of every symbol by cluster, leaders named.

    Both axes compress their tails, because annualised figures of young symbols run to thousands
    of per cent; dotted lines join points of equal Sharpe ratio. A symbol without a finite return
    or a positive volatility has no place on it and is left out.

    Args:
        symbols: Names.
        annual_volatility: Standard deviation of log returns, annualised, fraction per year.
        annual_return: Mean log return, annualised, fraction per year.
        cluster: Cluster of each symbol.
        leaders: The symbols to name.
        subtitle: Market, interval and span.
    """
    x = np.asarray(annual_volatility, dtype=np.float64)
    y = np.asarray(annual_return, dtype=np.float64)
    drawn = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & (x > 0))
    names = np.asarray(symbols, dtype=object)[drawn]
    x, y, group = x[drawn], y[drawn], np.asarray(cluster)[drawn]
    leads = np.isin(names, list(leaders))
    figure, axes = one_plot(8, 5.8, "Risk and return by cluster", subtitle)
    _risk_return_axes(axes)
    for place, label in enumerate(np.unique(group)):
        colour, marker = CATEGORIES[place % len(CATEGORIES)], _MARKERS[place % len(_MARKERS)]
        member = group == label
        count = f"cluster {label} ({member.sum()})"
        rest, first = member & ~leads, member & leads
        axes.scatter(x[rest], y[rest], s=22, c=colour, marker=marker, alpha=0.6, linewidths=0)
        axes.scatter(x[first], y[first], s=90, c=colour, marker=marker, edgecolors=INK, zorder=3)
        axes.scatter([], [], s=50, c=colour, marker=marker, label=count)
    taken = _sharpe_lines(axes)
    figure.legend(
        loc="outside lower center",  # outside: it makes room for itself instead of covering points
        ncols=5,
        frameon=False,
        labelcolor=INK,
        fontsize=9,
        handletextpad=0.1,
        columnspacing=1.2,
    )
    points = np.column_stack([x, y])
    _name_points(figure, axes, [str(name) for name in names], points, leads, taken)
    return figure


def correlation_heatmap(symbols: Sequence[str], matrix: FloatArray, subtitle: str = "") -> Figure:
    """Correlation matrix, from the symbol that moves most with the others to the least.

    Up to 64 symbols are all named, and up to 30 also carry their numbers; of more, evenly spaced
    ones are named for orientation.

    Args:
        symbols: Names, n of them.
        matrix: n x n, from -1 to 1; NaN (a symbol that never moved) is drawn grey.
        subtitle: Market, interval and span.
    """
    order = by_mean_correlation(matrix)
    shown = matrix[np.ix_(order, order)]
    count = len(order)
    step = 1 if count <= MOST_LABELS else int(np.ceil(count / _FEW_LABELS))
    side = float(np.clip(2.4 + 0.22 * count, 5, 8.6))
    title = f"Correlation of log returns, {count} symbols"
    figure, axes = one_plot(side, side, title, subtitle)
    # Unsmoothed, so that each dot is some pair's own colour, in steps of 0.02.
    image = axes.imshow(shown, cmap=VIK, vmin=-1, vmax=1, interpolation="nearest")
    ticks = np.arange(0, count, step)
    names = [symbols[place] for place in order[ticks]]
    axes.set_yticks(ticks, names, fontsize=7, parse_math=False)
    axes.set_xticks(ticks, names, fontsize=7, rotation=90, parse_math=False)
    axes.tick_params(length=0 if step == 1 else 3)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    few = "" if step == 1 else f"; one in {step} is named"
    axes.set_xlabel(f"Ordered by mean correlation with the others{few}")
    if count <= _MOST_NUMBERS:
        _cell_numbers(axes, shown)
    bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=30, pad=0.01)
    bar.set_label("Pearson correlation", color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.outline.set_visible(False)
    return figure


def by_mean_correlation(matrix: FloatArray) -> IntArray:
    """Order of the symbols by their mean correlation with the others, highest first.

    Args:
        matrix: n x n; NaN pairs count as no correlation. Ties keep the order given.
    """
    filled = np.nan_to_num(matrix, nan=0.0)
    return np.argsort(-(filled.sum(axis=0) - np.diagonal(filled)), kind="stable")


def correlation_distribution(rho: Numbers, threshold: float, subtitle: str = "") -> Figure:
    """How the pairs' correlations are spread, with the threshold of the index.

    Args:
        rho: Correlation of each pair, once; NaN pairs are left out.
        threshold: Pairs beyond it, in absolute value, meet in the correlation tournament.
        subtitle: Market, interval and span.
    """
    values = np.asarray(rho, dtype=np.float64)
    values = values[np.isfinite(values)]
    beyond = int((np.abs(values) > threshold).sum())
    share = beyond / max(values.size, 1)
    figure, axes = one_plot(8, 3.6, f"Correlations of {values.size:,} pairs", subtitle)
    axes.hist(values, bins=[float(edge) for edge in np.linspace(-1, 1, 81)], color=BLUE, rwidth=0.9)
    for line in (-threshold, threshold):
        axes.axvline(line, color=VERMILLION, linewidth=1.5)
    axes.annotate(
        f"beyond \N{PLUS-MINUS SIGN}{threshold:g}:\n{beyond:,} pairs ({share:.2%})",
        (threshold, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-6, -4),
        textcoords="offset points",
        ha="right",
        va="top",
        color=VERMILLION,
        fontsize=9,
    )
    axes.set_xlim(float(np.floor(values.min(initial=0.0) * 10) / 10), 1)
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])  # room for the words above the bars
    axes.set_xlabel("Pearson correlation of log returns")
    axes.set_ylabel("Pairs")
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return figure


def _bars(
    names: Sequence[str],
    values: Numbers,
    title: str,
    value_label: str,
    subtitle: str,
    *,
    digits: int = 1,
) -> Figure:
    """Horizontal bars of shares, the largest on top, each with its number to so many digits."""
    shares = np.asarray(values, dtype=np.float64)
    order = np.argsort(shares, kind="stable")
    figure, axes = one_plot(8, 1.5 + 0.26 * len(shares), title, subtitle)
    places = np.arange(len(shares))
    bars = axes.barh(places, shares[order], color=BLUE, height=0.72)
    axes.bar_label(
        bars,
        fmt=lambda share: f"{share:.{digits}%}".replace("-", MINUS),
        padding=4,
        fontsize=9,
        color=INK,
    )
    axes.set_yticks(places, [names[place] for place in order], parse_math=False)
    axes.set_xlabel(value_label)
    axes.xaxis.set_major_formatter(FuncFormatter(percent) if digits == 1 else PercentFormatter(1))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.1 if digits == 1 else 0.15, y=0.02)
    return figure


def _cell_numbers(axes: Axes, matrix: FloatArray) -> None:
    """Correlations inside their cells, without the leading zero; the diagonal says nothing."""
    for row, column in np.argwhere(np.isfinite(matrix)):
        value = np.round(matrix[row, column], 2) + 0.0  # no negative zero
        if row != column:
            text = f"{value:.2f}".replace("0.", ".").replace("-", MINUS)
            ink = "white" if abs(value) > 0.5 else INK
            axes.text(column, row, text, ha="center", va="center", fontsize=6, color=ink)


def _risk_return_axes(axes: Axes) -> None:
    """Volatility on a logarithmic axis, return on one that is linear around 0 alone."""
    axes.set_xscale("log")
    axes.set_yscale("asinh", linear_width=1.0)
    axes.set_xlabel("Annualised volatility (% per year)")
    axes.set_ylabel("Annualised log return (% per year)")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(FixedLocator(_RETURN_TICKS))
    axes.xaxis.set_major_formatter(FuncFormatter(percent))
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)


def _sharpe_lines(axes: Axes) -> list[Text]:
    """Dotted lines of equal Sharpe ratio, within the limits that the points have set."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    volatility = np.geomspace(left, right, 200)
    names: list[Text] = []
    for sharpe in (-1, 1):
        axes.plot(
            volatility, sharpe * volatility, color=MUTED, linewidth=0.9, linestyle=":", zorder=1
        )
        if bottom < sharpe * right < top:
            name = axes.annotate(
                f"Sharpe {MINUS if sharpe < 0 else ''}1",
                (right, sharpe * right),
                xytext=(-3, 3 * sharpe),
                textcoords="offset points",
                ha="right",
                va="bottom" if sharpe > 0 else "top",
                color=MUTED,
                fontsize=8,
            )
            names.append(name)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    return names


def _name_points(
    figure: Figure,
    axes: Axes,
    names: Sequence[str],
    points: FloatArray,
    named: npt.NDArray[np.bool_],
    texts: Sequence[Text],
) -> None:
    """Write the names of some points where they cover other points and texts least."""
    figure.draw_without_rendering()  # places in pixels are known only after the layout
    pixel = figure.dpi / 72
    places = axes.transData.transform(points).reshape(-1, 2)
    reach = np.where(named, 6.0, 2.5)[:, None] * pixel
    boxes = [np.hstack([places - reach, places + reach]), *map(_box, texts)]
    for row in np.flatnonzero(named).tolist():
        label = _label(axes, names[row], points[row])
        boxes.append(_settle(label, np.vstack(boxes), _box(axes), pixel))


def _label(axes: Axes, text: str, at: FloatArray) -> Annotation:
    """The bold name of a point, joined to it by a line."""
    return axes.annotate(
        text,
        (float(at[0]), float(at[1])),
        xytext=(0, 0),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=9,
        fontweight="bold",
        color=INK,
        parse_math=False,
        in_layout=False,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.8, "shrinkB": 5},
        zorder=5,
    )


def _settle(label: Annotation, boxes: FloatArray, inside: FloatArray, pixel: float) -> FloatArray:
    """Move a label to the best place around its point; returns the room it takes there.

    Args:
        label: Its position is an offset from its point, in points.
        boxes: n x (left, bottom, right, top) in pixels that it should not cover.
        inside: 1 x (left, bottom, right, top) that it should not leave.
        pixel: Pixels to a point.
    """
    label.get_window_extent()  # brings the text to its place, which the next line then reads
    home = np.array([Text.get_window_extent(label).extents])  # the text alone, not its line
    rooms = home + np.tile(np.array(_OFFSETS) * pixel, 2)
    covered = _common_area(rooms[:, None, :], boxes[None, :, :]).sum(axis=1)
    outside = _common_area(home, home) - _common_area(rooms, inside)
    far = np.hypot(*np.array(_OFFSETS).T) * pixel
    # In square pixels: to leave the axes is worst, and a covered point is worth a few steps away.
    best = int(np.argmin(covered + 10 * outside + 1.5 * far))
    label.set_position(_OFFSETS[best])
    return rooms[best : best + 1]


def _box(artist: Artist) -> FloatArray:
    """(left, bottom, right, top) of a drawn artist in pixels, as one row."""
    return np.array([artist.get_window_extent().extents], dtype=np.float64)


def _common_area(one: FloatArray, other: FloatArray) -> FloatArray:
    """Area that boxes (left, bottom, right, top) on the last axis share."""
    low = np.maximum(one[..., :2], other[..., :2])
    high = np.minimum(one[..., 2:], other[..., 2:])
    area: FloatArray = np.prod(np.clip(high - low, 0, None), axis=-1)
    return area
