"""Fits of Spark's regressions to ml.features that give the same model each time.

Sums of doubles depend on their order, and so would a fit on the layout of its rows: on how many
cores read them, and on which piece is done first. Here rows are laid out by what they are, in a
number of pieces that depends on nothing but how many they are, and sorted within each. On one
machine the same rows then give the same model, to the last bit. So they do on a cluster with two
pieces, whose sum has no order; of more, several executors may change the last digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.ml import Pipeline
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import GBTRegressor, LinearRegression
from pyspark.sql import functions as F

from ml.features import FEATURE_NAMES, TARGET

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import DataFrame

    from lakehouse.tasks import TaskContext

KEY = ("symbol", "open_time")
_FEWEST_PIECES = 2
_ROWS_IN_PIECE = 1 << 18

# Sums of decimals are exact, so that they do not depend on their order.
_EXACT = "decimal(28, 18)"


@dataclass(frozen=True)
class TrainingRows:
    """What is known of the rows of one fit.

    Attributes:
        count: How many there are.
        mean: Mean of their targets.
    """

    count: int
    mean: float


def training_rows(train: DataFrame) -> TrainingRows:
    """Count the rows of a fit, and average their targets."""
    total = F.sum(F.col(TARGET).cast(_EXACT)).cast("double")
    count, summed = train.agg(F.count(TARGET), total).collect()[0]
    return TrainingRows(count, summed / count)


def fit_gbt(context: TaskContext, train: DataFrame, count: int) -> PipelineModel:
    """Fit gradient-boosted trees.

    Args:
        context: Names the number of trees, their depth and the seed.
        train: symbol, open_time, features and target, none of them NULL.
        count: How many rows there are.
    """
    settings = context.settings.ml
    trees = GBTRegressor(
        featuresCol="features",
        labelCol=TARGET,
        maxIter=settings.gbt.max_iter,
        maxDepth=settings.gbt.max_depth,
        seed=settings.seed,
    )
    pieces = max(_FEWEST_PIECES, -(-count // _ROWS_IN_PIECE))
    return Pipeline(stages=[_assembler(), trees]).fit(laid_out(train, pieces))


def fit_ridge(context: TaskContext, train: DataFrame) -> PipelineModel:
    """Fit a ridge regression, by its normal equations.

    Args:
        context: Names the penalty, Spark's `regParam`: on standardised features and target it is
            `regParam` over the target's standard deviation, times the number of rows.
        train: symbol, open_time, features and target, none of them NULL.
    """
    line = LinearRegression(
        featuresCol="features",
        labelCol=TARGET,
        elasticNetParam=0.0,
        regParam=context.settings.ml.gbt.ridge_penalty,
        solver="normal",
    )
    # Its one pass adds up pieces in the order in which they are done.
    return Pipeline(stages=[_assembler(), line]).fit(laid_out(train, _FEWEST_PIECES))


def laid_out(rows: DataFrame, pieces: int) -> DataFrame:
    """Rows in so many pieces, the same in each and in the same order, wherever they were read."""
    return rows.repartition(pieces, *KEY).sortWithinPartitions(*KEY)


def _assembler() -> VectorAssembler:
    return VectorAssembler(inputCols=list(FEATURE_NAMES), outputCol="features")
