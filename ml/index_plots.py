"""Figures of a walk-forward index: what it earned, what it held and what that cost.

Like those of `ml.plots`: each function returns a new figure, and `subtitle` should name the market,
the interval and the span in UTC. Times are numpy's `datetime64`, UTC, ascending; returns, weights,
turnovers and costs are fractions (0.5 is drawn as 50 %).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.dates import DateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from gold.returns import FloatArray, IntArray
from ml.plot_style import (
    BLUE,
    CATEGORIES,
    INK,
    MINUS,
    MISSING,
    MUTED,
    ORANGE,
    RULE,
    VERMILLION,
    VIK,
    new_figure,
    one_plot,
    percent,
    styled,
    time_axis,
)

TimeArray = npt.NDArray[np.datetime64]
"""Instants in UTC, ascending."""

MOST_MEMBERS: Final = 64
"""Rows of the membership calendar: more names would be smaller than print."""

_CURVES: Final = (BLUE, ORANGE, VERMILLION)
_MONTHS: Final = tuple(f"{datetime(2000, month, 1, tzinfo=UTC):%b}" for month in range(1, 13))
_SHADES: Final = LinearSegmentedColormap.from_list("blues", ["#cfe3f1", BLUE, "#00324f"])
# Levels within this factor of each other would see two ticks of a logarithmic axis at most.
_FEW_DECADES: Final = 10.0


def equity_curves(
    times: TimeArray,
    levels: Mapping[str, FloatArray],
    band: Mapping[int, FloatArray],
    name: str,
    subtitle: str = "",
) -> Figure:
    """Levels on a logarithmic axis, over the bands in which random portfolios lie.

    Args:
        times: T instants.
        levels: Name -> T levels above 0, the index first.
        band: Percentile (5, 25, 50, 75, 95) -> T levels of the random portfolios; may be empty.
        name: Name of the index.
        subtitle: Market, interval and span.
    """
    figure, axes = one_plot(8, 5, f"{name}: level, logarithmic axis", subtitle)
    axes.set_yscale("log")
    if band:
        for low, high, alpha in ((5, 95, 0.14), (25, 75, 0.22)):
            axes.fill_between(
                times,
                band[low],
                band[high],
                color=MUTED,
                alpha=alpha,
                linewidth=0,
                label=f"random portfolios, {low} to {high}%",
            )
        label = f"random portfolios, median: {band[50][-1]:,.0f}"
        axes.plot(times, band[50], color=MUTED, linewidth=1, linestyle=":", label=label)
    for colour, (curve, level) in _coloured(levels):
        width = 1.9 if curve == name else 1.2
        label = f"{curve}: {level[-1]:,.0f}"
        axes.plot(times, level, color=colour, linewidth=width, label=label)
    lowest, highest = axes.get_ylim()
    if highest / lowest < _FEW_DECADES:
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylabel("Level, 1,000 at the start")
    time_axis(axes)
    _legend_below(figure)
    return figure


def drawdowns(
    times: TimeArray, drawdown: Mapping[str, FloatArray], name: str, subtitle: str = ""
) -> Figure:
    """Falls from the highest level so far.

    Args:
        times: T instants.
        drawdown: Name -> T fractions <= 0, the index first.
        name: Name of the index.
        subtitle: Market, interval and span.
    """
    figure, axes = one_plot(8, 3.6, f"{name}: drawdown from the highest level so far", subtitle)
    for colour, (curve, fall) in _coloured(drawdown):
        if curve == name:
            axes.fill_between(times, fall, 0, color=colour, alpha=0.2, linewidth=0)
        label = f"{curve}: deepest {percent(float(fall.min()))}"
        axes.plot(times, fall, color=colour, linewidth=1.1, label=label)
    axes.set_ylim(top=0)
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.set_ylabel("Drawdown")
    time_axis(axes)
    _legend_below(figure)
    return figure


def monthly_returns(months: IntArray, returns: FloatArray, name: str, subtitle: str = "") -> Figure:
    """Returns by year and month, and those of the years beside them.

    Args:
        months: Months since 1970-01, ascending.
        returns: The return of each.
        name: Name of the index.
        subtitle: Market, interval and span.
    """
    years = np.arange(months[0] // 12, months[-1] // 12 + 1)
    grid = np.full((years.size, 13), np.nan)
    grid[months // 12 - years[0], months % 12] = returns
    grid[:, 12] = np.nanprod(1 + grid[:, :12], axis=1) - 1
    figure, axes = one_plot(8, 1.3 + 0.36 * years.size, f"{name}: monthly returns", subtitle)
    most = max(float(np.nanmax(np.abs(grid[:, :12]))), 0.01)
    colours = VIK.reversed().with_extremes(bad="white")  # blue is a gain here
    shown = grid.copy()
    shown[:, 12] = np.nan  # a year's return is on another scale: a number without a colour
    axes.imshow(shown, cmap=colours, vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    for row, column in np.argwhere(np.isfinite(grid)):
        value = np.round(grid[row, column], 3) + 0.0  # no negative zero
        axes.text(
            column,
            row,
            f"{value:.1%}".replace("-", MINUS),
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold" if column == 12 else "normal",
            color="white" if column < 12 and abs(value) > most / 2 else INK,
        )
    axes.set_xticks(range(13), [*_MONTHS, "Year"])
    axes.set_yticks(range(years.size), [str(1970 + year) for year in years])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return figure


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
    named = np.argsort(-weights.sum(axis=0), kind="stable")[: len(CATEGORIES)]
    named = named[weights.sum(axis=0)[named] > 0]
    others = weights.sum(axis=1) - weights[:, named].sum(axis=1)
    cash = np.clip(1 - weights.sum(axis=1), 0, None)
    parts = [(symbols[place], weights[:, place], CATEGORIES[i]) for i, place in enumerate(named)]
    held = int((weights.sum(axis=0) > 0).sum()) - named.size
    for label, part, colour in ((f"{held} others", others, MISSING), ("cash", cash, RULE)):
        if part.max() > 1e-9:  # rounding of the sums is no holding
            parts.append((label, part, colour))
    figure, axes = one_plot(8, 4.4, f"{name}: weights at each determination", subtitle)
    until = np.append(dates, max(end, dates[-1]))
    stacked = [np.append(part, part[-1]) for _, part, _ in parts]
    areas = axes.stackplot(
        until, stacked, step="post", colors=[colour for _, _, colour in parts], linewidth=0.4
    )
    for area, (label, _, _) in zip(areas, parts, strict=True):
        area.set_label(label.replace("$", r"\$"))
        area.set_edgecolor("white")
    axes.set_ylim(0, 1)
    axes.margins(x=0)
    axes.grid(visible=False)
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.set_ylabel("Share of the index")
    time_axis(axes)
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


def turnover_and_costs(
    times: TimeArray, turnover: FloatArray, cost: FloatArray, name: str, subtitle: str = ""
) -> Figure:
    """One-way turnover of each trading bar, and the share of the value that costs have taken.

    Args:
        times: T trading bars.
        turnover: T fractions of the value, the first purchase 1.
        cost: T fractions of the value.
        name: Name of the index.
        subtitle: Market, interval and span.
    """
    title = f"{name}: turnover and costs of each rebalance"
    figure = new_figure(8, 4.8, title, subtitle)
    above, below = (
        styled(axes) for axes in figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    )
    place = np.asarray(date2num(times), dtype=np.float64)  # type: ignore[no-untyped-call]  # matplotlib gives it no types
    width = 0.6 * float(np.diff(place).min(initial=30.0))
    bars = above.bar(place, turnover, width=width, color=BLUE)
    if times.size <= 26:
        above.bar_label(bars, fmt=lambda share: f"{share:.0%}", padding=2, fontsize=8, color=INK)
    above.set_ylim(0, 1.12 * float(turnover.max(initial=0.01)))
    above.yaxis.set_major_formatter(FuncFormatter(percent))
    above.set_ylabel("One-way turnover")
    taken = 1 - np.cumprod(1 - cost)
    below.step(place, taken, where="post", color=VERMILLION, marker="o", markersize=3)
    below.set_ylim(0, 1.15 * float(taken.max(initial=0.0)) or 1.0)
    below.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.2%}"))
    below.set_ylabel("Costs so far")
    for axes in (above, below):
        axes.grid(visible=False, axis="x")
    time_axis(below)
    return figure


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
    for edge in np.arange(-0.5, dates.size) if dates.size <= 60 else ():
        axes.axvline(edge, color="white", linewidth=1)
    bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=30, pad=0.01)
    bar.set_label("Weight", color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(percent))
    bar.outline.set_visible(False)
    return figure


def _coloured(
    curves: Mapping[str, FloatArray],
) -> list[tuple[str, tuple[str, FloatArray]]]:
    """Curves with their colours, the first one last, so that it lies on top."""
    return list(zip(_CURVES, curves.items(), strict=False))[::-1]


def _legend_below(figure: Figure) -> None:
    """A legend that makes room for itself, the index first."""
    figure.legend(
        loc="outside lower center",
        ncols=3,
        frameon=False,
        labelcolor=INK,
        fontsize=9,
        columnspacing=1.4,
        reverse=True,
    )


def _date_columns(axes: Axes, dates: TimeArray) -> None:
    """Dates of a map's columns, as many as have room."""
    step = int(np.ceil(dates.size / 16))
    words = DateFormatter("%Y-%m-%d", tz=UTC)  # type: ignore[no-untyped-call]  # no types
    places = np.arange(0, dates.size, step)
    names = [words(float(date2num(dates[place]))) for place in places]  # type: ignore[no-untyped-call]  # no types
    axes.set_xticks(places, names, rotation=90, fontsize=7)
