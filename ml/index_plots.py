"""Figures of what a walk-forward index earned and what that cost.

Like those of `ml.plots`: each function returns a new figure, and `subtitle` should name the market,
the interval and the span in UTC. Times are numpy's `datetime64`, UTC, ascending; returns,
turnovers and costs are fractions (0.5 is drawn as 50 %).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from gold.returns import FloatArray, IntArray
from ml.plot_style import (
    BLUE,
    INK,
    MINUS,
    MUTED,
    ORANGE,
    VERMILLION,
    VIK,
    TimeArray,
    new_figure,
    one_plot,
    percent,
    styled,
    time_axis,
)

_CURVES: Final = (BLUE, ORANGE, VERMILLION)
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
# Levels within this factor of each other would get few ticks at 1, 2 and 5 times powers of ten.
_DECADE: Final = 10.0


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
    if highest / lowest < _DECADE:
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylabel("Level, 1,000 at the start")
    time_axis(axes, times)
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
    time_axis(axes, times)
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
    # matplotlib gives its dates no types
    place = np.asarray(date2num(times), dtype=np.float64)  # type: ignore[no-untyped-call]
    # The usual distance: a member's sale may lie a bar from a rebalance.
    apart = float(np.median(np.diff(place))) if place.size > 1 else 30.0
    width = 0.6 * apart
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
    time_axis(below, times)
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
