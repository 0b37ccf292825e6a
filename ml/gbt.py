"""The task `gbt`: ml.features -> ml.predictions, ml.feature_importances and an MLflow run.

Gradient-boosted trees predict the next bar's log return. What they are worth is measured by
walking forward; beside it stands a random split, which is optimistic. The model that is kept is
fitted to all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from math import nan
from operator import add
from typing import TYPE_CHECKING, cast

from pyspark.ml import Pipeline
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import GBTRegressor
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.errors import NotEnoughData
from lakehouse.intervals import interval_micros
from lakehouse.sql import equals
from lakehouse.tasks import TaskContext, TaskOutcome
from ml import plots
from ml.contracts import FEATURE_IMPORTANCES, FEATURES, PREDICTIONS
from ml.feature_table import complete, in_scope
from ml.features import FEATURE_NAMES, LABEL_BARS, TARGET
from ml.forecasts import score_forecasts
from ml.splits import RANDOM_SPLIT, WALK_FORWARD, Split, random_split, walk_forward
from ml.tracking import DOUBLE, TrackedRun, tracked_run
from ml.validation import Fold, ForecastScore, walk_forward_splits

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.ml.regression import GBTRegressionModel

_FORECAST = ("symbol", "open_time", TARGET, "prediction", "split")
_REPORTED = ("rmse", "zero_rmse", "oos_r2", "rank_ic")
# A fit is a hundred small jobs, between which the driver works alone.
_FITS_AT_ONCE = 2


def run_gbt(context: TaskContext) -> TaskOutcome:
    """Fit, evaluate, track and write.

    Raises:
        NotEnoughData: Too few bars for the folds.
    """
    features = complete(in_scope(context.lake.read(FEATURES), context))
    rows = features.select("symbol", "open_time", *FEATURE_NAMES, TARGET)
    splits = walk_forward(rows, _folds(context, rows))
    splits.append(random_split(rows, context.settings.ml.seed))
    with tracked_run(context, "gbt", WALK_FORWARD) as run:
        run.log_inputs(FEATURES)
        with ThreadPoolExecutor(_FITS_AT_ONCE) as pool:
            kept = pool.submit(fit_gbt, context, rows)
            # The largest first, so that no thread is left with a long fit at the end.
            judged = list(pool.map(lambda split: _judge(context, run, split), reversed(splits)))
        children = {name: child for name, child, _ in judged}
        scores = _score(context, run, {name: forecast for name, _, forecast in judged})
        for name, score in scores.items():
            children[name].log_metrics(score.metrics())
        metrics = _metrics(scores)
        run.log_metrics(metrics)
        _keep(context, run, kept.result())
    return TaskOutcome(
        f"{metrics['rows']:,.0f} predictions in {len(splits) - 1} folds, out-of-sample R2 "
        f"{metrics['oos_r2']:+.5f}, rank IC {metrics.get('rank_ic', nan):+.4f}",
        {
            name: f"{value:.6g}"
            for name, value in metrics.items()
            if name.removeprefix(f"{RANDOM_SPLIT}_") in _REPORTED
        },
    )


def fit_gbt(context: TaskContext, train: DataFrame) -> PipelineModel:
    """Fit the trees to plain columns of doubles."""
    settings = context.settings.ml
    trees = GBTRegressor(
        featuresCol="features",
        labelCol=TARGET,
        maxIter=settings.gbt.max_iter,
        maxDepth=settings.gbt.max_depth,
        seed=settings.seed,
    )
    assembler = VectorAssembler(inputCols=list(FEATURE_NAMES), outputCol="features")
    return Pipeline(stages=[assembler, trees]).fit(train)


def _folds(context: TaskContext, rows: DataFrame) -> tuple[Fold, ...]:
    opens = F.unix_micros("open_time")
    first, last = rows.agg(F.min(opens), F.max(opens)).collect()[0]
    if first is None:
        raise NotEnoughData("ml.features has no complete row: run the task gbt_features first")
    settings = context.settings.ml.gbt
    return walk_forward_splits(
        first,
        last,
        interval_micros(context.settings.archive.interval),
        folds=settings.folds,
        purge=LABEL_BARS,
        embargo=settings.embargo_bars,
    )


def _judge(
    context: TaskContext, run: TrackedRun, split: Split
) -> tuple[str, TrackedRun, DataFrame]:
    """Fit one split in a child run; the forecasts of its test rows are computed later."""
    tags = {"candlelake.evaluation": split.evaluation}
    if split.is_optimistic:
        tags["candlelake.optimistic"] = "true"
    with run.child(split.name, split.params, tags) as child:
        model = fit_gbt(context, split.train)
    forecast = model.transform(split.test).withColumn("split", F.lit(split.name))
    return split.name, child, forecast.select(*_FORECAST)


def _score(
    context: TaskContext, run: TrackedRun, forecasts: Mapping[str, DataFrame]
) -> dict[str, ForecastScore]:
    """Write the walk-forward forecasts, and score them from the table and the random split."""
    random = forecasts[RANDOM_SPLIT]
    walked = [forecast for name, forecast in forecasts.items() if name != RANDOM_SPLIT]
    stamps = {"run_id": context.run_id, "mlflow_run_id": run.mlflow_run_id}
    rows = reduce(DataFrame.unionByName, walked).withColumns(
        {name: F.lit(value) for name, value in {**stamps, **context.settings.scope}.items()}
    )
    mine = equals({"run_id": context.run_id})
    context.lake.replace(PREDICTIONS, rows, mine)
    written = context.lake.read_own(PREDICTIONS).where(mine).select(*_FORECAST)
    return score_forecasts(written.unionByName(random))


def _metrics(scores: Mapping[str, ForecastScore]) -> dict[str, float]:
    """The walk-forward metrics of all folds, and those of the random split under its name."""
    walked = reduce(add, (score for name, score in scores.items() if name != RANDOM_SPLIT))
    random = scores[RANDOM_SPLIT].metrics()
    return walked.metrics() | {f"{RANDOM_SPLIT}_{name}": value for name, value in random.items()}


def _keep(context: TaskContext, run: TrackedRun, model: PipelineModel) -> None:
    """Log the model and write its feature importances."""
    trees = cast("GBTRegressionModel", model.stages[-1])
    values = [float(value) for value in trees.featureImportances.toArray()]
    scope = " ".join(context.settings.scope.values())
    run.log_figure(plots.importances(FEATURE_NAMES, values, scope), "importances.png")
    run.log_model(model, "candlelake-gbt", dict.fromkeys(FEATURE_NAMES, DOUBLE), DOUBLE)
    rows = [
        {
            "run_id": context.run_id,
            "mlflow_run_id": run.mlflow_run_id,
            **context.settings.scope,
            "feature": feature,
            "importance": value,
        }
        for feature, value in zip(FEATURE_NAMES, values, strict=True)
    ]
    frame = context.lake.frame(FEATURE_IMPORTANCES, rows)
    context.lake.replace(FEATURE_IMPORTANCES, frame, equals({"run_id": context.run_id}))
