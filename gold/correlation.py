"""Pearson correlation of all pairs of symbols: equal returns give equal bits on every machine.

A plain matrix product would not: BLAS orders its sums by the matrix's shape and by the processor,
so a pair's last bits would change with the symbols beside it.
"""

import numpy as np

from gold.returns import FloatArray


def correlation_matrix(matrix: FloatArray) -> FloatArray:
    """Pearson correlation of the columns of a matrix of returns.

    Args:
        matrix: T bars x N symbols of log returns, all finite (a missing return is 0).

    Returns:
        (N, N), exactly symmetric, within [-1, 1], 1 on the diagonal. Row and column of a symbol
        whose returns are all equal are NaN: without variance there is no correlation. With fewer
        than two bars all is NaN.
    """
    by_symbol = np.ascontiguousarray(matrix.T)
    result: FloatArray = np.full((by_symbol.shape[0],) * 2, np.nan)
    if not by_symbol.size:
        return result
    # Compared, not computed: the variance of equal values can leave a rounding residue.
    varying = np.flatnonzero(by_symbol.min(axis=1) < by_symbol.max(axis=1))
    rho: FloatArray = np.clip(_gram(_unit_vectors(by_symbol[varying])), -1.0, 1.0)
    np.fill_diagonal(rho, 1.0)
    result[np.ix_(varying, varying)] = rho
    return result


def _unit_vectors(rows: FloatArray) -> FloatArray:
    """Each row less its mean, scaled to length 1."""
    deviation: FloatArray = rows - rows.mean(axis=1, keepdims=True)
    # Scaled by the largest first, so that the squares of tiny deviations do not vanish.
    deviation /= np.abs(deviation).max(axis=1, keepdims=True)
    deviation /= np.sqrt((deviation * deviation).sum(axis=1, keepdims=True))
    return deviation


def _gram(unit: FloatArray) -> FloatArray:
    """All inner products of rows of length 1, by products of integers that doubles hold exactly.

    Each value is split into a coarse integer, in steps of 2^-26, and a fine one for the rest.
    By Cauchy-Schwarz every partial sum of their products stays below 2^53, so no sum rounds and
    no order of summation matters. Method: Ozaki, Ogita, Oishi and Rump, "Error-free
    transformations of matrix multiplication", Numerical Algorithms 59 (2012).
    """
    bars = unit.shape[1]
    coarse_scale = 2.0**26
    # The rest is at most 2^-27, so a fine row is no longer than 2^26 for any number of bars.
    fine_scale = 2.0 ** (53 - np.ceil(np.log2(bars) / 2))
    coarse = np.rint(unit * coarse_scale)
    fine = np.rint((unit - coarse / coarse_scale) * fine_scale)
    mixed = coarse @ fine.T
    return np.asarray(
        (coarse @ coarse.T) / coarse_scale**2
        + (mixed + mixed.T) / (coarse_scale * fine_scale)
        + (fine @ fine.T) / fine_scale**2
    )
