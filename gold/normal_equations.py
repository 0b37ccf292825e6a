"""Many small symmetric systems at once: Cholesky factors, solutions and condition numbers.

The systems lie side by side: entry (i, j) of all T matrices is one vector of length T, and every
step is an elementwise operation on such vectors, sums of products included: they are added up one
product after the other. IEEE arithmetic rounds these exactly, so a solution does not depend on how
many systems or right-hand sides are solved with it. Batched BLAS and LAPACK calls promise no such
thing.

The factors are those without roots, `A = L D L'` with ones on the diagonal of L (Golub and Van
Loan, "Matrix Computations", 4.1.2). L is kept with its sign changed: its products are added.

A symmetric matrix is packed: its lower triangle by columns, (0, 0), (1, 0) … (1, 1), (2, 1) …
"""

from typing import Final

import numpy as np

from gold.compiled import compiled
from gold.returns import FloatArray

# Systems that are worked on at a time: their factors stay in the cache.
_LANES: Final = 64


@compiled("void(float64[:, ::1], float64, float64[::1])")
def factorise(matrices: FloatArray, ridge: float, condition: FloatArray) -> None:
    """Factors `L D L'` and condition numbers of T positive definite matrices `X'X + ridge I`.

    In the Frobenius norm the condition number of X, the penalty being rows of it, with columns of
    length 1 is the root of k times the sum of the k variance inflation factors, which are the
    diagonal of the inverse of the scaled matrix. The scaling takes out the units of the columns,
    to which a Cholesky solution is indifferent: what remains is how nearly they are collinear
    (Belsley, Kuh and Welsch, "Regression Diagnostics", 1980).

    Args:
        matrices: (k * (k + 1) / 2, T) packed X'X; become the factors: L with its sign changed, and
            in the place of its ones the reciprocals of D. All NaN from the first pivot that is
            not positive.
        ridge: Penalty.
        condition: (T,), filled with numbers of at least k, where k says that the columns are
            orthogonal.
    """
    systems = condition.size
    size = int((np.sqrt(8 * len(matrices) + 1) - 1) / 2)
    # Of these systems, entry (i, j) of L times its pivot at [i, j], its negative at [j, i].
    own, inverse = np.zeros((size, size, _LANES)), np.zeros((size, size, _LANES))
    sums, inflation = np.empty(_LANES), np.empty(_LANES)
    for start in range(0, systems, _LANES):
        lanes = min(_LANES, systems - start)
        entry = 0
        for j in range(size):
            for i in range(j, size):
                for t in range(lanes):
                    own[i, j, t] = matrices[entry, start + t]
                if i == j:
                    for t in range(_LANES):
                        own[j, j, t] += ridge
                        inverse[j, j, t] = np.sqrt(own[j, j, t])
                for p in range(j):
                    for t in range(_LANES):
                        own[i, j, t] += own[p, i, t] * own[j, p, t]
                for t in range(_LANES):
                    if i == j:
                        own[j, j, t] = 1.0 / own[j, j, t] if own[j, j, t] > 0 else np.nan
                    else:
                        own[j, i, t] = -own[i, j, t] * own[j, j, t]
                for t in range(lanes):
                    matrices[entry, start + t] = own[j, i, t]
                entry += 1
        for t in range(_LANES):
            inflation[t] = 0.0
        # Row by row of the inverse of L, its columns scaled as the design's.
        for i in range(size):
            for t in range(_LANES):
                sums[t] = inverse[i, i, t] * inverse[i, i, t]
            for j in range(i):
                for t in range(_LANES):
                    inverse[i, j, t] = 0.0
                for p in range(j, i):
                    for t in range(_LANES):
                        inverse[i, j, t] += own[p, i, t] * inverse[p, j, t]
                for t in range(_LANES):
                    sums[t] += inverse[i, j, t] * inverse[i, j, t]
            for t in range(_LANES):
                inflation[t] += sums[t] * own[i, i, t]
        for t in range(lanes):
            condition[start + t] = np.sqrt(size * inflation[t])


@compiled("void(float64[:, ::1], float64, float64[:, :, ::1], float64[:, ::1])")
def solve(factors: FloatArray, ridge: float, right: FloatArray, explained: FloatArray) -> None:
    """Solve `(X'X + ridge I) b = X'y` in place.

    Args:
        factors: (k * (k + 1) / 2, T) as `factorise` makes them.
        ridge: Penalty.
        right: (k, n, T) X'y of n series for each matrix; becomes b.
        explained: (n, T), filled with y'y less the residual sum of squares, as a sum of squares:
            with A = X'X + ridge I, 2 b'X'y - b'X'X b = (X'y)' A^-1 X'y + ridge b'b.
    """
    size, sides, systems = right.shape
    own, b, sums = np.zeros((size, size, _LANES)), np.zeros((size, _LANES)), np.empty(_LANES)
    for start in range(0, systems, _LANES):
        lanes = min(_LANES, systems - start)
        entry = 0
        for j in range(size):
            for i in range(j, size):
                for t in range(lanes):
                    own[j, i, t] = factors[entry, start + t]
                entry += 1
        for side in range(sides):
            for i in range(size):
                for t in range(lanes):
                    b[i, t] = right[i, side, start + t]
                for p in range(i):
                    for t in range(_LANES):
                        b[i, t] += own[p, i, t] * b[p, t]
            for t in range(_LANES):
                sums[t] = 0.0
            for i in range(size - 1, -1, -1):
                for t in range(_LANES):
                    scaled = b[i, t] * own[i, i, t]
                    sums[t] += b[i, t] * scaled
                    b[i, t] = scaled
                for p in range(i + 1, size):
                    for t in range(_LANES):
                        b[i, t] += own[i, p, t] * b[p, t]
                for t in range(_LANES):
                    sums[t] += ridge * b[i, t] * b[i, t]
                for t in range(lanes):
                    right[i, side, start + t] = b[i, t]
            for t in range(lanes):
                explained[side, start + t] = sums[t]
