"""Many small symmetric systems at once: Cholesky factors, solutions and condition numbers.

The systems lie side by side: entry (i, j) of all T matrices is one vector of length T, and every
step is an elementwise operation on such vectors, sums of products included: they are added up one
product after the other. IEEE arithmetic rounds these exactly, so a solution does not depend on how
many systems or right-hand sides are solved with it. Batched BLAS and LAPACK calls promise no such
thing. T is two or more: the products of a single system would be summed in another order.

A symmetric matrix is packed: its lower triangle by columns, (0, 0), (1, 0) … (1, 1), (2, 1) …
"""

from typing import Final

import numpy as np

from gold.returns import FloatArray

# Columns of an inverse that are made together; more would multiply more of its zeros.
_COLUMNS: Final = 4


def column_starts(size: int) -> list[int]:
    """Where each column of a packed matrix begins, at its diagonal, and the last one ends."""
    return [j * size - j * (j - 1) // 2 for j in range(size + 1)]


def cholesky(matrices: FloatArray, factor: FloatArray) -> None:
    """Cholesky factors of T symmetric positive definite matrices.

    Args:
        matrices: (k * (k + 1) / 2, T) packed matrices; T may be several axes.
        factor: (k, k, T), filled with the lower triangles by columns: [j, i] is entry (i, j) of
            the factor for i > j, and [j, j] the reciprocal of its diagonal; what is above the
            diagonal is not touched. All NaN from the first pivot that is not positive.
    """
    starts = column_starts(len(factor))
    sums = np.empty_like(factor[0])
    for j, column in enumerate(factor):
        entries, below = matrices[starts[j] : starts[j + 1]], column[j:]
        np.einsum("pi...,p...->i...", factor[:j, j:], factor[:j, j], out=sums[j:])
        np.subtract(entries, sums[j:], out=below)
        with np.errstate(invalid="ignore", divide="ignore"):
            np.divide(1.0, np.sqrt(below[0]), out=below[0])
        below[0][np.isinf(below[0])] = np.nan
        below[1:] *= below[0]


def forward(factor: FloatArray, right: FloatArray) -> None:
    """Solve `L z = right` in place.

    Args:
        factor: (k, k, T) as `cholesky` gives it.
        right: (k, n, T) right-hand sides, n for each matrix; becomes z.
    """
    sums = np.empty_like(right[0])
    for i, row in enumerate(right):
        np.einsum("pt,pnt->nt", factor[:i, i], right[:i], out=sums)
        row -= sums
        row *= factor[i, i]


def backward(factor: FloatArray, right: FloatArray) -> None:
    """Solve `L' b = right` in place; arguments as for `forward`."""
    sums = np.empty_like(right[0])
    for i in reversed(range(len(right))):
        np.einsum("pt,pnt->nt", factor[i, i + 1 :], right[i + 1 :], out=sums)
        right[i] -= sums
        right[i] *= factor[i, i]


def condition_numbers(factor: FloatArray, diagonal: FloatArray, inverse: FloatArray) -> FloatArray:
    """Condition numbers of T matrices' square roots, their columns scaled to unit length.

    A matrix is X'X for some X, the penalty being rows of X. In the Frobenius norm the condition
    number of X with columns of length 1 is the root of k times the sum of the k variance inflation
    factors, which are the diagonal of the inverse of the scaled matrix. The scaling takes out the
    units of the columns, to which a Cholesky solution is indifferent: what remains is how nearly
    they are collinear (Belsley, Kuh and Welsch, "Regression Diagnostics", 1980).

    Args:
        factor: (k, k, T) as `cholesky` gives it.
        diagonal: (k, T) diagonals of the matrices.
        inverse: (k, k, T), overwritten.

    Returns:
        (T,) numbers of at least k, where k says that the columns are orthogonal.
    """
    size = len(factor)
    lengths = np.sqrt(diagonal)
    inflation, squares = np.zeros_like(diagonal[0]), np.empty_like(diagonal[0])
    # Row by row of the factor's inverse, scaled as the columns are.
    for i, row in enumerate(inverse):
        for first in range(0, i, _COLUMNS):
            of = slice(first, min(first + _COLUMNS, i))
            np.einsum("pt,pjt->jt", factor[first:i, i], inverse[first:i, of], out=row[of])
        row[:i] *= -factor[i, i]
        np.multiply(factor[i, i], lengths[i], out=row[i])
        row[i + 1 : i - i % _COLUMNS + _COLUMNS] = 0
        inflation += np.einsum("jt,jt->t", row[: i + 1], row[: i + 1], out=squares)
    return np.asarray(np.sqrt(size * inflation))
