"""The task `gbt`: ml.features -> ml.predictions, ml.feature_importances and an MLflow run.

Gradient-boosted trees predict the next bar's log return. What they are worth is measured by
walking forward; beside it stand a ridge regression on the same rows, and a random split, which is
optimistic. The model that is kept is fitted to all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.sql import equals
from lakehouse.tasks import TaskContext, TaskOutcome
from ml import plots
from ml.contracts import FEATURE_IMPORTANCES, FEATURES, NEWEST, PREDICTIONS
from ml.feature_table import complete, in_scope
from ml.features import FEATURE_NAMES
from ml.forecasts import FORECAST_COLUMNS, ScoredForecasts, score_forecasts
from ml.gbt_evaluation import (
    GbtFits,
    Judged,
    all_forecasts,
    fit_all,
    gain_importances,
    model_result,
    permuted_importances,
)
from ml.registry import DOUBLE, Interface, Registered, register
from ml.skill import verdict
from ml.splits import RANDOM_SPLIT, WALK_FORWARD
from ml.tracking import TESTING, TrackedRun, tracked_run

if TYPE_CHECKING:
    from ml.results import ModelResult

EXPERIMENT = "gbt"
HONEST_METRIC = "oos_r2"
"""By which champions are chosen: R² against the zero forecast, walking forward, as the forecasts
are written as returns and not as ranks."""

_SKILL = "candlelake.skill"
_REPORTED = (
    *("rmse", "zero_rmse", "mae", "oos_r2", "oos_r2_mean", "directional_accuracy"),
    *("rank_ic", "rank_ic_t"),
)
_SIDES = ("", f"{RANDOM_SPLIT}_", "ridge_")


def run_gbt(context: TaskContext) -> TaskOutcome:
    """Fit, evaluate, track and write.

    Raises:
        NotEnoughData: Too few bars for a fold.
    """
    with tracked_run(context, EXPERIMENT, WALK_FORWARD) as run:
        fits = fit_all(context)
        run.log_inputs(FEATURES)
        judged_from = fits.folds[0].split.params["test_start"]
        run.log_inputs(FEATURES, purpose=TESTING, rows=f"open_time from {judged_from} UTC")
        scored = _write_and_score(context, run, fits)
        for one in fits.judged:
            _log_child(run, one, scored)
        result = model_result(context, fits, scored)
        said = verdict(result.metrics)
        run.set_tag(_SKILL, said)
        _log_result(context, run, result)
        registered = _register(context, run, result)
    return _outcome(result, said, registered)


def _write_and_score(
    context: TaskContext, run: TrackedRun, fits: GbtFits
) -> dict[str, ScoredForecasts]:
    """Write the walk-forward forecasts, and score them from the table and what stands beside."""
    stamps = {"run_id": context.run_id, "mlflow_run_id": run.mlflow_run_id}
    constants = {name: F.lit(value) for name, value in {**stamps, **context.settings.scope}.items()}
    constants["model_version"] = F.lit(None).cast("bigint")
    mine = f"{equals({'run_id': context.run_id})} AND split <> '{NEWEST}'"
    walked = all_forecasts(fits.folds).drop("train_mean").withColumns(constants)
    context.lake.replace(PREDICTIONS, walked, mine)
    written = context.lake.read_own(PREDICTIONS).where(mine)
    means = F.create_map(*(F.lit(x) for one in fits.folds for x in (one.name, one.rows.mean)))
    known = written.withColumn("train_mean", means[F.col("split")]).select(*FORECAST_COLUMNS)
    return score_forecasts(known.unionByName(all_forecasts(fits.beside)))


def _log_child(run: TrackedRun, one: Judged, scored: Mapping[str, ScoredForecasts]) -> None:
    """A run for one fit: what it was fitted to, what it was judged by, and how it did.

    An optimistic one names its scores as its parent does, so that `oos_r2` is honest everywhere.
    """
    tags, prefix = {"candlelake.evaluation": one.split.evaluation}, ""
    if one.split.is_optimistic:
        tags["candlelake.optimistic"], prefix = "true", f"{RANDOM_SPLIT}_"
    with run.child(one.name, one.split.params, tags) as child:
        child.log_inputs(FEATURES, rows=one.split.fitted)
        child.log_inputs(FEATURES, purpose=TESTING, rows=one.split.tested)
        fit = {"train_rows": float(one.rows.count), "fit_seconds": one.seconds}
        score = scored[one.name].score.metrics() if one.name in scored else {}
        child.log_metrics(fit | {f"{prefix}{name}": value for name, value in score.items()})


def _log_result(context: TaskContext, run: TrackedRun, result: ModelResult) -> None:
    """Log metrics, plots and output, and write the importances."""
    run.log_metrics(result.metrics)
    run.log_output(result.output)
    scope = " ".join(context.settings.scope.values())
    gains, falls = gain_importances(result.metrics), permuted_importances(result.metrics)
    figure = plots.importances(FEATURE_NAMES, list(gains.values()), scope)
    run.log_figure(figure, "importances.png")
    figure = plots.permutation_importances(FEATURE_NAMES, list(falls.values()), scope)
    run.log_figure(figure, "permutation_importances.png")
    rows = [
        {
            "run_id": context.run_id,
            "mlflow_run_id": run.mlflow_run_id,
            **context.settings.scope,
            "feature": feature,
            "importance": gains[feature],
            "permutation_importance": falls[feature],
        }
        for feature in FEATURE_NAMES
    ]
    frame = context.lake.frame(FEATURE_IMPORTANCES, rows)
    context.lake.replace(FEATURE_IMPORTANCES, frame, equals({"run_id": context.run_id}))


def _register(context: TaskContext, run: TrackedRun, result: ModelResult) -> Registered:
    features = complete(in_scope(context.lake.read(FEATURES), context))
    example = features.select(*FEATURE_NAMES).limit(2).toArrow().to_pandas()
    interface = Interface(dict.fromkeys(FEATURE_NAMES, DOUBLE), DOUBLE, example)
    return register(run, result.model, EXPERIMENT, interface, HONEST_METRIC)


def _outcome(result: ModelResult, said: str, registered: Registered) -> TaskOutcome:
    metrics = result.metrics
    figures = {
        side + name: f"{metrics[side + name]:.6g}"
        for side in _SIDES
        for name in _REPORTED
        if side + name in metrics
    }
    return TaskOutcome(
        f"{said}: {metrics['rows']:,.0f} predictions, walk-forward R2 "
        f"{metrics.get('oos_r2', nan):+.5f} (ridge {metrics.get('ridge_oos_r2', nan):+.5f}), "
        f"rank IC {metrics.get('rank_ic', nan):+.4f}, t {metrics.get('rank_ic_t', nan):+.1f}",
        {
            **figures,
            "model": f"{registered.name}, version {registered.version}",
            "version": registered.reason,
        },
    )
