"""The report: one HTML page that needs nothing else, and the results as CSV files.

Numbers in the CSV files are written with all their digits, times as ISO 8601 in UTC, and a NULL
as an empty field.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pandas as pd

from gold.rulebook import STATIC_INDEX
from lakehouse.tasks import TaskContext, TaskOutcome
from ml.factor_section import factor_exports
from ml.index_results import membership_changes
from ml.report_data import ReportData, load_report_data
from ml.report_page import render

REPORT_FILE = "report.html"


def run_report(context: TaskContext) -> TaskOutcome:
    """Write the report of the newest results into `report.folder`.

    Raises:
        TableError: The warehouse has neither gold results of the settings' market and interval nor
            a factor model of the market.
    """
    data = load_report_data(context.lake, context.settings)
    page = write_report(Path(context.settings.report.folder), data)
    return TaskOutcome(f"wrote {page.absolute()} and {len(exports(data))} CSV files beside it")


def write_report(folder: Path, data: ReportData) -> Path:
    """Write the page and the CSV files, each complete or not at all.

    Args:
        folder: Made if it does not exist; older files of the same names are replaced.
        data: What to show.

    Returns:
        Path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in exports(data).items():
        _write_whole(folder / name, frame.to_csv(index=False, lineterminator="\n"))
    page = folder / REPORT_FILE
    _write_whole(page, render(data))
    return page


def exports(data: ReportData) -> dict[str, pd.DataFrame]:
    """The CSV files by name; a section without rows is a file with its header alone."""
    leaders = data.clusters[data.clusters["is_leader"].astype(bool)]
    portfolio = leaders[["symbol", "cluster", "sharpe"]].assign(weight=1 / max(len(leaders), 1))
    weights = data.weights.assign(
        as_of=data.weights["as_of"].map(_iso), index_name=STATIC_INDEX, evaluation="in_sample"
    )
    measures = ["annual_return", "annual_volatility", "sharpe"]
    return {
        "smart_index.csv": weights[
            [
                *("index_name", "evaluation", "as_of"),
                *("symbol", "rank", "weight", "sharpe", "annual_volatility"),
            ]
        ],
        "kmeans_clusters.csv": data.clusters[["symbol", "cluster", "is_leader", *measures]],
        "kmeans_portfolio.csv": portfolio[["symbol", "cluster", "weight", "sharpe"]],
        "pca_components.csv": data.pca_components[
            ["component", "explained_variance", "cumulative_variance"]
        ],
        "pca_windows.csv": data.pca_windows.assign(as_of=data.pca_windows["as_of"].map(_iso))[
            [
                *("as_of", "lookback_days", "symbols", "component"),
                *("explained_variance", "standardised_variance"),
            ]
        ],
        "gbt_feature_importance.csv": data.importances[
            ["feature", "importance", "permutation_importance"]
        ],
        "gbt_forecasts.csv": data.forecasts.assign(open_time=data.forecasts["open_time"].map(_iso))[
            ["symbol", "open_time", "prediction", "model_version"]
        ],
        **_index_exports(data),
        **_factor_exports(data),
    }


_INDEX_EXPORTS = {
    "index_levels_daily.csv": ["index_name", "open_time", "level", "drawdown"],
    "index_statistics.csv": ["index_name", "statistic", "value", "at"],
    "index_weights.csv": ["as_of", "symbol", "rank", "weight"],
    "index_changes.csv": ["as_of", "change", "symbol", "weight", "decision", "rule", "detail"],
}


def _index_exports(data: ReportData) -> dict[str, pd.DataFrame]:
    """The walk-forward indices' files, each of all of them, behind the column `rulebook`."""
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in _INDEX_EXPORTS}
    for index in data.indices:
        frames = (index.levels, index.statistics, index.weights, membership_changes(index))
        for (name, columns), frame in zip(_INDEX_EXPORTS.items(), frames, strict=True):
            shown = frame[columns].copy()
            for time in {"as_of", "at", "open_time"} & set(columns):
                shown[time] = shown[time].map(_iso, na_action="ignore")
            shown.insert(0, "rulebook", index.name)
            parts[name].append(shown)
    empty = {name: pd.DataFrame(columns=["rulebook", *_INDEX_EXPORTS[name]]) for name in parts}
    return {name: pd.concat(found) if found else empty[name] for name, found in parts.items()}


def _factor_exports(data: ReportData) -> dict[str, pd.DataFrame]:
    """The factor model's files; none without one."""
    if data.factors is None:
        return {}
    return {
        name: frame.assign(as_of=frame["as_of"].map(_iso))
        for name, frame in factor_exports(data.factors).items()
    }


def _iso(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _write_whole(path: Path, text: str) -> None:
    """Write under another name and rename, so that nobody ever reads half a file."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
