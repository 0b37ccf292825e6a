"""Figures of the factor model: exposures, fit, factor returns, their correlations, and risk.

Like those of `ml.plots`: each function returns a new figure, and `subtitle` should name the market,
the interval and the span in UTC. Times are numpy's `datetime64`, UTC, ascending; variances are
drawn as shares of a portfolio's whole.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gold.factor_names import BUCKETS, CHARACTERISTICS, MARKET_RETURN
from gold.returns import FloatArray
from ml.plot_style import (
    BLUE,
    CATEGORIES,
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

_SORT_COLOURS: Final = {
    **dict(zip(BUCKETS, (BLUE, ORANGE, VERMILLION), strict=True)),
    "high_minus_low": BLUE,
}

# An exposure beyond it takes the deepest colour: nearly collinear factors can bring any.
_SCALE_QUANTILE = 0.98

MOST_HOLDINGS = 20
"""Holdings that the decomposition draws each; the rest is drawn as one."""


def title_of(factor: str) -> str:
    """A factor's name for people: `market`, `liquidity low`."""
    return "market" if factor == MARKET_RETURN else factor.replace("_", " ")


def exposures_over_time(
    times: TimeArray,
    factors: Sequence[str],
    exposures: Mapping[str, FloatArray],
    title: str,
    subtitle: str = "",
) -> Figure:
    """Exposures as colours, a strip for each coin or portfolio, a line of it for each factor.

    All strips share one scale, from the largest exposures drawn down to their negative.

    Args:
        times: T instants, evenly spaced.
        factors: K names.
        exposures: Name -> (T, K) exposures; NaN, where there is none, is drawn grey.
        title: Title.
        subtitle: Market, interval and span.
    """
    height = 0.19 * len(factors) + 0.35
    figure = new_figure(8, 1.4 + height * len(exposures), title, subtitle)
    strips = figure.subplots(len(exposures), 1, sharex=True, squeeze=False)[:, 0]
    every = np.abs(np.concatenate([betas.ravel() for betas in exposures.values()]))
    every = every[np.isfinite(every)]
    # Small exposures are told apart too; all of them 0, or none, have one colour on any scale.
    most = (float(np.quantile(every, _SCALE_QUANTILE)) if every.size else 0.0) or 1.0
    # matplotlib gives its dates no types
    start, end = np.asarray(date2num(times[[0, -1]]), dtype=np.float64)  # type: ignore[no-untyped-call]
    half = max((end - start) / max(times.size - 1, 1) / 2, 1e-3)
    for axes, (name, betas) in zip(strips, exposures.items(), strict=True):
        image = styled(axes).imshow(
            betas.T,
            cmap=VIK,
            vmin=-most,
            vmax=most,
            aspect="auto",
            interpolation="nearest",
            extent=(start - half, end + half, len(factors) - 0.5, -0.5),
        )
        axes.set_yticks(range(len(factors)), [title_of(factor) for factor in factors], fontsize=7)
        axes.set_title(name, loc="left", fontsize=9, color=INK, fontweight="bold", parse_math=False)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    time_axis(strips[-1], times)
    bar = figure.colorbar(image, ax=strips.tolist(), aspect=30, pad=0.01, extend="both")
    bar.set_label("Exposure", color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.outline.set_visible(False)
    return figure


def explained_over_time(
    times: TimeArray, r2: Mapping[str, FloatArray], subtitle: str = ""
) -> Figure:
    """Share of each coin's variance that the factors explain, window by window.

    Args:
        times: T instants.
        r2: Coin -> T shares; NaN where there is none.
        subtitle: Market, interval and span.
    """
    title = "Share of the variance that the factors explain (R\N{SUPERSCRIPT TWO})"
    figure, axes = one_plot(8, 3.8, title, subtitle)
    for place, (name, share) in enumerate(r2.items()):
        colour = CATEGORIES[place % len(CATEGORIES)]
        axes.plot(times, share, color=colour, linewidth=1.3, label=_plain(name))
    axes.set_ylim(top=1)
    axes.yaxis.set_major_formatter(FuncFormatter(_tenths_of_percent))
    axes.set_ylabel("R\N{SUPERSCRIPT TWO}")
    time_axis(axes, times)
    _legend_below(figure, columns=5)
    return figure


def cumulative_returns(
    times: TimeArray, growth: Mapping[str, FloatArray], subtitle: str = ""
) -> Figure:
    """What the market and the buckets of each sort, or their spread, returned so far, compounded.

    Args:
        times: T instants.
        growth: Factor -> T returns since the start, as fractions; NaN where there is none yet.
        subtitle: Market, interval and span.
    """
    figure = new_figure(8, 6.4, "Cumulative factor returns, before any cost", subtitle)
    panels = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    drawn: dict[str, str] = {}
    for axes, sort in zip(panels, ("", *CHARACTERISTICS), strict=True):
        styled(axes).set_title(sort or "market", loc="left", fontsize=9, color=INK)
        market = growth[MARKET_RETURN]
        axes.plot(times, market, color=MUTED if sort else INK, linewidth=0.9 if sort else 1.4)
        for name, colour in _SORT_COLOURS.items() if sort else ():
            if (level := growth.get(f"{sort}_{name}")) is not None:
                axes.plot(times, level, color=colour, linewidth=1.3)
                drawn[name] = colour
        axes.yaxis.set_major_formatter(FuncFormatter(_tenths_of_percent))
    for axes in panels[2:]:
        time_axis(axes, times)
    for name, colour in drawn.items():
        panels[0].plot([], [], color=colour, linewidth=1.6, label=title_of(name))
    panels[0].plot([], [], color=MUTED, linewidth=1.6, label="market")
    _legend_below(figure, columns=4)
    return figure


def factor_correlations(factors: Sequence[str], matrix: FloatArray, subtitle: str = "") -> Figure:
    """Correlations of the factor returns, in the model's order, with their numbers.

    Args:
        factors: K names.
        matrix: (K, K), NaN of a factor that never moves.
        subtitle: Market, interval and span.
    """
    side = max(7.2, 3.2 + 0.4 * len(factors))  # the subtitle has its place beside few factors too
    figure, axes = one_plot(side, side - 0.7, "Correlation of the factor returns", subtitle)
    image = axes.imshow(matrix, cmap=VIK, vmin=-1, vmax=1, interpolation="nearest")
    names = [title_of(factor) for factor in factors]
    axes.set_xticks(range(len(names)), names, fontsize=8, rotation=90)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    for row, column in np.argwhere(np.isfinite(matrix)):
        value = np.round(matrix[row, column], 2) + 0.0  # no negative zero
        if row != column:
            ink = "white" if abs(value) > 0.5 else INK
            text = f"{value:.2f}".replace("-", MINUS)
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=ink)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, pad=0.01)
    bar.set_label("Pearson correlation", color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.outline.set_visible(False)
    return figure


def risk_decomposition(
    factors: Mapping[str, float],
    specific: float,
    holdings: Mapping[str, tuple[float, float]],
    name: str,
    subtitle: str = "",
) -> Figure:
    """A portfolio's variance by factor, and by holding.

    Args:
        factors: Factor -> its contribution.
        specific: All specific variance; with the factors' it sums to the whole.
        holdings: Holding -> its contribution to the factors' variance and its specific variance,
            the largest sum first.
        name: Name of the portfolio.
        subtitle: Market, interval and time.
    """
    whole = sum(factors.values()) + specific
    drawn = _with_the_rest(holdings)
    rows = max(len(factors) + 1, len(drawn))
    figure = new_figure(8, 1.7 + 0.24 * rows, f"{name}: where its variance comes from", subtitle)
    left, right = (styled(axes) for axes in figure.subplots(1, 2))
    labels = [*map(title_of, factors), "specific"]
    shares = np.array([*factors.values(), specific]) / whole
    colours = [*[BLUE] * len(factors), ORANGE]
    bars = left.barh(range(len(labels)), shares, color=colours, height=0.72)
    left.bar_label(bars, fmt=_tenths_of_percent, padding=3, fontsize=8, color=INK)
    _name_bars(left, labels, "By factor")
    by_factors, own = (np.array(part) / whole for part in zip(*drawn.values(), strict=True))
    places = range(len(drawn))
    right.barh(places, by_factors, color=BLUE, height=0.72, label="by factors")
    beyond = np.maximum(by_factors, 0.0)
    bars = right.barh(places, own, left=beyond, color=ORANGE, height=0.72, label="specific")
    totals = [_tenths_of_percent(float(each)) for each in by_factors + own]
    right.bar_label(bars, labels=totals, padding=3, fontsize=8, color=INK)
    _name_bars(right, [_plain(symbol) for symbol in drawn], "By holding")
    handles, words = right.get_legend_handles_labels()
    figure.legend(
        handles,
        words,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        labelcolor=INK,
        fontsize=9,
    )
    return figure


def _with_the_rest(holdings: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """The first holdings, and the sum of the others as one."""
    if len(holdings) <= MOST_HOLDINGS:
        return dict(holdings)
    kept = dict(list(holdings.items())[: MOST_HOLDINGS - 1])
    rest = np.array([parts for name, parts in holdings.items() if name not in kept]).sum(axis=0)
    return {**kept, f"{len(holdings) - len(kept)} others": (float(rest[0]), float(rest[1]))}


def _name_bars(axes: Axes, names: Sequence[str], title: str) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=9, color=INK)
    axes.set_xlabel("Share of the variance")
    axes.xaxis.set_major_formatter(FuncFormatter(percent))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.2, y=0.02)
    axes.axvline(0, color=MUTED, linewidth=0.8)


def _tenths_of_percent(value: float, _: int | None = None) -> str:
    return f"{np.round(value, 3) + 0.0:.1%}".replace("-", MINUS)


def _plain(text: str) -> str:
    """A text in which matplotlib finds no formula."""
    return text.replace("$", r"\$")


def _legend_below(figure: Figure, columns: int) -> None:
    figure.legend(
        loc="outside lower center", ncols=columns, frameon=False, labelcolor=INK, fontsize=9
    )
