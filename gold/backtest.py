"""Index levels: holding periods chained without a jump, with the costs of each rebalance.

Works on arrays of bars x portfolios alone; the prices of symbols stay where `gold.holding` was run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from gold.holding import HeldPeriod
from gold.returns import FloatArray, IntArray
from lakehouse.intervals import Interval, interval_micros

START_LEVEL: Final = 1000.0


@dataclass(frozen=True)
class Levels:
    """Levels of P portfolios at T + 1 bars; the first row is the bar at whose close they start.

    Attributes:
        open_time: (T + 1,) bar opens, UTC microseconds; a level is that of the bar's close.
        level: (T + 1, P) levels, 1,000 in the first row, before the costs of the first purchase.
        period_return: (T + 1, P) `level / level before - 1`, NaN in the first row.
        cost: (T + 1, P) costs of the bar's trades as a fraction of the value before them.
        turnover: (T + 1, P) one-way turnover of the bar's trades: half the sum of the absolute
            changes of weights, cash counted as a holding, so the first purchase is 1.
        drawdown: (T + 1, P) `level / highest level so far - 1`, <= 0.
    """

    open_time: IntArray
    level: FloatArray
    period_return: FloatArray
    cost: FloatArray
    turnover: FloatArray
    drawdown: FloatArray


def chain(periods: Sequence[HeldPeriod], interval: Interval, cost_rate: float) -> Levels:
    """Chain the growth of holding periods into levels.

    The costs of a rebalance are taken from the value at the moment of its trades and stand in the
    row of the first bar after it.

    Args:
        periods: At least one, each beginning where the one before ends; of the same P portfolios.
        interval: Length of a bar.
        cost_rate: Cost of one-way turnover as a fraction of it.

    Raises:
        ValueError: There is no period, or one does not begin where the one before ends.
    """
    step = interval_micros(interval)
    if not periods:
        raise ValueError("no holding period")
    if any(
        after.open_time[0] - before.open_time[-1] != step for before, after in pairwise(periods)
    ):
        raise ValueError("each holding period must begin where the one before ends")
    value = np.full(periods[0].invested.shape, START_LEVEL)
    bought = periods[0].invested
    times = [periods[0].open_time[:1] - step]
    levels, turnovers, costs = [value[None]], [np.zeros_like(value[None])], []
    costs.append(turnovers[0])
    for period in periods:
        value = value * (1 - cost_rate * bought)
        turnover = period.sold.copy()
        turnover[0] += bought
        # What is left of 1 after both costs: those of the rebalance, then those of a sale.
        left = 1 - cost_rate * period.sold
        left[0] *= 1 - cost_rate * bought
        times.append(period.open_time)
        levels.append(value * period.growth)
        turnovers.append(turnover)
        costs.append(1 - left)
        value = value * period.exit_growth
        bought = period.exit_turnover
    level = np.concatenate(levels)
    period_return = np.full(level.shape, np.nan)
    period_return[1:] = level[1:] / level[:-1] - 1
    return Levels(
        open_time=np.concatenate(times),
        level=level,
        period_return=period_return,
        cost=np.concatenate(costs),
        turnover=np.concatenate(turnovers),
        drawdown=level / np.maximum.accumulate(level) - 1,
    )
