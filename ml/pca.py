"""The task `pca`: silver.candles -> ml.pca_components and an MLflow run.

Spark ML's PCA, on the covariance of the log returns: rows are the bars at which any symbol has a
return, columns all symbols, a missing return is 0. In-sample: it uses every bar there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import PCA, StandardScaler
from pyspark.ml.functions import array_to_vector
from pyspark.sql import functions as F

from gold.panel import PANEL_COLUMNS, returns_panel
from gold.returns import FloatArray, IntArray
from gold.statistics import scoped_candles
from lakehouse.errors import NotEnoughData
from lakehouse.sql import equals
from lakehouse.tasks import TaskContext, TaskOutcome
from ml import pca_plots, plots
from ml.contracts import PCA_COMPONENTS
from ml.held_out_variance import held_out_variance
from ml.pca_windows import (
    pca_windows,
    track_windows,
    window_dates,
    window_figures,
    write_windows,
)
from ml.principal_components import oriented
from ml.registry import VECTOR, Interface, register
from ml.results import ModelResult
from ml.tracking import TrackedRun, tracked_run
from silver.contracts import CANDLES

if TYPE_CHECKING:
    from pyspark.ml.feature import PCAModel
    from pyspark.sql import DataFrame

    from lakehouse.settings import PcaSettings

HONEST_METRIC = "held_out_variance"
"""By which champions are chosen: the variance of the last fifth of the bars that the components of
the first four fifths explain, over the symbols that these cover. What all bars explain of
themselves is in-sample."""

_ROWS_DDL = "open_us bigint, returns array<double>"


def run_pca(context: TaskContext) -> TaskOutcome:
    """Fit, track and write the components.

    Raises:
        NotEnoughData: Fewer symbols or bars than components, or no price ever moved.
    """
    components = context.settings.ml.pca.components
    subtitle = " ".join(context.settings.scope.values())
    with tracked_run(context, "pca", "in_sample") as run:
        result = pca_result(context)
        run.log_inputs(CANDLES)
        explained = np.array([result.metrics[_explained(place)] for place in range(components)])
        cumulative = np.cumsum(explained)
        _track(run, result, explained, cumulative, subtitle)
        rows = [
            {
                "run_id": context.run_id,
                "mlflow_run_id": run.mlflow_run_id,
                **context.settings.scope,
                "component": place + 1,
                "explained_variance": float(explained[place]),
                "cumulative_variance": float(cumulative[place]),
            }
            for place in range(components)
        ]
        context.lake.replace(
            PCA_COMPONENTS,
            context.lake.frame(PCA_COMPONENTS, rows),
            equals({"run_id": context.run_id}),
        )
        candles = scoped_candles(context)
        windows = pca_windows(context, candles, _window_dates(context, candles))
        track_windows(context, run, windows, subtitle)
        write_windows(context, run.mlflow_run_id, windows)
    symbols = f"{result.output.num_rows:,} symbols"
    return TaskOutcome(
        f"{components} components of {symbols} explain {cumulative[-1]:.1%}",
        {
            "first component": f"{explained[0]:.1%}",
            "all components": f"{cumulative[-1]:.1%}",
            **window_figures(windows),
        },
    )


def pca_result(context: TaskContext) -> ModelResult:
    """Fit the components of all history.

    Returns:
        The output has a row for each symbol, in their order, with its loading on each component.

    Raises:
        NotEnoughData: Fewer symbols or bars than components, or no price ever moved.
    """
    components = context.settings.ml.pca.components
    candles = scoped_candles(context)
    symbols = _symbols(candles, components)
    fitted = fit_pca(returns_rows(candles), components, context.settings.ml.pca.standardise)
    model = cast("PCAModel", fitted.stages[-1])
    explained = np.asarray(model.explainedVariance.toArray())
    if not np.isfinite(explained).all():
        raise NotEnoughData("no symbol's close ever changes, so there is no variance to explain")
    metrics = {_explained(place): float(value) for place, value in enumerate(explained)}
    metrics["cumulative_variance"] = float(np.cumsum(explained)[-1])
    held_out = _held_out(candles, context.settings.ml.pca)
    if np.isfinite(held_out):
        metrics[HONEST_METRIC] = held_out
    loadings = np.asarray(model.pc.toArray())
    columns = {f"component_{place + 1}": loadings[:, place] for place in range(components)}
    output = pa.table({"symbol": symbols, **columns})
    return ModelResult(metrics, output, fitted)


def _explained(place: int) -> str:
    """Name of the metric of the component at a place from 0."""
    return f"explained_variance_{place + 1}"


def returns_rows(candles: DataFrame) -> DataFrame:
    """Log returns as one row for each bar: open_us and returns, an array in symbol order.

    The matrix is laid out in one task of an executor, as all of a bar must meet there.
    """
    panel = candles.select("market", *PANEL_COLUMNS).groupBy("market")
    return panel.applyInArrow(_returns_rows, _ROWS_DDL)


def _held_out(candles: DataFrame, settings: PcaSettings) -> float:
    """What later returns owe to the components of earlier ones, in one task as the layout is."""

    def of_market(candles: pa.Table) -> pa.Table:
        share = held_out_variance(
            candles,
            components=settings.components,
            min_coverage=settings.min_coverage,
            standardise=settings.standardise,
        )
        return pa.table({"share": [share]})

    panel = candles.select("market", *PANEL_COLUMNS).groupBy("market")
    return float(panel.applyInArrow(of_market, "share double").collect()[0][0])


def fit_pca(rows: DataFrame, components: int, standardise: bool) -> PipelineModel:
    """Fit PCA to rows of `returns_rows`.

    The fit passes over its input several times. The shuffle keeps the matrix on disk meanwhile,
    so that it is laid out once. It stays in one piece and in the order of time: sums of pieces
    would be added up in the order in which these are done, and differ in the last bits.
    """
    ordered = rows.repartition(1).sortWithinPartitions("open_us")
    vectors = ordered.select(array_to_vector(F.col("returns")).alias("returns"))
    # `prediction` is the column that MLflow returns from a loaded model.
    pca = PCA(k=components, inputCol="returns", outputCol="prediction")
    if not standardise:
        return Pipeline(stages=[pca]).fit(vectors)
    scaler = StandardScaler(
        inputCol="returns", outputCol="standardised", withMean=False, withStd=True
    )
    return Pipeline(stages=[scaler, pca.setInputCol(scaler.getOutputCol())]).fit(vectors)


def _returns_rows(candles: pa.Table) -> pa.Table:
    panel = returns_panel(candles)
    bars, symbols = panel.matrix.shape
    starts = pa.array(np.arange(0, bars * symbols + 1, symbols, dtype=np.int32))
    returns = pa.ListArray.from_arrays(starts, pa.array(panel.matrix.ravel()))
    return pa.table({"open_us": pa.array(panel.times), "returns": returns})


def _symbols(candles: DataFrame, components: int) -> list[str]:
    """All symbols in the order of the matrix's columns."""
    bars = {row[0]: row[1] for row in candles.groupBy("symbol").count().collect()}
    longest = max(bars.values(), default=0)
    if len(bars) < components or longest <= components + 1:
        raise NotEnoughData(
            f"{len(bars)} symbols with at most {longest} bars are too few for {components} "
            "principal components: widen the universe or the months, or lower ml.pca.components"
        )
    return sorted(bars)


def _window_dates(context: TaskContext, candles: DataFrame) -> IntArray:
    """Ends of the windows that the candles cover."""
    first, last = candles.agg(F.min("open_us"), F.max("open_us")).collect()[0]
    return window_dates(context.settings, first, last)


def _track(
    run: TrackedRun,
    result: ModelResult,
    explained: FloatArray,
    cumulative: FloatArray,
    scope: str,
) -> None:
    run.log_metrics(result.metrics)
    run.log_figure(plots.scree(explained, cumulative, scope), "scree.png")
    symbols, columns = result.output["symbol"].to_pylist(), result.output.columns[1:]
    loadings = oriented(np.array([column.to_numpy() for column in columns]))
    heatmap = pca_plots.loadings_heatmap(symbols, loadings, explained, scope)
    run.log_figure(heatmap, "loadings.png")
    run.log_output(result.output)
    still = [[0.0] * result.output.num_rows]  # a bar at which no price moved
    interface = Interface({"returns": VECTOR}, VECTOR, pd.DataFrame({"returns": still}))
    register(run, result.model, "pca", interface, HONEST_METRIC)
