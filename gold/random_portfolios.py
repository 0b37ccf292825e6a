"""The portfolios beside an index: the eligible universe, Bitcoin, and random draws of it.

They are held by the same calendar, at the same prices and costs as the index. The random ones tell
how much of a result is luck: each holds as many names as the index may, drawn anew from the
eligible universe at every determination, equally weighted.
"""

from typing import Final

import numpy as np

from gold.returns import FloatArray, IntArray

EQUAL_WEIGHT: Final = "equal_weight"
BUY_AND_HOLD_BTC: Final = "buy_and_hold_btc"

BITCOIN: Final = "BTCUSDT"

# Percentiles of their levels that are kept, and the columns of gold.index_random_levels.
BAND: Final = {percent: f"p{percent:02d}" for percent in (5, 25, 50, 75, 95)}


def random_draws(eligible: int, size: int, portfolios: int, seed: int, as_of: int) -> IntArray:
    """Draw names without replacement, for each portfolio, from those eligible at a date.

    Args:
        eligible: Number of eligible names, in symbol order.
        size: Names in a portfolio; all of them when fewer are eligible.
        portfolios: P, the number of portfolios.
        seed: Seed of all draws; each date has draws of its own.
        as_of: The date, UTC microseconds.

    Returns:
        (P, min(size, eligible)) ascending positions of names.
    """
    # One stream for each date: the draws of a date do not depend on how many came before it.
    lots = np.random.default_rng([seed, as_of]).random((portfolios, eligible))
    drawn = np.argsort(lots, axis=1, kind="stable")[:, :size]
    return np.sort(drawn, axis=1)


def portfolio_weights(
    index: FloatArray,
    eligible: IntArray,
    bitcoin: int | None,
    as_of: int,
    *,
    size: int,
    portfolios: int,
    seed: int,
) -> FloatArray:
    """Target weights of an index and of what it is compared with, at one determination.

    Args:
        index: S weights of the index, 0 for a symbol that it does not hold.
        eligible: Ascending positions of the eligible symbols.
        bitcoin: Position of Bitcoin; None in a market without it.
        as_of: Date of the determination, UTC microseconds.
        size: Names in a random portfolio.
        portfolios: Number of random portfolios, R.
        seed: Seed of their draws.

    Returns:
        (2 + R or 3 + R, S) weights: the index, the equally weighted eligible universe, Bitcoin
        held if the market has it, and the random portfolios.
    """
    benchmarks = np.zeros((2 if bitcoin is None else 3, index.size))
    drawn_weights = np.zeros((portfolios, index.size))
    benchmarks[0] = index
    if bitcoin is not None:
        benchmarks[2, bitcoin] = 1.0
    if eligible.size:
        benchmarks[1, eligible] = 1 / eligible.size
        drawn = eligible[random_draws(eligible.size, size, portfolios, seed, as_of)]
        drawn_weights[np.arange(portfolios)[:, None], drawn] = 1 / drawn.shape[1]
    return np.concatenate([benchmarks, drawn_weights])
