"""A small made-up factor model as it is read from the tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gold.factor_names import LONG_SHORT_FACTORS, MODEL_FACTORS, beta_name
from gold.risk_rows import FACTORS, SORTED_FACTORS
from ml.factor_results import FactorResults

FIRST = pd.Timestamp("2026-02-01", tz="UTC")
AS_OF = pd.Timestamp("2026-02-04", tz="UTC")
HOSTILE = "<b>$\\frac$USDT"  # neither markup nor a formula
COINS = ("AUSDT", HOSTILE)
PORTFOLIOS = {"all_coins": "1m", "smart_monthly": "4h"}
TIMES = pd.date_range(FIRST, AS_OF, freq="15min", inclusive="left")


def factor_results(buckets: str = "trailing", portfolios: str = "buckets") -> FactorResults:
    """Three days of a market and its factors, two coins, and two portfolios of them."""
    rng = np.random.default_rng(1)
    common = rng.normal(0, 1e-3, TIMES.size)
    growth = pd.DataFrame(
        {factor: common + rng.normal(0, 5e-4, TIMES.size) for factor in SORTED_FACTORS}
    )
    growth["momentum_low"] = np.nan  # as of two coins, of which none is low
    for spread in LONG_SHORT_FACTORS:
        growth[spread] = rng.normal(0, 3e-4, TIMES.size)
    used = MODEL_FACTORS[portfolios]
    unsorted = 6
    return FactorResults(
        market="um",
        interval="1m",
        buckets=buckets,
        portfolios=portfolios,
        window=1440,
        first=FIRST,
        begin=TIMES[unsorted],
        as_of=AS_OF,
        statistics=statistics(),
        correlations=correlations(growth),
        growth=growth[[*used]].assign(time=TIMES)[unsorted:].reset_index(drop=True),
        exposures=exposures(rng, used),
        risk=risk(),
        contributions=contributions(rng, used),
    )


def statistics() -> pd.DataFrame:
    """Rows of gold.factor_statistics, by name and so not in the model's order."""
    names = sorted(FACTORS)
    spread = [name in LONG_SHORT_FACTORS for name in names]
    return pd.DataFrame(
        {
            "factor": names,
            "bars": 4320,
            "annual_return": 0.25,
            "annual_volatility": 0.5,
            "sharpe": 0.5,
            "newey_west_t": -1.25,
            "monotonicity": np.where(spread, 0.5, np.nan),
            "as_of": AS_OF,
        }
    )


def correlations(growth: pd.DataFrame) -> pd.DataFrame:
    """Rows of gold.factor_correlations; a factor never moved."""
    names = sorted(FACTORS)
    rho = growth[names].corr().to_numpy()
    pairs = [
        {"factor_a": first, "factor_b": second, "rho": rho[i, i + 1 + j]}
        for i, first in enumerate(names)
        for j, second in enumerate(names[i + 1 :])
    ]
    frame = pd.DataFrame(pairs)
    flat = (frame[["factor_a", "factor_b"]] == "momentum_low").any(axis=1)
    return frame.assign(rho=frame["rho"].mask(flat))


def exposures(rng: np.random.Generator, used: Sequence[str]) -> pd.DataFrame:
    """Exposures of two coins, with a hole in the first one's."""
    parts = []
    for symbol in COINS:
        walk = rng.normal(0, 0.02, (TIMES.size, len(used))).cumsum(axis=0)
        betas = {beta_name(name): walk[:, k] for k, name in enumerate(used)}
        part = pd.DataFrame({"symbol": symbol, "time": TIMES, **betas, "r2": 0.7})
        none = dict.fromkeys(map(beta_name, {*FACTORS} - {*used}), np.nan)
        parts.append(part.assign(**none).drop(index=range(50, 60) if symbol == "AUSDT" else []))
    return pd.concat(parts, ignore_index=True)


def risk() -> pd.DataFrame:
    """Rows of gold.portfolio_risk at the end of each day."""
    rows = [
        {
            "portfolio": portfolio,
            "weights_interval": interval,
            "as_of": FIRST + pd.Timedelta(days=day),
            "covered_weight": 1.0 if portfolio == "all_coins" else 0.7,
            "uncovered": {} if portfolio == "all_coins" else {"GONEUSDT": 0.1, HOSTILE: 0.2},
            "annual_volatility": 0.5,
            "factor_variance": 0.2,
            "specific_variance": 0.05,
            "stress": {"market_return": -0.2},
            "stress_return": -0.04,
            "conditional_stress_return": -0.19,
        }
        for portfolio, interval in PORTFOLIOS.items()
        for day in (1, 2, 3)
    ]
    return pd.DataFrame(rows)


def contributions(rng: np.random.Generator, used: Sequence[str]) -> pd.DataFrame:
    """Rows of gold.risk_contributions that sum to them: of holdings those of the last day."""
    rows = []
    for portfolio, interval in PORTFOLIOS.items():
        of_portfolio = {"portfolio": portfolio, "weights_interval": interval}
        for day in (1, 2, 3):
            shares = rng.dirichlet(np.ones(len(used)))
            rows += [
                {
                    **of_portfolio,
                    "as_of": FIRST + pd.Timedelta(days=day),
                    "component": "factor",
                    "name": name,
                    "exposure": rng.normal(),
                    "factor_variance": 0.2 * share,
                    "specific_variance": 0.0,
                }
                for name, share in zip(sorted(used), shares, strict=True)
            ]
        rows += [
            {
                **of_portfolio,
                "as_of": AS_OF,
                "component": "holding",
                "name": name,
                "exposure": 0.35,
                "factor_variance": variance,
                "specific_variance": specific,
            }
            for name, variance, specific in ((HOSTILE, 0.05, 0.02), ("AUSDT", 0.15, 0.03))
        ]
    return pd.DataFrame(rows)
