"""Scores of forecasts that lie in a DataFrame, in one pass however many splits it holds."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from ml.validation import ForecastScore, forecast_score

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_SUMS = tuple(field.name for field in fields(ForecastScore))
_SCORE_SCHEMA = pa.schema(
    [
        ("split", pa.string()),
        ("rows", pa.int64()),
        ("squared_error", pa.float64()),
        ("squared_outcome", pa.float64()),
        ("rank_ic_bars", pa.int64()),
        ("rank_ic_sum", pa.float64()),
        ("rank_ic_squares", pa.float64()),
    ]
)
_SCORE_DDL = (
    "split string, rows bigint, squared_error double, squared_outcome double, "
    "rank_ic_bars bigint, rank_ic_sum double, rank_ic_squares double"
)


def score_forecasts(forecasts: DataFrame) -> dict[str, ForecastScore]:
    """Score each split.

    The rows of a bar must meet, so the work is cut by UTC days, which no bar spans.

    Args:
        forecasts: split, open_time, target and prediction; one row for each symbol and bar.

    Returns:
        Split -> its score.
    """
    by_day = (
        forecasts.select(
            "split",
            F.date_trunc("day", "open_time").alias("day"),
            F.unix_micros("open_time").alias("open_us"),
            "prediction",
            "target",
        )
        .groupBy("split", "day")
        .applyInArrow(_score_day, _SCORE_DDL)
    )
    summed = by_day.groupBy("split").agg(*(F.sum(name).alias(name) for name in _SUMS))
    return {
        row["split"]: ForecastScore(**{name: row[name] for name in _SUMS})
        for row in summed.collect()
    }


def _score_day(forecasts: pa.Table) -> pa.Table:
    score = forecast_score(
        forecasts["open_us"].to_numpy(),
        np.asarray(forecasts["prediction"].to_numpy(), dtype=np.float64),
        np.asarray(forecasts["target"].to_numpy(), dtype=np.float64),
    )
    row = {"split": forecasts["split"][0].as_py(), **asdict(score)}
    return pa.Table.from_pylist([row], _SCORE_SCHEMA)
