"""Which rows of ml.features are fitted and which are predicted, for each way to judge a fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

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
    """

    name: str
    evaluation: str
    train: DataFrame
    test: DataFrame
    params: Mapping[str, object]

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
    opens = F.unix_micros("open_time")
    return [
        Split(
            f"fold_{number}",
            WALK_FORWARD,
            rows.where(opens < fold.train_end),
            rows.where((opens >= fold.test_start) & (opens < fold.test_end)),
            {
                "train_end_us": fold.train_end,
                "test_start_us": fold.test_start,
                "test_end_us": fold.test_end,
            },
        )
        for number, fold in enumerate(folds, 1)
    ]


def random_split(rows: DataFrame, seed: int) -> Split:
    """80 % of the rows fitted, 20 % predicted, chosen by a hash: the same rows on any cluster.

    Args:
        rows: Rows with symbol and open_time.
        seed: Another one chooses other rows.
    """
    tenth = F.pmod(F.xxhash64("symbol", "open_time", F.lit(seed)), F.lit(10))
    fitted = tenth < _FITTED_TENTHS
    params = {"train_share": _FITTED_TENTHS / 10}
    return Split(RANDOM_SPLIT, RANDOM_SPLIT, rows.where(fitted), rows.where(~fitted), params)
