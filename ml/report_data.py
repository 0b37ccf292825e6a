"""What the report shows: the newest results of one market and interval, as small pandas frames.

Nothing here grows with the number of bars: candles are only counted, in the tables that count
them already. Times are UTC. A table that does not exist yet gives an empty frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from pyspark.sql import functions as F

from bronze.contracts import ARCHIVE_FILES, REJECTED_LINES
from gold.contracts import ASSET_METRICS, CORRELATIONS, INDEX_DECISIONS, INDEX_WEIGHTS
from gold.rulebook import STATIC_INDEX
from lakehouse.contracts import TableContract
from lakehouse.errors import TableError
from lakehouse.runs import SUCCESSES, TASK_RUNS
from lakehouse.settings import Settings
from lakehouse.sql import equals
from lakehouse.tables import Lake
from ml.contracts import (
    CLUSTERS,
    FEATURE_IMPORTANCES,
    NEWEST,
    PCA_COMPONENTS,
    PCA_WINDOWS,
    PREDICTIONS,
)
from ml.factor_results import FactorResults, load_factor_results, runs_of_factors
from ml.frames import rows, to_pandas
from ml.index_results import IndexResult, load_index_results
from ml.leaders_result import load_leaders
from silver.contracts import LISTINGS, REJECTED_CANDLES

TASKS = (
    *("ingest_archive", "clean_candles", "asset_metrics", "correlations", "smart_index"),
    *("index_run", "pca", "kmeans", "gbt_features", "gbt", "score"),
)
"""Tasks whose results the report shows, in the order of the pipeline."""

_FILE_COUNTS = (
    "count(*) AS files",
    "sum(`rows`) AS rows",
    "sum(rejected_lines) AS rejected_lines",
)
# A candle can break several rules; counted by the set of them, the counts sum to the candles.
_RULES = "concat_ws(', ', array_sort(rules)) AS broken"


@dataclass(frozen=True)
class ReportData:
    """Contents of one report; a frame is empty where a table has no rows for it.

    Attributes:
        market: `spot` or `um`.
        interval: Bar length in Binance's spelling; the factor model's where there are no metrics.
        as_of: Close of the last bar used by the gold results or, without metrics, by the factor
            model, UTC.
        threshold: Correlation beyond which two symbols met in the index's tournament.
        listings: `silver.listings`, without symbols outside of the universe.
        metrics: `gold.asset_metrics` over all history at `as_of`; without any row the factor
            model is all that there is.
        correlations: symbol_a, symbol_b and rho of `gold.correlations` at `as_of`.
        weights: `gold.index_weights` of the in-sample index at `as_of`.
        decisions: `gold.index_decisions` of it.
        indices: The walk-forward indices, by name.
        torn: Names of those that are left out, for their tables are of different runs.
        pca_components: `ml.pca_components` of the newest run.
        pca_windows: `ml.pca_windows` of the same run.
        clusters: `ml.clusters` of the newest run.
        leaders: The portfolio of each month's cluster leaders of the same run, if it made one.
        kmeans_figures: What that run reported.
        importances: `ml.feature_importances` of the newest run.
        gbt_figures: What the `gbt` task of that run reported.
        forecasts: `ml.predictions` of the bar after the newest one, by the newest `score`.
        files: status, files, rows and rejected_lines: one row for each status of a file.
        rejected_lines: reason and lines.
        rejected_candles: broken (all rules that a candle broke) and candles.
        runs: The rows of `ops.task_runs` that made the above, as `runs_of` gives them.
        factors: The factor model of the market; None without one.
    """

    market: str
    interval: str
    as_of: pd.Timestamp
    threshold: float
    listings: pd.DataFrame
    metrics: pd.DataFrame
    correlations: pd.DataFrame
    weights: pd.DataFrame
    decisions: pd.DataFrame
    indices: Sequence[IndexResult]
    torn: Sequence[str]
    pca_components: pd.DataFrame
    pca_windows: pd.DataFrame
    clusters: pd.DataFrame
    leaders: IndexResult | None
    kmeans_figures: Mapping[str, str]
    importances: pd.DataFrame
    gbt_figures: Mapping[str, str]
    forecasts: pd.DataFrame
    files: pd.DataFrame
    rejected_lines: pd.DataFrame
    rejected_candles: pd.DataFrame
    runs: pd.DataFrame
    factors: FactorResults | None = None


def load_report_data(lake: Lake, settings: Settings) -> ReportData:
    """Read the newest results of the settings' market and interval.

    Gold rows are those of the newest `as_of` over all history, ML rows those of the newest run
    that did not fail. Where only the factor model was made, files, listings and runs are those of
    its candles.

    Raises:
        TableError: The warehouse has neither metrics of that market and interval nor a factor
            model of that market.
    """
    newest, factors = _newest_as_of(lake, settings), load_factor_results(lake, settings)
    if newest is None and factors is None:
        raise TableError(
            f"no gold results for {' '.join(settings.scope.values())} candles and no factor model "
            f"in {settings.warehouse}: run `candlelake run medallion` or "
            "`candlelake run factor_model` first"
        )
    if newest is None:
        settings = settings.with_candles_of("factors")
    scope = equals(settings.scope)
    at = "false" if newest is None else f"{scope} AND as_of = timestamp_micros({newest})"
    of_all = f"{at} AND lookback_days IS NULL"
    of_index = f"{at} AND index_name = '{STATIC_INDEX}'"
    metrics = rows(lake, ASSET_METRICS, of_all)
    correlations = rows(lake, CORRELATIONS, of_all)
    weights = rows(lake, INDEX_WEIGHTS, of_index)
    runs = rows(lake, TASK_RUNS, scope)
    components = _newest_run(lake, PCA_COMPONENTS, scope, "pca", runs)
    clusters = _newest_run(lake, CLUSTERS, scope, "kmeans", runs)
    importances = _newest_run(lake, FEATURE_IMPORTANCES, scope, "gbt", runs)
    forecasts = _newest_run(lake, PREDICTIONS, f"{scope} AND split = '{NEWEST}'", "score", runs)
    made = {"asset_metrics": metrics, "correlations": correlations, "smart_index": weights}
    made |= {"pca": components, "kmeans": clusters, "gbt": importances}
    made["score"] = forecasts
    found = load_index_results(lake, settings)
    shown = with_runs_of_indices(runs_of(runs, made), runs, found.whole)
    if factors:
        shown = pd.concat([shown, runs_of_factors(lake, settings)], ignore_index=True)
    return ReportData(
        **settings.scope,
        as_of=factors.as_of if factors and metrics.empty else metrics["as_of"].iloc[0],
        threshold=threshold(shown, settings),
        listings=rows(lake, LISTINGS, f"{scope} AND status IS NOT NULL"),
        metrics=metrics.sort_values("symbol", ignore_index=True),
        correlations=correlations.sort_values(["symbol_a", "symbol_b"], ignore_index=True),
        weights=weights.sort_values("rank", ignore_index=True),
        decisions=rows(lake, INDEX_DECISIONS, of_index).sort_values("symbol", ignore_index=True),
        indices=found.whole,
        torn=found.torn,
        pca_components=components.sort_values("component", ignore_index=True),
        pca_windows=_of_run(lake, PCA_WINDOWS, components).sort_values(
            ["as_of", "component"], ignore_index=True
        ),
        leaders=load_leaders(lake, settings, _run_id(clusters)),
        kmeans_figures=_figures(shown, "kmeans"),
        clusters=clusters.sort_values(["cluster", "symbol"], ignore_index=True),
        importances=importances.sort_values(
            ["importance", "feature"], ascending=[False, True], ignore_index=True
        ),
        gbt_figures=_figures(shown, "gbt"),
        forecasts=forecasts.sort_values(
            ["prediction", "symbol"], ascending=[False, True], ignore_index=True
        ),
        files=_counts(lake, ARCHIVE_FILES, scope, "status", _FILE_COUNTS),
        rejected_lines=_counts(lake, REJECTED_LINES, scope, "reason", ("count(*) AS lines",)),
        rejected_candles=_counts(lake, REJECTED_CANDLES, scope, _RULES, ("count(*) AS candles",)),
        runs=shown,
        factors=factors,
    )


def _newest_as_of(lake: Lake, settings: Settings) -> int | None:
    """The newest determination over all history, in microseconds since the epoch, if any."""
    if not lake.exists(ASSET_METRICS):
        return None
    of_all = f"{equals(settings.scope)} AND lookback_days IS NULL"
    found = lake.read(ASSET_METRICS).where(of_all).selectExpr("unix_micros(max(as_of)) AS newest")
    newest: int | None = found.toArrow()[0][0].as_py()
    return newest


def _counts(
    lake: Lake, contract: TableContract, scope: str, by: str, counts: Sequence[str]
) -> pd.DataFrame:
    """Counts for each value of an SQL expression, by that value."""
    names = [expression.split(" AS ")[-1] for expression in (by, *counts)]
    if not lake.exists(contract):
        return pd.DataFrame(columns=names)
    groups = lake.read(contract).where(scope).groupBy(F.expr(by))
    counted = groups.agg(*(F.expr(expression) for expression in counts))
    return to_pandas(counted).sort_values(names[0], ignore_index=True)


def _newest_run(
    lake: Lake, contract: TableContract, scope: str, task: str, runs: pd.DataFrame
) -> pd.DataFrame:
    """Rows of the newest run of a task that wrote rows of the scope and did not fail."""
    if not lake.exists(contract):
        return rows(lake, contract, scope)
    wrote = to_pandas(lake.read(contract).where(scope).select("run_id").distinct())["run_id"]
    done = runs[
        (runs["task"] == task) & runs["status"].isin(SUCCESSES) & runs["run_id"].isin(wrote)
    ]
    newest = "" if done.empty else done.sort_values("started_at")["run_id"].iloc[-1]
    return rows(lake, contract, f"{scope} AND {equals({'run_id': newest})}")


def _of_run(lake: Lake, contract: TableContract, made: pd.DataFrame) -> pd.DataFrame:
    """Rows of the run that made other rows; none without any."""
    return rows(lake, contract, equals({"run_id": _run_id(made)}))


def _run_id(made: pd.DataFrame) -> str:
    """The run that made rows, empty without any."""
    return "" if made.empty else str(made["run_id"].iloc[0])


def runs_of(runs: pd.DataFrame, made: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row of `ops.task_runs` for each task of the pipeline: the one whose rows are shown.

    Where rows stem from many runs, as those of bronze and silver, it is the newest that changed
    a table.

    Args:
        runs: Rows of `ops.task_runs`.
        made: Task -> the rows shown, with their run_id and, of models, their mlflow_run_id.

    Returns:
        Rows of `runs` in the order of `TASKS`, with the column mlflow_run_id, None without one.
    """
    shown = []
    for task in TASKS:
        mine, model = runs[runs["task"] == task].sort_values("started_at"), None
        if task in made:
            rows = made[task]
            mine = mine[mine["run_id"].isin(rows["run_id"])]
            model = next(iter(rows.get("mlflow_run_id", ())), None)
        else:
            mine = mine[mine["status"] == "succeeded"]
        shown.append(mine.tail(1).assign(mlflow_run_id=model))
    return pd.concat(shown, ignore_index=True)


