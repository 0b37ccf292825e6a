"""Figures of what a walk-forward index held.

Like those of `ml.plots`: each function returns a new figure, and `subtitle` should name the market,
the interval and the span in UTC. Times are numpy's `datetime64`, UTC, ascending; weights are
fractions (0.5 is drawn as 50 %).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter

from gold.returns import FloatArray
from ml.plot_style import (
    BLUE,
    CATEGORIES,
    INK,
    MISSING,
    RULE,
    TimeArray,
    one_plot,
    percent,
    time_axis,
)

MOST_MEMBERS: Final = 64
"""Rows of the membership calendar: more names would be smaller than print."""

# Up to this many dates, white lines between them hide nothing.
_FEW_DATES: Final = 60
_SHADES: Final = LinearSegmentedColormap.from_list("blues", ["#cfe3f1", BLUE, "#00324f"])


def weights_over_time(
    dates: TimeArray,
    end: np.datetime64,
    symbols: Sequence[str],
    weights: FloatArray,
    name: str,
    subtitle: str = "",
) -> Figure:
    """Weights from each determination to the next, the largest holdings by name.

    Args:
        dates: D determination dates.
        end: Where the last one's weights end.
        symbols: N names.
        weights: D x N fractions, 0 for no member; what a row lacks to 1 is cash.
        name: Name of the index.
        subtitle: Market, interval and span.
    """
    parts = _parts(symbols, weights)
    figure, axes = one_plot(8, 4.4, f"{name}: weights at each determination", subtitle)
    until = np.append(dates, max(end, dates[-1]))
    stacked = [np.append(part, part[-1]) for _, part, _ in parts]
    areas = axes.stackplot(
        until, stacked, step="post", colors=[colour for _, _, colour in parts], linewidth=0.4
    )
    for area, (label, _, _) in zip(areas, parts, strict=True):
        area.set_label(label.replace("$", r"\$"))
        if dates.size <= _FEW_DATES:
            area.set_edgecolor("white")
    axes.set_ylim(0, 1)
    axes.margins(x=0)
    axes.grid(visible=False)
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.set_ylabel("Share of the index")
    time_axis(axes, until)
    figure.legend(
        loc="outside right center",
        frameon=False,
        labelcolor=INK,
        fontsize=8,
        reverse=True,  # in the order of the areas
        title="largest on average",
        title_fontsize=8,
    )
    return figure


def _parts(symbols: Sequence[str], weights: FloatArray) -> list[tuple[str, FloatArray, str]]:
    """Label, D weights and colour of the largest holdings, all others and the cash."""
    named = np.argsort(-weights.sum(axis=0), kind="stable")[: len(CATEGORIES)]
    named = named[weights.sum(axis=0)[named] > 0]
    others = weights.sum(axis=1) - weights[:, named].sum(axis=1)
    cash = np.clip(1 - weights.sum(axis=1), 0, None)
    parts = [(symbols[place], weights[:, place], CATEGORIES[i]) for i, place in enumerate(named)]
    held = int((weights.sum(axis=0) > 0).sum()) - named.size
    for label, part, colour in ((f"{held} others", others, MISSING), ("cash", cash, RULE)):
        if part.max() > 1e-9:  # rounding of the sums is no holding
            parts.append((label, part, colour))
    return parts


def membership_calendar(
    dates: TimeArray, symbols: Sequence[str], weights: FloatArray, name: str, subtitle: str = ""
) -> Figure:
    """Who was a member at which determination, darker for a higher weight.

    Symbols stand by the date at which they first came in; of more than `MOST_MEMBERS`, those that
    were members most often are shown, and the axis says so.

    Args:
        dates: D determination dates.
        symbols: N names.
        weights: D x N fractions, 0 for no member.
        name: Name of the index.
        subtitle: Market, interval and span.
    """
    times_held = (weights > 0).sum(axis=0)
    often = np.argsort(-times_held, kind="stable")
    often = often[times_held[often] > 0]
    kept = np.sort(often[:MOST_MEMBERS])
    first = (weights[:, kept] > 0).argmax(axis=0)
    order = kept[np.lexsort((-times_held[kept], first))]
    height = 1.6 + 0.16 * max(order.size, 6)
    figure, axes = one_plot(8, height, f"{name}: members at each determination", subtitle)
    shown = np.where(weights[:, order] > 0, weights[:, order], np.nan).T
    image = axes.imshow(
        shown,
        cmap=_SHADES.with_extremes(bad="white"),
        vmin=0,
        aspect="auto",
        interpolation="nearest",
    )
    names = [f"{symbols[place]} ({times_held[place]})" for place in order]
    axes.set_yticks(range(order.size), names, fontsize=7, parse_math=False)
    _date_columns(axes, dates)
    few = (
        ""
        if order.size == often.size
        else f"; {order.size} of {often.size} symbols, most often held"
    )
    axes.set_xlabel(f"Determination, UTC (in brackets: how many times a member{few})")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for edge in np.arange(-0.5, order.size):
        axes.axhline(edge, color="white", linewidth=1)
    for edge in np.arange(-0.5, dates.size) if dates.size <= _FEW_DATES else ():
        axes.axvline(edge, color="white", linewidth=1)
    _weight_bar(figure, axes, image)
    return figure


def _weight_bar(figure: Figure, axes: Axes, image: AxesImage) -> None:
    """What the shades of a map mean."""
    bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=30, pad=0.01)
    bar.set_label("Weight", color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(percent))
    bar.outline.set_visible(False)


def _date_columns(axes: Axes, dates: TimeArray) -> None:
    """Dates of a map's columns, as many as have room."""
    step = int(np.ceil(dates.size / 16))
    places = np.arange(0, dates.size, step)
    names = np.datetime_as_string(dates[places], unit="D").tolist()
    axes.set_xticks(places, names, rotation=90, fontsize=7)
