"""Scores of forecasts that lie in a DataFrame, in one pass however many splits it holds."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from gold.returns import FloatArray
from lakehouse.intervals import MICROS_PER_DAY
from ml.validation import ForecastScore, forecast_score

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FORECAST_COLUMNS = ("split", "symbol", "open_time", "target", "prediction", "train_mean")

_TYPES = {field.name: int if field.type == "int" else float for field in fields(ForecastScore)}
_SCORE_SCHEMA = pa.schema(
    [("split", pa.string())]
    + [(name, pa.int64() if kind is int else pa.float64()) for name, kind in _TYPES.items()]
    + [("digest", pa.int64())]
)
_SCORE_DDL = ", ".join(
    ["split string"]
    + [f"{name} {'bigint' if kind is int else 'double'}" for name, kind in _TYPES.items()]
    + ["digest bigint"]
)
# Sums of decimals are exact, so that a score does not depend on the order of the days.
_EXACT = "decimal(28, 20)"


@dataclass(frozen=True)
class ScoredForecasts:
    """What the forecasts of one split are worth, and what tells them from all others.

    Attributes:
        score: Their score.
        digest: Of all forecasts in the order of time and symbol, to the last bit, 16 hex digits.
    """

    score: ForecastScore
    digest: str


def score_forecasts(forecasts: DataFrame) -> dict[str, ScoredForecasts]:
    """Score each split; the same rows give the same bits, however they are spread.

    The rows of a day must meet, so the work is cut by UTC days; a day that two splits share gives
    each of them a rank information coefficient.

    Args:
        forecasts: `FORECAST_COLUMNS`, one row for each split, symbol and bar; train_mean is the
            mean of the targets that the split's model was fitted to.

    Returns:
        Split -> its score.
    """
    by_day = (
        forecasts.select(
            *FORECAST_COLUMNS,
            F.date_trunc("day", "open_time").alias("day"),
            F.unix_micros("open_time").alias("open_us"),
        )
        .drop("open_time")
        .groupBy("split", "day")
        .applyInArrow(_score_day, _SCORE_DDL)
    )
    sums = [
        F.sum(name) if kind is int else F.sum(F.col(name).cast(_EXACT)).cast("double")
        for name, kind in _TYPES.items()
    ]
    summed = by_day.groupBy("split").agg(
        *(total.alias(name) for total, name in zip(sums, _TYPES, strict=True)),
        F.bit_xor("digest").alias("digest"),
    )
    return {
        row["split"]: ScoredForecasts(
            ForecastScore(**{name: row[name] for name in _TYPES}),
            f"{row['digest'] % (1 << 64):016x}",
        )
        for row in summed.collect()
    }


def _score_day(forecasts: pa.Table) -> pa.Table:
    ordered = forecasts.sort_by([("open_us", "ascending"), ("symbol", "ascending")])
    prediction = _doubles(ordered, "prediction")
    score = forecast_score(
        ordered["open_us"].to_numpy(),
        prediction,
        _doubles(ordered, "target"),
        float(_doubles(ordered, "train_mean")[0]),
        day=MICROS_PER_DAY,
    )
    # Equal forecasts of two days must not cancel out.
    first = ordered["open_us"][0].as_py()
    digest = hashlib.sha256(first.to_bytes(8, "big", signed=True) + prediction.tobytes()).digest()
    row = {
        "split": ordered["split"][0].as_py(),
        **asdict(score),
        "digest": int.from_bytes(digest[:8], "big", signed=True),
    }
    return pa.Table.from_pylist([row], _SCORE_SCHEMA)


def _doubles(table: pa.Table, name: str) -> FloatArray:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)
