"""Honest evaluation of a forecast: walk-forward folds, and scores against zero and the mean.

Plain numpy. Bars are named by their open times as integers of any unit (microseconds in the
tables), so nothing here knows a calendar.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import nan, sqrt

import numpy as np

from gold.returns import FloatArray, IntArray
from lakehouse.errors import NotEnoughData

_MIN_CROSS_SECTION = 3
# Variance of rank correlations, which lie in [-1, 1], below which it is rounding.
_NO_SPREAD = 1e-15


@dataclass(frozen=True)
class Fold:
    """One step of a walk forward: fit on the past, predict the block that follows.

    Attributes:
        train_end: Rows whose bar opens before it may be fitted (exclusive end).
        test_start: Open time of the first bar to predict.
        test_end: Exclusive end of the bars to predict.
    """

    train_end: int
    test_start: int
    test_end: int


def walk_forward_splits(
    first: int, last: int, step: int, *, day: int, block: int, purge: int, embargo: int
) -> tuple[Fold, ...]:
    """Cut the bars into blocks; each but the first is predicted from all before it.

    The training window expands. It ends `purge + embargo` bars before the block to predict, so
    that no fitted row's label is realised at or after the block's first bar. Blocks are counted
    from the first day that begins among the bars, so later bars add folds and change none; with
    blocks of whole days, no day is cut in two.

    Args:
        first: Open time of the first bar.
        last: Open time of the last bar.
        step: Length of a bar, in the unit of the times.
        day: Length of a day.
        block: Bars of a block, at least 1; the last block may reach past the last bar.
        purge: Bars by which a label reaches past its row's bar.
        embargo: Further bars to leave out.

    Raises:
        NotEnoughData: There is no second block, or the first leaves no bar to fit on.

    Source: M. López de Prado, Advances in Financial Machine Learning, 2018, chapter 7.
    """
    width = block * step
    left_out = (purge + embargo) * step
    midnight = -(-first // day) * day
    starts = range(midnight + width, last + 1, width) if width > left_out else range(0)
    if not starts:
        raise NotEnoughData(
            f"{(last - first) // step + 1} bars are too few to walk forward by {block} with "
            f"{purge + embargo} left out before each step: lengthen archive.start to archive.end, "
            "or set ml.gbt.fold_days to suit"
        )
    return tuple(Fold(start - left_out, start, start + width) for start in starts)


@dataclass(frozen=True)
class ForecastScore:
    """How good a forecast was, as sums: scores of disjoint sets of days add up to one of all.

    Attributes:
        rows: Rows with a forecast and an outcome.
        absolute_error: Sum of |forecast - outcome|.
        squared_error: Sum of (forecast - outcome)².
        squared_outcome: Sum of outcome², the error of the forecast of zero.
        squared_deviation: Sum of (mean - outcome)², the error of the forecast of the mean.
        moves: Rows whose outcome is not zero.
        hits: Of these, rows whose forecast has the outcome's sign.
        rank_ic_days: Days with a rank correlation of forecast and outcome across symbols.
        rank_ic_sum: Sum of their means.
        rank_ic_squares: Sum of the squares of those means.
    """

    rows: int = 0
    absolute_error: float = 0.0
    squared_error: float = 0.0
    squared_outcome: float = 0.0
    squared_deviation: float = 0.0
    moves: int = 0
    hits: int = 0
    rank_ic_days: int = 0
    rank_ic_sum: float = 0.0
    rank_ic_squares: float = 0.0

    def __add__(self, other: ForecastScore) -> ForecastScore:
        sums = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in fields(self)
        }
        return ForecastScore(**sums)

    @property
    def rmse(self) -> float:
        """Root of the mean squared error, in the outcome's unit; NaN without rows."""
        return sqrt(self.squared_error / self.rows) if self.rows else nan

    @property
    def zero_rmse(self) -> float:
        """The same of the forecast of zero."""
        return sqrt(self.squared_outcome / self.rows) if self.rows else nan

    @property
    def mae(self) -> float:
        """Mean absolute error, in the outcome's unit; NaN without rows."""
        return self.absolute_error / self.rows if self.rows else nan

    @property
    def out_of_sample_r2(self) -> float:
        """1 - SSE / sum(outcome²): above 0 it beats the forecast of zero; NaN if all are zero.

        Source: S. Gu, B. Kelly, D. Xiu, Empirical Asset Pricing via Machine Learning, Review of
        Financial Studies 33, 2020, equation 19.
        """
        return 1 - self.squared_error / self.squared_outcome if self.squared_outcome > 0 else nan

    @property
    def out_of_sample_r2_mean(self) -> float:
        """1 - SSE / sum((mean - outcome)²): above 0 it beats the mean of what was fitted.

        Source: J. Y. Campbell, S. B. Thompson, Predicting Excess Stock Returns Out of Sample,
        Review of Financial Studies 21, 2008, equation 1.
        """
        spread = self.squared_deviation
        return 1 - self.squared_error / spread if spread > 0 else nan

    @property
    def directional_accuracy(self) -> float:
        """Share of the outcomes other than zero whose sign was forecast; NaN if all are zero.

        A forecast of exactly zero has no sign, and counts as wrong.
        """
        return self.hits / self.moves if self.moves else nan

    @property
    def rank_information_coefficient(self) -> float:
        """Mean over days of a day's mean rank correlation; NaN if no day has one."""
        return self.rank_ic_sum / self.rank_ic_days if self.rank_ic_days else nan

    @property
    def rank_ic_t_statistic(self) -> float:
        """Mean / (sample std / sqrt(days)); NaN for fewer than two days or no spread."""
        days, mean = self.rank_ic_days, self.rank_information_coefficient
        if days < 2:
            return nan
        variance = (self.rank_ic_squares - self.rank_ic_sum * mean) / (days - 1)
        return mean / sqrt(variance / days) if variance > _NO_SPREAD else nan

    def metrics(self) -> dict[str, float]:
        """The scores that have a value, under the names that runs and reports give them."""
        values = {
            "rmse": self.rmse,
            "zero_rmse": self.zero_rmse,
            "mae": self.mae,
            "oos_r2": self.out_of_sample_r2,
            "oos_r2_mean": self.out_of_sample_r2_mean,
            "directional_accuracy": self.directional_accuracy,
            "rank_ic": self.rank_information_coefficient,
            "rank_ic_t": self.rank_ic_t_statistic,
            "rank_ic_days": float(self.rank_ic_days),
            "rows": float(self.rows),
        }
        return {name: value for name, value in values.items() if not np.isnan(value)}


