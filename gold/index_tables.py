"""What a walk-forward index did, as the rows of its gold tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

import numpy as np
import pyarrow as pa

from gold.backtest import START_LEVEL, Levels
from gold.performance import performance, relative_performance
from gold.random_portfolios import BAND, BUY_AND_HOLD_BTC, EQUAL_WEIGHT
from gold.returns import FloatArray
from lakehouse.intervals import Interval, bars_per_year, instant


@dataclass(frozen=True)
class Statistic:
    """A number, or the bar that a date names; both None where undefined."""

    index_name: str
    statistic: str
    value: float | None
    at: datetime | None


def level_names(index_name: str, has_bitcoin: bool) -> tuple[str, ...]:
    """Names of the first portfolios of the levels: the index and its benchmarks."""
    return (index_name, EQUAL_WEIGHT, *((BUY_AND_HOLD_BTC,) if has_bitcoin else ()))


def level_rows(
    levels: Levels, names: tuple[str, ...], stopped: Mapping[int, list[str]]
) -> pa.Table:
    """Rows of gold.index_levels but for their stamp.

    Args:
        levels: Levels of at least the named portfolios, which come first.
        names: Names of the index and its benchmarks.
        stopped: By the open of a bar, members of the index sold as they had stopped trading.
    """
    bars, count = levels.open_time.size, len(names)
    opens = np.tile(levels.open_time, count)
    sold = [stopped.get(time) for time in levels.open_time.tolist()] + [None] * bars * (count - 1)
    returns = levels.period_return[:, :count].T.ravel()
    return pa.table(
        {
            "index_name": pa.array(np.repeat(np.array(names, dtype=object), bars), pa.string()),
            "open_time": _timestamps(opens),
            "level": levels.level[:, :count].T.ravel(),
            "period_return": pa.array(returns, mask=np.isnan(returns)),
            "cost": levels.cost[:, :count].T.ravel(),
            "turnover": levels.turnover[:, :count].T.ravel(),
            "drawdown": levels.drawdown[:, :count].T.ravel(),
            "sold": pa.array(sold, pa.list_(pa.string())),
        }
    )


def random_rows(levels: Levels, first: int) -> pa.Table:
    """Rows of gold.index_random_levels but for their stamp; `first` is the first random one."""
    bands = np.percentile(levels.level[:, first:], list(BAND), axis=1)
    columns = dict(zip(BAND.values(), bands, strict=True))
    return pa.table({"open_time": _timestamps(levels.open_time), **columns})


def statistics(
    levels: Levels, names: tuple[str, ...], interval: Interval, trials: int
) -> Iterator[Statistic]:
    """Rows of gold.index_statistics but for their stamp: the index first.

    Args:
        levels: Levels of the named portfolios, then of the random ones.
        names: Names of the index and its benchmarks.
        interval: Length of a bar.
        trials: Settings that were tried, for the deflated Sharpe ratio of the index.
    """
    yearly = bars_per_year(interval)
    for position, name in enumerate(names):
        figures = performance(
            levels.open_time,
            levels.level[:, position],
            levels.cost[:, position],
            levels.turnover[:, position],
            yearly,
            trials if position == 0 else 1,
        )
        for statistic, value in asdict(figures).items():
            if statistic in _DATES:
                at = None if value is None else instant(value)
                yield Statistic(name, statistic, None, at)
            else:
                yield Statistic(name, statistic, _defined(value), None)
    for position, benchmark in enumerate(names[1:], start=1):
        relative = relative_performance(levels.level[:, 0], levels.level[:, position], yearly)
        for statistic, value in asdict(relative).items():
            yield Statistic(names[0], f"{statistic}_{benchmark}", _defined(value), None)
    yield from _luck(names[0], levels.level[-1, 0], levels.level[-1, len(names) :])


_DATES: Final = ("max_drawdown_peak", "max_drawdown_trough", "max_drawdown_recovery")


def _luck(name: str, last: float, random: FloatArray) -> Iterator[Statistic]:
    """Where the index ends among the random portfolios, and where these end.

    When all of them held the same, every eligible name, there is nothing to be above or below of.
    """
    if not random.size:
        return
    below = float(np.mean(random < last)) if random.min() < random.max() else None
    yield Statistic(name, "random_share_below", below, None)
    for percent in (5, 50, 95):
        total_return = float(np.percentile(random, percent)) / START_LEVEL - 1
        yield Statistic(name, f"random_{BAND[percent]}_total_return", total_return, None)


def _defined(value: float | None) -> float | None:
    """The number, or None for a NaN."""
    return None if value is None or np.isnan(value) else float(value)


def _timestamps(micros: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Array:
    return pa.array(micros, pa.int64()).cast(pa.timestamp("us", "UTC"))
