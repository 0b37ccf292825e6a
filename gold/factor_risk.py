"""Risk of a portfolio by the factor model: where its variance comes from, and what a move costs.

A coin's return is `b'f + e`: its exposures times the factor returns, and a specific return that is
unrelated to the factors and to the other coins. So the covariance of the coins is
`S = B F B' + D`, with F the covariance of the factors and D the specific variances, and a portfolio
of weights w has the exposures `b = B'w` and the variance `w'Sw = b'Fb + sum of w_i^2 D_ii`.

Contributions are Euler's: `b_k (F b)_k` of a factor, `w_i (S w)_i` of a holding. Each set sums to
what it splits; one may be negative, of what hedges the rest. Sums run in the order of the symbols
and without BLAS, so that equal input gives equal bits; only `conditional_moves` inverts a matrix by
LAPACK, whose last bits may differ from machine to machine.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gold.correlation import correlation_matrix
from gold.ratios import deviation
from gold.returns import FloatArray

# Of a covariance's largest eigenvalue; below it one is what rounding leaves of 0, or too near to it
# to say what goes along with a move in its direction.
_NO_VARIANCE: Final = 1e-10


@dataclass(frozen=True)
class RiskDecomposition:
    """Variance of a portfolio of N holdings by K factors, in the unit of the variances given.

    Attributes:
        exposures: K exposures of the portfolio, `b = B'w`.
        by_factor: K contributions of the factors; they sum to the factor variance.
        by_holding: N contributions of the holdings to the factor variance.
        specific: N contributions of the holdings' specific returns, `w_i^2 D_ii`.
    """

    exposures: FloatArray
    by_factor: FloatArray
    by_holding: FloatArray
    specific: FloatArray

    @property
    def factor_variance(self) -> float:
        """`b'Fb`."""
        return float(self.by_factor.sum())

    @property
    def specific_variance(self) -> float:
        """`sum of w_i^2 D_ii`."""
        return float(self.specific.sum())

    @property
    def variance(self) -> float:
        """All of it."""
        return self.factor_variance + self.specific_variance


@dataclass(frozen=True)
class FactorCovariance:
    """Covariance of K factors.

    Attributes:
        matrix: (K, K), symmetric, per bar. A factor that never moves has zeros; one without returns
            has NaN, and with fewer than two complete bars all is NaN.
        bars: Bars that it was taken over.
    """

    matrix: FloatArray
    bars: int


def factor_covariance(returns: FloatArray) -> FactorCovariance:
    """Sample covariance (ddof 1) of factor returns.

    Args:
        returns: (T, K) returns, a row for each bar. Bars at which a factor has none (NaN) are left
            out whole, so that the matrix is positive semidefinite; a factor that has no return at
            any bar leaves out none.
    """
    matrix = np.full((returns.shape[1],) * 2, np.nan)
    known = np.flatnonzero(np.isfinite(returns).any(axis=0))
    complete = complete_bars(returns[:, known])
    if complete.shape[0] >= 2:
        deviations = np.array([deviation(np.ascontiguousarray(column)) for column in complete.T])
        # By way of the correlations, whose sums are exact, and the same on every machine.
        correlations = np.nan_to_num(correlation_matrix(complete))
        matrix[np.ix_(known, known)] = correlations * np.outer(deviations, deviations)
    return FactorCovariance(matrix, complete.shape[0])


def complete_bars(returns: FloatArray) -> FloatArray:
    """The rows of (T, K) returns at which every factor has one."""
    return returns[np.isfinite(returns).all(axis=1)]


def decompose(
    weights: FloatArray, betas: FloatArray, covariance: FloatArray, specific: FloatArray
) -> RiskDecomposition:
    """Split the variance of a portfolio by factor and by holding.

    Args:
        weights: N weights, shares of the portfolio's value; negative for a short. They need not
            sum to 1: the rest is cash.
        betas: (N, K) exposures of the coins, all finite.
        covariance: (K, K) covariance of the factors.
        specific: N specific variances, in the same unit as `covariance`.
    """
    exposures = (weights[:, None] * betas).sum(axis=0)
    slope = (covariance * exposures).sum(axis=1)
    return RiskDecomposition(
        exposures=exposures,
        by_factor=exposures * slope,
        by_holding=weights * (betas * slope).sum(axis=1),
        specific=weights**2 * specific,
    )


def conditional_moves(covariance: FloatArray, moves: FloatArray) -> FloatArray:
    """Moves of all factors in a stress test that names some: the others move with those on average.

    `E[f_U | f_N = m] = F_UN F_NN^-1 m`, at factor means of 0. Where the named factors are
    collinear (the market and the three buckets of a sort), the inverse is the pseudoinverse: what
    they cannot do together, no other factor goes along with. Source: Kupiec, "Stress testing in a
    value at risk framework", Journal of Derivatives 6 (1998).

    Args:
        covariance: (K, K) covariance of the factors, in any unit.
        moves: K factor returns (-0.2 is a fall of 20 %), NaN of a factor that is not named.

    Returns:
        K factor returns; those named are as given. NaN where the covariance is.
    """
    named = np.isfinite(moves)
    among = covariance[np.ix_(named, named)]
    if not np.isfinite(among).all():
        return moves
    response = covariance[:, named] @ np.linalg.pinv(among, rcond=_NO_VARIANCE, hermitian=True)
    return np.where(named, moves, response @ moves[named])
