"""The house style of every figure: colours, heads, axes and number formats.

Colours are those of Okabe and Ito (2008) and of Tol (2021) for categories and Crameri's vik (2018)
for signed values; all can be told apart with colour-blind eyes.
"""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num, num2date
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from gold.returns import FloatArray

Numbers = Sequence[float] | FloatArray

TimeArray = npt.NDArray[np.datetime64]
"""Instants in UTC, ascending."""

INK = "#1f2933"
MUTED = "#5f6b76"
RULE = "#dfe4e8"
BLUE = "#0072B2"
ORANGE = "#E69F00"
VERMILLION = "#D55E00"
MISSING = "#c8c8c8"
MARKETS = {"spot": "Spot", "um": "USDT-margined perpetual futures"}
"""Markets as heads name them."""

MINUS = "\N{MINUS SIGN}"

# First the five of Okabe and Ito and of Tol that are furthest apart: any two of them by at least 45
# in CIE L*a*b*, and by 30 for eyes that lack one kind of cones.
CATEGORIES = ("#332288", ORANGE, "#56B4E9", "#AA3377", "#117733", VERMILLION, "#F0E442")

# Ten steps of vik at their places, and its pale middle at 0: equal differences look equally far
# apart (CIE L*a*b*), and both signs darken away from 0.
_VIK = (
    *((0 / 9, "#001261"), (1 / 9, "#033E7D"), (2 / 9, "#1E6F9D"), (3 / 9, "#71A8C4")),
    *((4 / 9, "#C9DDE7"), (1 / 2, "#ECE5E0"), (5 / 9, "#EACEBD")),
    *((6 / 9, "#D39774"), (7 / 9, "#BE6533"), (8 / 9, "#8B2706"), (9 / 9, "#590008")),
)
VIK = LinearSegmentedColormap.from_list("vik", _VIK, N=101).with_extremes(bad=MISSING)


def new_figure(width: float, height: float, title: str, subtitle: str) -> Figure:
    """A figure without axes, of a size in inches: title and subtitle flush left."""
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    # Heads have a strip of their own, in inches, so that no layout can push them off the page.
    strip = 0.62 if subtitle else 0.4
    figure.set_layout_engine("compressed", rect=(0, 0, 1, 1 - strip / height))
    left, line = 0.1 / width, 1 / height
    head: dict[str, Any] = {"ha": "left", "va": "top", "in_layout": False, "parse_math": False}
    figure.text(left, 1 - 0.08 * line, title, fontsize=12, fontweight="bold", color=INK, **head)
    figure.text(left, 1 - 0.34 * line, subtitle, fontsize=9, color=MUTED, **head)
    return figure


def one_plot(width: float, height: float, title: str, subtitle: str) -> tuple[Figure, Axes]:
    """A figure with one pair of axes."""
    figure = new_figure(width, height, title, subtitle)
    return figure, styled(figure.add_subplot())


def styled(axes: Axes) -> Axes:
    """The axes with no box and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.grid(visible=True, color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    return axes


def time_axis(axes: Axes, times: TimeArray) -> None:
    """Dates in UTC along the bottom, in as few words as tell them apart.

    Args:
        axes: Axes whose x are times.
        times: The instants drawn, if any. No tick stands before the first or after the last: a
            margin that reaches into the next month would name a month without data.
    """
    axes.set_xlabel("UTC")
    if not times.size:
        axes.set_xticks([])
        return
    # matplotlib gives its dates no types
    locator = AutoDateLocator(tz=UTC, minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    words = ConciseDateFormatter(locator, tz=UTC)  # type: ignore[no-untyped-call]
    ticks = place = date2num(times)  # type: ignore[no-untyped-call]
    if times.size > 1:
        span = num2date(place[[0, -1]], tz=UTC)  # type: ignore[no-untyped-call]
        ticks = np.asarray(locator.tick_values(*span))  # type: ignore[no-untyped-call]
        ticks = ticks[(ticks >= place[0]) & (ticks <= place[-1])]
    axes.xaxis.set_major_locator(FixedLocator(ticks.tolist()))
    axes.xaxis.set_major_formatter(words)


def percent(value: float, _: int | None = None) -> str:
    """A fraction as a tick: whole per cents, a true minus sign."""
    return f"{value:,.0%}".replace("-", MINUS)


def point_label(
    axes: Axes, text: str, at: tuple[object, float], colour: str, *, below: bool = False
) -> None:
    """Write a value above its point, or below it."""
    axes.annotate(
        text,
        at,
        xytext=(0, -9 if below else 6),
        textcoords="offset points",
        ha="center",
        va="top" if below else "bottom",
        fontsize=8,
        color=colour,
    )
