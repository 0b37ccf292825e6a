"""Principal components of trailing windows: silver.candles -> ml.pca_windows and child runs.

One window ends with each month. How much of a window's variance its first component explains says
how much the market moved as one; of standardised returns, as otherwise a few volatile newcomers
own the variance. Each window is worked on by one task of an executor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from gold.calendar import rebalance_dates
from gold.panel import PANEL_COLUMNS
from gold.windows import by_date, in_windows
from lakehouse.intervals import MICROS_PER_DAY, instant, interval_micros
from lakehouse.sql import equals
from ml import pca_plots
from ml.contracts import PCA_WINDOWS
from ml.principal_components import PrincipalComponents, WindowComponents, window_components
from silver.contracts import CANDLES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from gold.returns import FloatArray, IntArray
    from lakehouse.settings import Settings
    from lakehouse.tasks import TaskContext
    from ml.tracking import TrackedRun

MARKET_INTEGRATION: Final = "market_integration"
"""The series that a run logs: the share of the first component of standardised returns."""

_WINDOW_DDL = (
    "as_of bigint, symbols array<string>, bars bigint, explained array<double>, "
    "loadings array<double>, integration array<double>, skipped string"
)
_WINDOW_SCHEMA = pa.schema(
    [
        ("as_of", pa.int64()),
        ("symbols", pa.list_(pa.string())),
        ("bars", pa.int64()),
        ("explained", pa.list_(pa.float64())),
        ("loadings", pa.list_(pa.float64())),
        ("integration", pa.list_(pa.float64())),
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


def track_windows(
    context: TaskContext, run: TrackedRun, windows: Sequence[WindowComponents], subtitle: str
) -> None:
    """Log each window as a child run, and how much the market moved as one as a series.

    Windows that were passed over are named in `windows.csv` with the reason.
    """
    settings = context.settings.ml.pca
    for window in windows:
        if window.found is None:
            continue
        day = _day(window)
        params = {
            "as_of": day,
            "lookback_days": settings.lookback_days,
            "standardise": settings.standardise,
        }
        start = instant(window.as_of - settings.lookback_days * MICROS_PER_DAY)
        with run.child(f"window_{day}", params, {"candlelake.evaluation": "in_sample"}) as child:
            rows = f"open_time from {start:%Y-%m-%d} to before {day} UTC"
            child.log_inputs(CANDLES, rows=rows)
            shares = window.found.explained.tolist()
            named = {f"explained_variance_{place}": v for place, v in enumerate(shares, start=1)}
            sizes = {"symbols": len(window.symbols), "bars": window.bars}
            told = {MARKET_INTEGRATION: float(window.integration[0]), **sizes}
            child.log_metrics({**named, "cumulative_variance": sum(shares), **told})
            loadings = enumerate(window.found.loadings.tolist(), start=1)
            columns = {f"component_{place}": values for place, values in loadings}
            child.log_csv("loadings.csv", {"symbol": window.symbols, **columns})
    dates, integration = _integration(windows)
    if dates:
        run.log_series(MARKET_INTEGRATION, dates, integration[:, 0].tolist())
        about = f"{subtitle}, windows of {settings.lookback_days} days"
        times = np.array(dates, dtype="datetime64[us]")
        figure = pca_plots.market_integration(times, integration, about)
        run.log_figure(figure, f"{MARKET_INTEGRATION}.png")
    run.log_csv(
        "windows.csv",
        {
            "as_of": [_day(window) for window in windows],
            "symbols": [len(window.symbols) for window in windows],
            "bars": [window.bars for window in windows],
            MARKET_INTEGRATION: [w.integration[0] if w.found else "" for w in windows],
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
            "standardised_variance": float(window.integration[place - 1]),
        }
        for window in windows
        if window.found is not None
        for place, (share, cumulative) in enumerate(_cumulated(window.found), start=1)
    ]
    frame = context.lake.frame(PCA_WINDOWS, rows)
    context.lake.replace(PCA_WINDOWS, frame, equals({"run_id": context.run_id}))


def window_figures(windows: Sequence[WindowComponents]) -> dict[str, str]:
    """What the windows gave, for the summary; the reason of those that were passed over."""
    dates, integration = _integration(windows)
    figures = {}
    if dates:
        low, high = integration[:, 0].min(), integration[:, 0].max()
        named = f"first component of {len(dates)} windows, standardised"
        figures[named] = f"{low:.1%} to {high:.1%}"
    skipped = [f"{_day(window)}: {window.skipped}" for window in windows if window.skipped]
    if skipped:
        figures["windows passed over"] = "; ".join(skipped)
    if not windows:
        figures["windows"] = "none: the candles cover no ml.pca.lookback_days before a month's end"
    return figures


def _integration(windows: Sequence[WindowComponents]) -> tuple[list[int], FloatArray]:
    """Ends of the windows that were not passed over, and (W, k) shares of standardised returns."""
    made = [(window.as_of, window.integration) for window in windows if window.found]
    return [as_of for as_of, _ in made], np.array([shares for _, shares in made])


def _day(window: WindowComponents) -> str:
    return f"{instant(window.as_of):%Y-%m-%d}"


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
            "integration": window.integration.tolist(),
            "skipped": window.skipped,
        }
        return pa.Table.from_pylist([row], _WINDOW_SCHEMA)

    return of_window


def _window(as_of: int, rows: pa.Table) -> WindowComponents:
    """What `_of_window` made of one window; a window without a candle has no row."""
    if not rows.num_rows:
        return WindowComponents(as_of, (), 0, None, np.empty(0), "no candle")
    [row] = rows.to_pylist()
    symbols, explained = tuple(row["symbols"]), np.array(row["explained"])
    loadings = np.array(row["loadings"]).reshape(explained.size, len(symbols))
    found = None if row["skipped"] else PrincipalComponents(explained, loadings)
    integration = np.array(row["integration"])
    return WindowComponents(as_of, symbols, row["bars"], found, integration, row["skipped"])


def _cumulated(found: PrincipalComponents) -> list[tuple[float, float]]:
    return list(zip(found.explained.tolist(), np.cumsum(found.explained).tolist(), strict=True))