def forecast_score(
    time: IntArray, prediction: FloatArray, outcome: FloatArray, mean: float, *, day: int
) -> ForecastScore:
    """Score a forecast on whole days: all rows of a day must be given together.

    Sums are taken in the order of the rows, on which their last bits depend.

    Args:
        time: Open time of each row's bar, shape (rows,), in any order.
        prediction: Forecasts made at the bar's close, shape (rows,).
        outcome: What came true, shape (rows,). A row with a NaN in either is left out.
        mean: Mean of the outcomes that the forecast was fitted to, a forecast itself.
        day: Length of a day in the unit of the times, of which one begins at 0.
    """
    given = ~(np.isnan(prediction) | np.isnan(outcome))
    time, prediction, outcome = time[given], prediction[given], outcome[given]
    correlations = daily_rank_correlations(time, prediction, outcome, day)
    moved = outcome != 0
    return ForecastScore(
        rows=time.size,
        absolute_error=float(np.sum(np.abs(prediction - outcome))),
        squared_error=float(np.sum((prediction - outcome) ** 2)),
        squared_outcome=float(np.sum(outcome**2)),
        squared_deviation=float(np.sum((mean - outcome) ** 2)),
        moves=int(moved.sum()),
        hits=int((np.sign(prediction) == np.sign(outcome))[moved].sum()),
        rank_ic_days=correlations.size,
        rank_ic_sum=float(np.sum(correlations)),
        rank_ic_squares=float(np.sum(correlations**2)),
    )


def daily_rank_correlations(
    time: IntArray, prediction: FloatArray, outcome: FloatArray, day: int
) -> FloatArray:
    """Mean of the rank correlations of each day's bars, for the days that have one, in order.

    What holds of one bar mostly holds of the next: days are closer to independent than bars.

    Args:
        time: Open time of each row's bar, shape (rows,), in any order.
        prediction: Forecasts without NaN, shape (rows,).
        outcome: Outcomes without NaN, shape (rows,).
        day: Length of a day in the unit of the times.
    """
    bars, correlations = rank_correlations(time, prediction, outcome)
    place = np.unique(bars // day, return_inverse=True)[1]
    return np.asarray(np.bincount(place, correlations) / np.bincount(place), dtype=np.float64)


def rank_correlations(
    time: IntArray, prediction: FloatArray, outcome: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Spearman correlation across the symbols of each bar, ties sharing their mean rank.

    Args:
        time: Open time of each row's bar, shape (rows,), in any order.
        prediction: Forecasts without NaN, shape (rows,).
        outcome: Outcomes without NaN, shape (rows,).

    Returns:
        The open times of the bars that have one, ascending, and their correlations: a bar with
        fewer than three rows, or whose forecasts or outcomes are all equal, has none.
    """
    times, place = np.unique(time, return_inverse=True)
    bar = place.astype(np.int64)
    rows = np.bincount(bar)
    # Ranks of n rows have the mean (n + 1) / 2 with ties or without, so they are centred exactly.
    centre = (rows[bar] + 1) / 2
    forecast = _average_ranks(bar, prediction) - centre
    realised = _average_ranks(bar, outcome) - centre
    covariance = np.bincount(bar, forecast * realised)
    scale = np.bincount(bar, forecast**2) * np.bincount(bar, realised**2)
    usable = (rows >= _MIN_CROSS_SECTION) & (scale > 0)
    return times[usable], np.asarray(covariance[usable] / np.sqrt(scale[usable]), dtype=np.float64)


def _average_ranks(group: IntArray, values: FloatArray) -> FloatArray:
    """Rank the values within their group from 1, equal values sharing the mean of their ranks."""
    order = np.lexsort((values, group))
    sorted_group, sorted_value = group[order], values[order]
    position = np.arange(values.size)
    group_starts = np.diff(sorted_group, prepend=-1) != 0
    tie_starts = group_starts | (np.diff(sorted_value, prepend=np.nan) != 0)
    first = np.flatnonzero(tie_starts)
    after = np.append(first[1:], values.size)
    tie = np.cumsum(tie_starts) - 1
    group_first = np.maximum.accumulate(np.where(group_starts, position, 0))
    ranks = np.empty(values.size)
    # A tie fills the sorted places first..after-1, so their mean is the middle.
    ranks[order] = ((first + after - 1) / 2)[tie] - group_first + 1
    return ranks
