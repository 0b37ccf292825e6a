"""How much of later returns the principal components of earlier ones explain.

Plain numpy and Arrow. Components always explain most of the bars that they were fitted to; what
they are worth shows on bars that they have not seen.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gold.panel import returns_panel
from gold.returns import FloatArray
from ml.principal_components import covered_symbols, principal_components

FITTED_SHARE = 0.8
"""Share of the bars, the first ones, that the components are fitted to."""


def held_out_variance(
    candles: pa.Table, *, components: int, min_coverage: float, standardise: bool
) -> float:
    """Share of the last bars' variance along the components of the first bars.

    Over the symbols that have enough of the first bars: one listed after them loads on nothing,
    and would tell how many coins are new and not what the components are worth.

    Args:
        candles: `PANEL_COLUMNS` of one market, in any order of rows, none NULL.
        components: k.
        min_coverage: Least share of the first bars that a symbol must have, filled ones included.
        standardise: See `explained_later`.

    Returns:
        A fraction; NaN with fewer than k such symbols, or as `explained_later` says.
    """
    times = returns_panel(candles).times
    first = times[: int(times.size * FITTED_SHARE)]
    known = candles.filter(pc.is_in(candles["open_us"], pa.array(first)))
    covered = covered_symbols(known, min_coverage * first.size)
    if len(covered) < components:
        return float("nan")
    panel = returns_panel(candles.filter(pc.is_in(candles["symbol"], covered)))
    fitted = panel.times <= first[-1]
    return explained_later(
        panel.matrix[fitted], panel.matrix[~fitted], components, standardise=standardise
    )


def explained_later(
    first: FloatArray, last: FloatArray, components: int, *, standardise: bool
) -> float:
    """Share of the last bars' variance along the components of the first bars.

    Args:
        first: Log returns that the components are fitted to, without NaN, shape (bars, symbols).
        last: Log returns that they are judged by, without NaN, shape (bars, symbols).
        components: How many components.
        standardise: Divide each symbol's returns by their standard deviation in the first bars; one
            that does not move in them is left out.

    Returns:
        A fraction of the variance around the first bars' mean; NaN when the last bars have none,
        or nothing moves in the first.
    """
    if len(first) < 2:
        return float("nan")
    if standardise:
        moving = first.min(axis=0) < first.max(axis=0)
        scale = first[:, moving].std(axis=0, ddof=1)
        first, last = first[:, moving] / scale, last[:, moving] / scale
    found = principal_components(first, components, standardise=False) if first.size else None
    deviation = last - first.mean(axis=0)
    total = float(np.sum(deviation**2))
    if found is None or total == 0:
        return float("nan")
    return float(np.sum((deviation @ found.loadings.T) ** 2)) / total
