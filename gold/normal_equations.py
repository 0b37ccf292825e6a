"""Many small symmetric systems at once: Cholesky factors, solutions and condition numbers.

The systems lie side by side: entry (i, j) of all T matrices is one vector of length T, and every
step is an elementwise operation on such vectors. IEEE arithmetic rounds these exactly, so a
solution does not depend on how many systems or right-hand sides are solved with it. Batched BLAS
and LAPACK calls promise no such thing.
"""

import numpy as np

from gold.returns import FloatArray


def cholesky(matrices: FloatArray) -> None:
    """Turn T symmetric positive definite matrices into their Cholesky factors, in place.

    Args:
        matrices: (k, k, T); the entries [j, i] with i >= j are read, and become the lower
            triangles by columns: [j, i] is entry (i, j) of the factor for i > j, and [j, j] the
            reciprocal of its diagonal. All NaN from the first pivot that is not positive.
    """
    scratch = np.empty_like(matrices[0])
    for j in range(len(matrices)):
        column = matrices[j, j:]
        for p in range(j):
            product = np.multiply(matrices[p, j:], matrices[p, j], out=scratch[j:])
            column -= product
        with np.errstate(invalid="ignore", divide="ignore"):
            np.divide(1.0, np.sqrt(column[0]), out=column[0])
        column[0][np.isinf(column[0])] = np.nan
        column[1:] *= column[0]


def forward(factor: FloatArray, right: FloatArray) -> None:
    """Solve `L z = right` in place.

    Args:
        factor: (k, k, T) as `cholesky` gives it.
        right: (k, n, T) right-hand sides, n for each matrix; becomes z.
    """
    scratch = np.empty_like(right)
    for p in range(len(factor)):
        right[p] *= factor[p, p]
        right[p + 1 :] -= np.multiply(factor[p, p + 1 :, None], right[p], out=scratch[p + 1 :])


def backward(factor: FloatArray, right: FloatArray) -> None:
    """Solve `L' b = right` in place; arguments as for `forward`."""
    scratch = np.empty_like(right)
    for p in reversed(range(len(factor))):
        right[p] *= factor[p, p]
        right[:p] -= np.multiply(factor[:p, p, None], right[p], out=scratch[:p])


def condition_numbers(factor: FloatArray, diagonal: FloatArray) -> FloatArray:
    """Condition numbers of T matrices' square roots, their columns scaled to unit length.

    A matrix is X'X for some X, the penalty being rows of X. In the Frobenius norm the condition
    number of X with columns of length 1 is the root of k times the sum of the k variance inflation
    factors, which are the diagonal of the inverse of the scaled matrix. The scaling takes out the
    units of the columns, to which a Cholesky solution is indifferent: what remains is how nearly
    they are collinear (Belsley, Kuh and Welsch, "Regression Diagnostics", 1980).

    Args:
        factor: (k, k, T) as `cholesky` gives it.
        diagonal: (k, T) diagonals of the matrices.

    Returns:
        (T,) numbers of at least k, where k says that the columns are orthogonal.
    """
    size = len(factor)
    inflation = np.zeros_like(diagonal[0])
    inverse, scratch = np.empty_like(diagonal), np.empty_like(diagonal)
    for j in range(size):
        # Column j of the factor's inverse, by substitution.
        column = inverse[j:]
        column[0] = factor[j, j]
        np.multiply(factor[j, j + 1 :], factor[j, j], out=column[1:])
        for p in range(j + 1, size):
            row = inverse[p]
            row *= factor[p, p]
            np.negative(row, out=row)
            product = np.multiply(factor[p, p + 1 :], row, out=scratch[p + 1 :])
            inverse[p + 1 :] += product
        column *= column
        inflation += column.sum(axis=0) * diagonal[j]
    return np.asarray(np.sqrt(size * inflation))