def with_runs_of_indices(
    shown: pd.DataFrame, runs: pd.DataFrame, indices: Sequence[IndexResult]
) -> pd.DataFrame:
    """The runs shown, and those that made and logged the walk-forward indices.

    Args:
        shown: What `runs_of` gives; its run of `smart_index` made the in-sample index.
        runs: Rows of `ops.task_runs`.
        indices: Nothing is added without any, and `index_run` is left out.

    Returns:
        Rows in the order of `TASKS`, the run of the in-sample index before the others.
    """
    made = runs["run_id"].isin([index.run_id for index in indices])
    more = runs[made & (runs["task"] == "smart_index")]
    more = more[~more["run_id"].isin(shown.loc[shown["task"] == "smart_index", "run_id"])]
    logged = shown["task"] == "index_run"
    if not indices:
        return shown[~logged].reset_index(drop=True)
    # MLflow's ids are what that task reports, by index.
    ids = ["\n".join(figures.values()) for figures in shown.loc[logged, "figures"]]
    shown.loc[logged, "mlflow_run_id"] = ids
    both = pd.concat([shown, more.assign(mlflow_run_id=None)], ignore_index=True)
    order = both["task"].map(TASKS.index).sort_values(kind="stable").index
    return both.loc[order].reset_index(drop=True)


def _figures(runs: pd.DataFrame, task: str) -> dict[str, str]:
    """What a task reported; nothing when its run is not recorded."""
    mine = runs.loc[runs["task"] == task, "figures"]
    return {} if mine.empty else dict(mine.iloc[0])


def threshold(runs: pd.DataFrame, settings: Settings) -> float:
    """The threshold that the index was made with, which the settings may have left since."""
    made_with = runs.loc[runs["task"] == "smart_index", "settings"]
    if made_with.empty:
        return settings.index.correlation_threshold
    return float(json.loads(made_with.iloc[0])["index"]["correlation_threshold"])
