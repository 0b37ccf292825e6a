"""Permutation importance of the features in the walk-forward forecasts, out of sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from gold.returns import FloatArray
from ml.features import FEATURE_NAMES, TARGET
from ml.permutation import lost_squares, shuffled_copies

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import DataFrame

    from lakehouse.tasks import TaskContext

# Of each fold: enough for two digits, and little beside the fits.
_ROWS = 4_000
_REPEATS = 5


def permutation_importances(
    context: TaskContext, folds: Sequence[tuple[PipelineModel, DataFrame]]
) -> dict[str, float]:
    """How far the out-of-sample R² against zero falls with each feature shuffled.

    Measured on a sample of each fold's test rows, chosen by a hash: the same rows on any cluster.

    Args:
        context: Names the seed.
        folds: Each model with the rows that judge it: symbol, open_time, features and target.

    Returns:
        Feature -> fall, a mean over shuffles; below zero where the forecasts do better without.
    """
    lost, total = np.zeros(len(FEATURE_NAMES)), 0.0
    for model, test in folds:
        features, outcome = _sample(test, context.settings.ml.seed)
        copies = shuffled_copies(features, _REPEATS, context.settings.ml.seed)
        stacked = np.concatenate([features[None], copies.reshape(-1, *features.shape)])
        predicted = _predict(context, model, stacked.reshape(-1, features.shape[1]))
        as_is, *shuffled = predicted.reshape(len(stacked), -1)
        lost += lost_squares(outcome, as_is, np.reshape(shuffled, copies.shape[:3]))
        total += float(np.sum(outcome**2))
    return {
        name: float(fall / total) if total else 0.0
        for name, fall in zip(FEATURE_NAMES, lost, strict=True)
    }


def _sample(test: DataFrame, seed: int) -> tuple[FloatArray, FloatArray]:
    """Features and outcome of some rows."""
    by_chance = F.xxhash64("symbol", "open_time", F.lit(seed))
    chosen = test.orderBy(by_chance, "symbol", "open_time").limit(_ROWS)
    rows = chosen.select(*FEATURE_NAMES, TARGET).toArrow()
    columns = np.column_stack([rows[name].to_numpy() for name in (*FEATURE_NAMES, TARGET)])
    return columns[:, :-1], columns[:, -1]


def _predict(context: TaskContext, model: PipelineModel, rows: FloatArray) -> FloatArray:
    """Forecasts in the order of the rows."""
    columns = {name: rows[:, place] for place, name in enumerate(FEATURE_NAMES)}
    frame = context.spark.createDataFrame(pa.table({"row": np.arange(len(rows)), **columns}))
    predicted = model.transform(frame).select("row", "prediction").toArrow().sort_by("row")
    return np.asarray(predicted["prediction"].to_numpy(), dtype=np.float64)
