"""How much of later returns the principal components of earlier ones explain.

Plain numpy. Components always explain most of the bars that they were fitted to; what they are
worth shows on bars that they have not seen.
"""

import numpy as np

from gold.returns import FloatArray

FITTED_SHARE = 0.8
"""Share of the bars, the first ones, that the components are fitted to."""


def held_out_variance(matrix: FloatArray, components: int, *, standardise: bool = False) -> float:
    """Share of the last bars' variance along the components of the first bars.

    Args:
        matrix: Log returns in time order, without NaN, shape (bars, symbols).
        components: How many components.
        standardise: Divide each symbol's returns by their standard deviation in the first bars; one
            that does not move in them is left out.

    Returns:
        A fraction of the variance around the first bars' mean; NaN when the last bars have none.
    """
    fitted = int(matrix.shape[0] * FITTED_SHARE)
    if standardise:
        deviation = matrix[:fitted].std(axis=0, ddof=1)
        matrix = matrix[:, deviation > 0] / deviation[deviation > 0]
    first, last = matrix[:fitted], matrix[fitted:]
    centre = first.mean(axis=0)
    vectors = np.linalg.eigh(np.cov(first, rowvar=False).reshape(matrix.shape[1], -1)).eigenvectors
    deviation = last - centre
    total = float(np.sum(deviation**2))
    along = float(np.sum((deviation @ vectors[:, -components:]) ** 2))
    return along / total if total > 0 else float("nan")
