"""Figures of principal components: their loadings, and how much of a market they explain over time.

Like those of `ml.plots`: each function returns a new figure, and `subtitle` should name the market
and the interval. Shares are fractions (0.5 is drawn as 50 %).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from gold.returns import FloatArray
from ml.plot_style import BLUE, INK, MUTED, ORANGE, VIK, TimeArray, one_plot, percent, time_axis

MOST_SYMBOLS: Final = 30
_FEW_COMPONENTS: Final = 3


def loadings_heatmap(
    symbols: Sequence[str], loadings: FloatArray, explained: FloatArray, subtitle: str = ""
) -> Figure:
    """Loadings of the symbols that the components are made of most.

    Args:
        symbols: N names.
        loadings: (k, N) unit vectors.
        explained: (k,) shares of the total variance.
        subtitle: Market and interval.
    """
    # A symbol's share of the variance that the components explain.
    share = explained @ loadings**2
    most = np.argsort(-share, kind="stable")[:MOST_SYMBOLS]
    most = most[np.argsort(-loadings[0, most], kind="stable")]
    shown = loadings[:, most].T
    height = 2.2 + 0.2 * len(most)
    title = "Loadings of the principal components"
    figure, axes = one_plot(7.2, height, title, subtitle)
    limit = float(np.abs(shown).max())
    image = axes.imshow(shown, cmap=VIK, vmin=-limit, vmax=limit, aspect="auto")
    columns = [f"{place}\n{percent(each)}" for place, each in enumerate(explained, start=1)]
    axes.set_xticks(range(len(explained)), columns)
    axes.set_yticks(range(len(most)), [symbols[i] for i in most], fontsize=8, parse_math=False)
    axes.set_xlabel("Component, and its share of the variance")
    few = "" if len(most) == len(symbols) else f"the {len(most)} of {len(symbols)} that weigh most"
    axes.set_ylabel(f"Symbols: {few}" if few else "Symbols")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=30, pad=0.01)
    bar.set_label("Loading", color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.outline.set_visible(False)
    return figure


def market_integration(times: TimeArray, explained: FloatArray, subtitle: str = "") -> Figure:
    """Share of each window's variance that the first components of standardised returns explain.

    Args:
        times: W ends of the windows, UTC, ascending.
        explained: (W, k) shares of the components.
        subtitle: Market, interval and length of a window.
    """
    title = "How much the market moved as one: variance explained in trailing windows"
    figure, axes = one_plot(8, 4.2, title, subtitle)
    cumulated = np.cumsum(explained, axis=1)
    parts = {1: ("first component", BLUE)}
    if explained.shape[1] > _FEW_COMPONENTS:
        parts[_FEW_COMPONENTS] = (f"first {_FEW_COMPONENTS}", ORANGE)
    if explained.shape[1] > 1:
        parts[explained.shape[1]] = (f"first {explained.shape[1]}", MUTED)
    for count, (label, colour) in parts.items():
        share = cumulated[:, count - 1]
        width = 1.9 if count == 1 else 1.2
        axes.plot(
            times, share, color=colour, marker="o", markersize=4, linewidth=width, label=label
        )
    for time, share in zip(times, cumulated[:, 0].tolist(), strict=True):
        axes.annotate(
            percent(share),
            (time, share),
            xytext=(0, -7),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8,
            color=BLUE,
        )
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.set_ylabel("Share of the variance")
    time_axis(axes, times)
    axes.set_xlabel("End of the window, UTC")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, labelcolor=INK, fontsize=9)
    return figure
