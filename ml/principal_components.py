"""Principal components of the returns of one window, by the eigenvectors of their covariance.

Plain numpy and Arrow. A window knows its own candles alone, so no later one changes its components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gold.panel import returns_panel
from gold.returns import FloatArray


@dataclass(frozen=True)
class PrincipalComponents:
    """The first components of a matrix of returns.

    Attributes:
        explained: (k,) shares of the total variance, descending.
        loadings: (k, N) unit vectors, oriented as `oriented` says.
    """

    explained: FloatArray
    loadings: FloatArray


@dataclass(frozen=True)
class WindowComponents:
    """The components of one trailing window.

    Attributes:
        as_of: Exclusive end of what was known, UTC microseconds.
        symbols: N symbols that the window covers, ascending.
        bars: Bars of the window at which any of them has a return.
        found: Their components; None for a window that was passed over.
        integration: (k,) shares of the components of their standardised returns: how much the
            market moved as one, whatever the volatile of its symbols did; none when passed over.
        skipped: Why it was passed over, empty for one that was not.
    """

    as_of: int
    symbols: tuple[str, ...]
    bars: int
    found: PrincipalComponents | None
    integration: FloatArray
    skipped: str


def principal_components(
    matrix: FloatArray, components: int, *, standardise: bool
) -> PrincipalComponents | None:
    """Eigenvectors of the covariance, or the correlation, of the columns.

    Args:
        matrix: T >= 2 bars x N symbols of log returns, all finite (a missing return is 0).
        components: k <= N.
        standardise: Divide each column by its standard deviation first, so that a volatile symbol
            counts no more than a quiet one. A column that never changes stays 0.

    Returns:
        None when no column ever changes: there is no variance to explain.

    Source: I. T. Jolliffe, Principal Component Analysis, 2002, chapters 2 and 3.
    """
    varying = matrix.min(axis=0) < matrix.max(axis=0)
    if not varying.any():
        return None
    # What never changes is exactly 0: its mean may leave a residue.
    centred = np.where(varying, matrix - matrix.mean(axis=0), 0.0)
    if standardise:
        centred /= np.where(varying, centred.std(axis=0, ddof=1), 1.0)
    values, vectors = np.linalg.eigh(centred.T @ centred / (len(matrix) - 1))
    largest = np.clip(values[::-1], 0.0, None)  # rounding may carry a zero below 0
    explained = largest[:components] / largest.sum()
    return PrincipalComponents(explained, oriented(vectors[:, ::-1].T[:components]))


def oriented(loadings: FloatArray) -> FloatArray:
    """Components with signs that can be compared: the loadings of each sum to 0 or more.

    The sign of an eigenvector is arbitrary. With this one the component in which all symbols move
    together goes up when they do.

    Args:
        loadings: (k, N).
    """
    return np.where(loadings.sum(axis=1, keepdims=True) < 0, -loadings, loadings)


def covered_symbols(candles: pa.Table, bars: float) -> pa.Array:
    """Symbols with at least so many candles, filled ones included, in no order."""
    counts = pc.value_counts(candles["symbol"])
    return counts.field("values").filter(pc.greater_equal(counts.field("counts"), bars))


def window_components(
    as_of: int,
    candles: pa.Table,
    *,
    window_bars: int,
    min_coverage: float,
    components: int,
    standardise: bool,
) -> WindowComponents:
    """The components of one window, over the symbols that have enough of its candles.

    A symbol listed within the window would hold zeros for most of it, and look as if it moved with
    nobody.

    Args:
        as_of: End of the window, UTC microseconds.
        candles: `PANEL_COLUMNS` of the window, in any order of rows, none NULL.
        window_bars: Bars of the window on the grid.
        min_coverage: Least share of them that a symbol must have, filled ones included.
        components: Number of components.
        standardise: See `principal_components`.
    """
    covered = covered_symbols(candles, min_coverage * window_bars)
    panel = returns_panel(candles.filter(pc.is_in(candles["symbol"], covered)))
    symbols, bars = panel.symbols, len(panel.times)
    if len(symbols) < components or bars <= components:
        too_few = f"{len(symbols)} symbols over {bars} bars are too few for {components} components"
        return WindowComponents(as_of, symbols, bars, None, np.empty(0), too_few)
    found = principal_components(panel.matrix, components, standardise=standardise)
    alike = principal_components(panel.matrix, components, standardise=True)
    if found is None or alike is None:
        return WindowComponents(as_of, symbols, bars, None, np.empty(0), "no close ever changes")
    return WindowComponents(as_of, symbols, bars, found, alike.explained, "")
