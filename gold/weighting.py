"""Weights of an index's members: by volatility, equal, or by Sharpe; then within cap and floor.

Sums are exactly rounded (`fsum`), so a member's weight does not depend on the order of the others.
"""

from math import fsum
from typing import assert_never

import numpy as np

from gold.returns import FloatArray
from lakehouse.settings import Weighting


def weights_by(
    weighting: Weighting, sharpe: FloatArray, annual_volatility: FloatArray
) -> FloatArray:
    """Weights of the members by the rulebook's scheme.

    Args:
        weighting: The scheme.
        sharpe: n >= 1 Sharpe ratios; above 0 for `sharpe`.
        annual_volatility: n volatilities above 0.

    Returns:
        n positive weights that sum to 1.
    """
    match weighting:
        case "inverse_volatility":
            return inverse_volatility_weights(annual_volatility)
        case "equal":
            return equal_weights(sharpe.size)
        case "sharpe":
            return sharpe_weights(sharpe)
        case _:
            assert_never(weighting)


def inverse_volatility_weights(annual_volatility: FloatArray) -> FloatArray:
    """Weights proportional to 1 / volatility that sum to 1.

    Args:
        annual_volatility: n >= 1 volatilities above 0, of the members alone.

    Returns:
        n positive weights.
    """
    inverse: FloatArray = annual_volatility.min() / annual_volatility
    return inverse / fsum(inverse)


def equal_weights(members: int) -> FloatArray:
    """The weight 1 / n for each of n >= 1 members."""
    return np.full(members, 1 / members)


def sharpe_weights(sharpe: FloatArray) -> FloatArray:
    """Weights proportional to the Sharpe ratio that sum to 1.

    Args:
        sharpe: n >= 1 Sharpe ratios above 0, of the members alone.

    Returns:
        n positive weights.
    """
    share: FloatArray = sharpe / sharpe.max()
    return share / fsum(share)


def cap_and_floor(weights: FloatArray, cap: float, floor: float) -> FloatArray:
    """Weights within [floor, cap], by iterative redistribution.

    In turn, all weights that break the bound which is broken by more in total are set to it, and
    the others are scaled to fill what is left. So the members that end within the bounds keep
    their proportions. (The order in which bounds are fixed is that of the W3C's flexible box
    layout, section 9.7, where the same problem is posed for widths.)

    Args:
        weights: n >= 1 positive weights that sum to 1.
        cap: Highest weight. Fewer than 1 / cap members cannot keep it: all are weighted equally.
        floor: Lowest weight, at most `cap`. More than 1 / floor members: all equally, too.

    Returns:
        n weights that sum to 1.
    """
    members = weights.size
    if cap * members <= 1 or floor * members >= 1:
        return equal_weights(members)
    bounded = weights.copy()
    free = np.ones(members, dtype=np.bool_)
    while free.any():
        left = 1 - fsum(bounded[~free])
        bounded[free] = weights[free] * (left / fsum(weights[free]))
        above = free & (bounded > cap)
        below = free & (bounded < floor)
        if not above.any() and not below.any():
            break
        excess, lack = fsum(bounded[above] - cap), fsum(floor - bounded[below])
        if excess >= lack:
            bounded[above] = cap
            free &= ~above
        if lack >= excess:
            bounded[below] = floor
            free &= ~below
    return bounded
