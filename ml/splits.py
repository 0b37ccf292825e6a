"""Which rows of ml.features are fitted and which are predicted, for each way to judge a fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.intervals import instant
from ml.validation import Fold

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WALK_FORWARD = "walk_forward"
RANDOM_SPLIT = "random_split"

_FITTED_TENTHS = 8  # of a random split's rows


@dataclass(frozen=True)
class Split:
    """One fit and the rows that judge it.

    Attributes:
        name: `fold_1` … or `random_split`.
        evaluation: `walk_forward` or `random_split`.
        train: Rows to fit.
        test: Rows to predict.
        params: What sets it apart.
        fitted: Rows to fit, in words.
        tested: Rows to predict, in words.
    """

    name: str
    evaluation: str
    train: DataFrame
    test: DataFrame
    params: Mapping[str, object]
    fitted: str
    tested: str

    @property
    def is_optimistic(self) -> bool:
        """Whether rows are fitted that lie between and after those predicted."""
        return self.evaluation != WALK_FORWARD


def walk_forward(rows: DataFrame, folds: tuple[Fold, ...]) -> list[Split]:
    """A split for each fold: fitted to the past, judged by the block that follows.

    Args:
        rows: Rows with open_time.
        folds: Times in microseconds.
    """
    return [_of_fold(rows, number, fold) for number, fold in enumerate(folds, 1)]


def _of_fold(rows: DataFrame, number: int, fold: Fold) -> Split:
    opens = F.unix_micros("open_time")
    train_end, start, end = (
        f"{instant(at):%Y-%m-%d %H:%M}" for at in (fold.train_end, fold.test_start, fold.test_end)
    )
    return Split(
        f"fold_{number}",
        WALK_FORWARD,
        rows.where(opens < fold.train_end),
        rows.where((opens >= fold.test_start) & (opens < fold.test_end)),
        {"train_end": train_end, "test_start": start, "test_end": end},
        fitted=f"open_time before {train_end} UTC",
        tested=f"open_time from {start} to before {end} UTC",
    )


def random_split(rows: DataFrame, seed: int) -> Split:
    """80 % of the rows fitted, 20 % predicted, chosen by a hash: the same rows on any cluster.

    Args:
        rows: Rows with symbol and open_time.
        seed: Another one chooses other rows.
    """
    tenth = F.pmod(F.xxhash64("symbol", "open_time", F.lit(seed)), F.lit(10))
    fitted = tenth < _FITTED_TENTHS
    share = _FITTED_TENTHS / 10
    return Split(
        RANDOM_SPLIT,
        RANDOM_SPLIT,
        rows.where(fitted),
        rows.where(~fitted),
        {"train_share": share},
        fitted=f"{share:.0%} of all rows, at random",
        tested=f"{1 - share:.0%} of all rows, at random",
    )
