"""The task `gbt`: ml.features -> ml.predictions, ml.feature_importances and an MLflow run.

Gradient-boosted trees predict the next bar's log return. What they are worth is measured by
walking forward; beside it stand a random split, which is optimistic, and the fit to all rows,
whose model is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
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
from ml.tracking import DOUBLE, TrackedRun, tracked_run
from ml.validation import Fold, ForecastScore, walk_forward_splits

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.ml.regression import GBTRegressionModel

RANDOM_SPLIT = "random_split"
IN_SAMPLE = "in_sample"

_REPORTED = ("rmse", "zero_rmse", "oos_r2", "rank_ic")
_FITTED_TENTHS = 8  # of a random split's rows


@dataclass(frozen=True)
class Candidate:
    """One fit and the rows that it is judged by.

    Attributes:
        split: Its name, `fold_1`.
        evaluation: `walk_forward`, `random_split` (optimistic: it is fitted to bars that surround
            those it predicts) or `in_sample`.
        train: Rows to fit.
        test: Rows to predict.
        params: What sets it apart.
    """

    split: str
    evaluation: str
    train: DataFrame
    test: DataFrame
    params: Mapping[str, object] = field(default_factory=dict)


def run_gbt(context: TaskContext) -> TaskOutcome:
    """Fit, evaluate, track and write.

    Raises:
        NotEnoughData: Too few bars for the folds.
    """
    rows = complete(in_scope(context.lake.read(FEATURES), context)).select(
        "symbol", "open_time", *FEATURE_NAMES, TARGET
    )
    folds = _folds(context, rows)
    candidates = [
        *walk_forward(rows, folds),
        random_split(rows, context.settings.ml.seed),
        Candidate(IN_SAMPLE, IN_SAMPLE, rows, rows),
    ]
    with tracked_run(context, "gbt") as run:
        run.log_inputs(FEATURES)
        children: dict[str, TrackedRun] = {}
        forecasts: dict[str, DataFrame] = {}
        for candidate in candidates:
            tags = {"candlelake.evaluation": candidate.evaluation}
            if candidate.evaluation == RANDOM_SPLIT:
                tags["candlelake.optimistic"] = "true"
            with run.child(candidate.split, candidate.params, tags) as child:
                model = fit_gbt(context, candidate.train)
            children[candidate.split] = child
            forecasts[candidate.split] = _forecast(model, candidate)
        _write_predictions(
            context, run, [forecasts.pop(f"fold_{n}") for n, _ in enumerate(folds, 1)]
        )
        scores = score_forecasts(_union([_written_predictions(context), *forecasts.values()]))
        for split, child in children.items():
            child.log_metrics(scores[split].metrics())
        walked = reduce(add, (scores[f"fold_{n}"] for n, _ in enumerate(folds, 1)))
        run.log_metrics(_all_metrics(walked, scores))
        _keep(context, run, model)  # of the last candidate: the one fitted to all rows
    return TaskOutcome(
        f"{walked.rows:,} predictions in {len(folds)} folds, out-of-sample R2 "
        f"{walked.out_of_sample_r2:+.5f}, rank IC {walked.rank_information_coefficient:+.4f}",
        {
            name: f"{value:.6g}"
            for name, value in _all_metrics(walked, scores).items()
            if name.removeprefix(f"{RANDOM_SPLIT}_") in _REPORTED
        },
    )


def walk_forward(rows: DataFrame, folds: tuple[Fold, ...]) -> list[Candidate]:
    """One candidate for each fold: fitted to the past, judged by the block that follows."""
    opens = F.unix_micros("open_time")
    return [
        Candidate(
            f"fold_{number}",
            "walk_forward",
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


def random_split(rows: DataFrame, seed: int) -> Candidate:
    """80 % of the rows fitted, 20 % predicted, chosen by a hash: the same rows on any cluster."""
    tenth = F.pmod(F.xxhash64("symbol", "open_time", F.lit(seed)), F.lit(10))
    fitted = tenth < _FITTED_TENTHS
    return Candidate(
        RANDOM_SPLIT, RANDOM_SPLIT, rows.where(fitted), rows.where(~fitted), {"test_share": 0.2}
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


def _forecast(model: PipelineModel, candidate: Candidate) -> DataFrame:
    return model.transform(candidate.test).select(
        "symbol", "open_time", TARGET, "prediction", F.lit(candidate.split).alias("split")
    )


def _union(frames: list[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, frames)


def _mine(context: TaskContext) -> str:
    return equals({"run_id": context.run_id})


def _write_predictions(context: TaskContext, run: TrackedRun, forecasts: list[DataFrame]) -> None:
    stamped = _union(forecasts).withColumns(
        {
            "run_id": F.lit(context.run_id),
            "mlflow_run_id": F.lit(run.mlflow_run_id),
            **{name: F.lit(value) for name, value in context.settings.scope.items()},
        }
    )
    context.lake.replace(PREDICTIONS, stamped, _mine(context))


def _written_predictions(context: TaskContext) -> DataFrame:
    written = context.lake.read_own(PREDICTIONS).where(_mine(context))
    return written.select("symbol", "open_time", TARGET, "prediction", "split")


def _all_metrics(walked: ForecastScore, scores: Mapping[str, ForecastScore]) -> dict[str, float]:
    """The walk-forward metrics under their plain names, the others with their split in front."""
    metrics = walked.metrics()
    for split in (RANDOM_SPLIT, IN_SAMPLE):
        metrics |= {f"{split}_{name}": value for name, value in scores[split].metrics().items()}
    return metrics


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
    context.lake.replace(FEATURE_IMPORTANCES, frame, _mine(context))
