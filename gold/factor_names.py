"""Names of the factor model's factors, in the order of its columns and coefficients."""

from typing import Final

CHARACTERISTICS: Final = ("liquidity", "volatility", "momentum")
BUCKETS: Final = ("low", "medium", "high")

MARKET_RETURN: Final = "market_return"

# The nine sorted portfolios: liquidity_low, liquidity_medium … momentum_high.
BUCKET_FACTORS: Final = tuple(
    f"{characteristic}_{bucket}" for characteristic in CHARACTERISTICS for bucket in BUCKETS
)

# High minus low of each characteristic.
LONG_SHORT_FACTORS: Final = tuple(f"{name}_high_minus_low" for name in CHARACTERISTICS)

# What coins are regressed on, by factors.portfolios.
MODEL_FACTORS: Final = {
    "buckets": (MARKET_RETURN, *BUCKET_FACTORS),
    "long_short": (MARKET_RETURN, *LONG_SHORT_FACTORS),
}


def beta_name(factor: str) -> str:
    """Column of gold.factor_exposures for a factor: beta_market, beta_liquidity_low."""
    return "beta_market" if factor == MARKET_RETURN else f"beta_{factor}"
