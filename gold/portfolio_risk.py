"""What the factor model says of one portfolio at one time, per year."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gold.factor_risk import RiskDecomposition, conditional_moves, decompose
from gold.returns import FloatArray


@dataclass(frozen=True)
class FactorModel:
    """The factors at one time.

    Attributes:
        factors: K names, of factors that the model may use or a stress test name.
        covariance: (K, K) covariance of their returns, per bar; NaN of a factor without returns.
        moves: K returns of a stress test, NaN of a factor that it does not name.
        bars_per_year: Bars in 365 days.
    """

    factors: tuple[str, ...]
    covariance: FloatArray
    moves: FloatArray
    bars_per_year: float


@dataclass(frozen=True)
class Holdings:
    """A portfolio and what the model knows of its coins.

    Attributes:
        symbols: N symbols, in ascending order.
        weights: N weights, shares of the portfolio's value; what they lack to 1 is cash.
        betas: (N, K) exposures to the model's K factors. NaN in the whole column of a factor that
            is not in use, and in the row of a coin without exposures.
        residual_variance: N specific variances, per bar; NaN where unknown.
    """

    symbols: tuple[str, ...]
    weights: FloatArray
    betas: FloatArray
    residual_variance: FloatArray


@dataclass(frozen=True)
class PortfolioRisk:
    """Risk of the holdings that have exposures, NaN where none has; variances are per year.

    Attributes:
        factors: The factors in use; none when no holding has exposures.
        symbols: Holdings that have exposures.
        weights: Their weights, as given: they are not scaled up for the others.
        uncovered: The others, which are in no figure, and their weights.
        decomposition: By these factors and holdings.
        stress_return: Return when the named factors move and the others stand still; NaN when one
            of them is not in use, whose exposures nobody knows.
        conditional_stress_return: Return when the others move as they do on average with those.
    """

    factors: tuple[str, ...]
    symbols: tuple[str, ...]
    weights: FloatArray
    uncovered: Mapping[str, float]
    decomposition: RiskDecomposition
    stress_return: float
    conditional_stress_return: float

    @property
    def factor_variance(self) -> float:
        """Variance by the factors; NaN when no holding has exposures."""
        return self.decomposition.factor_variance if self.symbols else math.nan

    @property
    def specific_variance(self) -> float:
        """Variance of the specific returns; NaN when no holding has exposures."""
        return self.decomposition.specific_variance if self.symbols else math.nan

    @property
    def annual_volatility(self) -> float:
        """Square root of their sum."""
        # Rounding may leave a perfect hedge a variance below 0.
        return float(np.sqrt(np.maximum(self.factor_variance + self.specific_variance, 0.0)))


def portfolio_risk(holdings: Holdings, model: FactorModel) -> PortfolioRisk:
    """Decompose the risk of a portfolio and stress it.

    A holding without exposures is named, and its weight told: it is left out of all figures.

    Args:
        holdings: The portfolio.
        model: The factors at the time of its exposures.
    """
    used, year = np.isfinite(holdings.betas).any(axis=0), model.bars_per_year
    known = np.isfinite(holdings.betas[:, used]).all(axis=1) & used.any()
    known &= np.isfinite(holdings.residual_variance)
    # Exposures of nobody are unknown; a sum over no holding would say 0.
    used &= known.any()
    betas = holdings.betas[:, used]
    decomposition = decompose(
        holdings.weights[known],
        betas[known],
        model.covariance[np.ix_(used, used)] * year,
        holdings.residual_variance[known] * year,
    )
    # The factors that a stress test names need not be those that the model uses.
    named = np.isfinite(model.moves)
    concerned = np.flatnonzero(used | named)
    moves = np.full(used.size, np.nan)
    moves[concerned] = conditional_moves(
        model.covariance[np.ix_(concerned, concerned)], model.moves[concerned]
    )
    unknown = math.nan if (named & ~used).any() else 0.0
    alone = np.where(named, model.moves, unknown)
    return PortfolioRisk(
        factors=tuple(np.array(model.factors, dtype=object)[used]),
        symbols=tuple(np.array(holdings.symbols, dtype=object)[known]),
        weights=holdings.weights[known],
        uncovered={
            holdings.symbols[place]: float(holdings.weights[place])
            for place in np.flatnonzero(~known).tolist()
        },
        decomposition=decomposition,
        stress_return=_return(decomposition.exposures, alone[used]),
        conditional_stress_return=_return(decomposition.exposures, moves[used]),
    )


def _return(exposures: FloatArray, moves: FloatArray) -> float:
    return float((exposures * moves).sum()) if exposures.size else math.nan
