"""The task `index_run`: the walk-forward indices of the gold tables -> an MLflow run for each.

So rulebooks can be compared there: their rules are parameters, their statistics metrics.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lakehouse.tasks import TaskContext, TaskOutcome
from ml.index_figures import index_figures
from ml.index_results import IndexResult, load_index_results, membership_changes, read_tables
from ml.plot_style import MARKETS
from ml.tracking import flat, tracked_run

EVALUATION = "walk_forward"

BENCHMARK_STATISTICS = (
    *("total_return", "cagr", "volatility", "sharpe", "sortino", "calmar", "max_drawdown"),
    *("annual_turnover", "total_cost"),
)
"""Statistics of the benchmarks that are logged beside those of the index."""


def run_index_run(context: TaskContext) -> TaskOutcome:
    """Log every walk-forward index of the market and interval; none is no failure."""
    results = load_index_results(context.lake, context.settings)
    logged = {result.name: _log(context, result) for result in results.whole}
    said = [f"{', '.join(logged)} in MLflow, after costs"] if logged else []
    if results.torn:
        names = ", ".join(results.torn)
        said.append(f"left out: {names}, for its tables are of two runs; run smart_index again")
    return TaskOutcome("; ".join(said) or "no walk-forward index", logged, unchanged=not logged)


def metrics(result: IndexResult) -> dict[str, float]:
    """The `portfolio_metrics` of an index in its tables."""
    columns = result.statistics[["index_name", "statistic", "value"]].astype({"value": float})
    return portfolio_metrics(result.name, columns.itertuples(index=False, name=None))


def portfolio_metrics(
    name: str, statistics: Iterable[tuple[str, str, float | None]]
) -> dict[str, float]:
    """Statistics of a portfolio by name, and the benchmarks' main ones behind the benchmark's.

    An undefined statistic is left out, and a date is no metric.

    Args:
        name: The portfolio.
        statistics: Whose, which and its value, of the portfolio and of its benchmarks.
    """
    return {
        statistic if of == name else f"{of}_{statistic}": float(value)
        for of, statistic, value in statistics
        if of == name or statistic in BENCHMARK_STATISTICS
        if value is not None and np.isfinite(value)
    }


def _log(context: TaskContext, result: IndexResult) -> str:
    """Log one index; returns MLflow's id of the run."""
    with tracked_run(context, "index", EVALUATION, result.name, without="index") as run:
        run.log_inputs(*read_tables(context.lake))
        run.log_params(
            {
                "rulebook": result.name,
                "rulebook_run_id": result.run_id,
                **flat(result.rules, "rulebook."),
                **_dates(result),
            }
        )
        run.log_metrics(metrics(result))
        for name, _, figure in index_figures(result, MARKETS[context.settings.archive.market]):
            run.log_figure(figure, f"{name}.png")
        changes = membership_changes(result).astype({"as_of": str})
        run.log_csv("changes.csv", {str(name): changes[name].tolist() for name in changes})
    return run.mlflow_run_id


def _dates(result: IndexResult) -> dict[str, object]:
    """Statistics of the index that are dates."""
    dated = result.statistics[
        (result.statistics["index_name"] == result.name) & result.statistics["at"].notna()
    ]
    return {
        statistic: f"{at:%Y-%m-%d %H:%M}"
        for statistic, at in zip(dated["statistic"], dated["at"], strict=True)
    }
