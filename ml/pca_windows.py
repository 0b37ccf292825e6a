"""Principal components of trailing windows: silver.candles -> ml.pca_windows and child runs.

One window ends with each month. How much of a window's variance its first component explains says
how much the market moved as one. Each window is worked on by one task of an executor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from gold.calendar import rebalance_dates
from gold.panel import PANEL_COLUMNS
from gold.windows import by_date, in_windows
from lakehouse.intervals import MICROS_PER_DAY, instant, interval_micros
from lakehouse.sql import equals
from ml.contracts import PCA_WINDOWS
from ml.principal_components import PrincipalComponents, WindowComponents, window_components

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gold.returns import IntArray
    from lakehouse.settings import Settings
    from lakehouse.tasks import TaskContext
    from ml.tracking import TrackedRun

_WINDOW_DDL = (
    "as_of bigint, symbols array<string>, bars bigint, explained array<double>, "
    "loadings array<double>, skipped string"
)
_WINDOW_SCHEMA = pa.schema(
    [
        ("as_of", pa.int64()),
        ("symbols", pa.list_(pa.string())),
        ("bars", pa.int64()),
        ("explained", pa.list_(pa.float64())),
        ("loadings", pa.list_(pa.float64())),
        ("skipped", pa.string()),
    ]
)


def window_dates(settings: Settings, first_open: int, last_open: int) -> IntArray:
    """Ends of the windows, UTC microseconds: of the months whose lookback the data cover in full.

    Args:
        settings: The interval and `ml.pca.lookback_days`.
        first_open: Open of the market's first bar, UTC microseconds.
        last_open: Open of its last bar.
    """
    interval, lookback = settings.archive.interval, settings.ml.pca.lookback_days
    return rebalance_dates(first_open, last_open, interval, "monthly", lookback)


def pca_windows(
    context: TaskContext, candles: DataFrame, dates: IntArray
) -> tuple[WindowComponents, ...]:
    """The components of each window, those that were passed over included.

    Args:
        context: The session and the settings of `ml.pca`.
        candles: `PANEL_COLUMNS` of one market.
        dates: Ends of the windows, ascending.
    """
    if not dates.size:
        return ()
    lookback = context.settings.ml.pca.lookback_days * MICROS_PER_DAY
    windows = [(date, date - lookback, date) for date in dates.tolist()]
    within = in_windows(context.spark, candles.select(*PANEL_COLUMNS), windows)
    grouped = within.groupBy("as_of").applyInArrow(_of_window(context.settings), _WINDOW_DDL)
    found = by_date(grouped.toArrow())
    nothing = pa.Table.from_pylist([], _WINDOW_SCHEMA)
    return tuple(_window(date, found.get(date, nothing)) for date in dates.tolist())


def track_windows(context: TaskContext, run: TrackedRun, windows: Sequence[WindowComponents]) -> None:
    """Log each window as a child run, and the share of the first component as a series.

    Windows that were passed over are named in `windows.csv` with the reason.
    """
    settings = context.settings.ml.pca
    for window in windows:
        if window.found is None:
            continue
        day = f"{instant(window.as_of):%Y-%m-%d}"
        params = {
            "as_of": day,
            "lookback_days": settings.lookback_days,
            "standardise": settings.standardise,
        }
        with run.child(f"window_{day}", params, {"candlelake.evaluation": "in_sample"}) as child:
            shares = window.found.explained.tolist()
            named = {f"explained_variance_{place}": v for place, v in enumerate(shares, start=1)}
            sizes = {"symbols": len(window.symbols), "bars": window.bars}
            child.log_metrics({**named, "cumulative_variance": sum(shares), **sizes})
            child.log_csv("loadings.csv", loading_columns(window.symbols, window.found.loadings))
    made = [window for window in windows if window.found]
    first = [window.found.explained[0] for window in made if window.found]
    run.log_series("first_component_share", [window.as_of for window in made], first)
    run.log_csv(
        "windows.csv",
        {
            "as_of": [f"{instant(window.as_of):%Y-%m-%d}" for window in windows],
            "symbols": [len(window.symbols) for window in windows],
            "bars": [window.bars for window in windows],
            "first_component_share": [w.found.explained[0] if w.found else "" for w in windows],
            "skipped": [window.skipped for window in windows],
        },
    )


def write_windows(
    context: TaskContext, mlflow_run_id: str, windows: Sequence[WindowComponents]
) -> None:
    """Put the components of the windows into ml.pca_windows."""
    rows = [
        {
            "run_id": context.run_id,
            "mlflow_run_id": mlflow_run_id,
            **context.settings.scope,
            "as_of": instant(window.as_of),
            "lookback_days": context.settings.ml.pca.lookback_days,
            "symbols": len(window.symbols),
            "bars": window.bars,
            "component": place,
            "explained_variance": share,
            "cumulative_variance": cumulative,
        }
        for window in windows
        if window.found is not None
        for place, (share, cumulative) in enumerate(_cumulated(window.found), start=1)
    ]
    frame = context.lake.frame(PCA_WINDOWS, rows)
    context.lake.replace(PCA_WINDOWS, frame, equals({"run_id": context.run_id}))


def loading_columns(
    symbols: Sequence[str], loadings: Sequence[Sequence[float]] | np.ndarray
) -> dict[str, Sequence[object]]:
    """Loadings as columns of a CSV file: symbol, then each component."""
    columns = {f"component_{place}": list(row) for place, row in enumerate(loadings, start=1)}
    return {"symbol": list(symbols), **columns}


def _of_window(settings: Settings) -> Callable[[pa.Table], pa.Table]:
    """Of one window's candles, one row with its components."""
    pca = settings.ml.pca
    window_bars = pca.lookback_days * MICROS_PER_DAY // interval_micros(settings.archive.interval)

    def of_window(candles: pa.Table) -> pa.Table:
        window = window_components(
            candles["as_of"][0].as_py(),
            candles,
            window_bars=window_bars,
            min_coverage=pca.min_coverage,
            components=pca.components,
            standardise=pca.standardise,
        )
        row = {
            "as_of": window.as_of,
            "symbols": list(window.symbols),
            "bars": window.bars,
            "explained": window.found.explained.tolist() if window.found else [],
            "loadings": window.found.loadings.ravel().tolist() if window.found else [],
            "skipped": window.skipped,
        }
        return pa.Table.from_pylist([row], _WINDOW_SCHEMA)

    return of_window


def _window(as_of: int, rows: pa.Table) -> WindowComponents:
    """What `_of_window` made of one window; a window without a candle has no row."""
    if not rows.num_rows:
        return WindowComponents(as_of, (), 0, None, "no candle")
    [row] = rows.to_pylist()
    symbols, explained = tuple(row["symbols"]), np.array(row["explained"])
    loadings = np.array(row["loadings"]).reshape(explained.size, len(symbols))
    found = None if row["skipped"] else PrincipalComponents(explained, loadings)
    return WindowComponents(as_of, symbols, row["bars"], found, row["skipped"])


def _cumulated(found: PrincipalComponents) -> list[tuple[float, float]]:
    return list(zip(found.explained.tolist(), np.cumsum(found.explained).tolist(), strict=True))
