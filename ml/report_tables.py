"""The report's tables: frames of numbers turned into columns of text.

Numbers have thousands apart, a true minus sign and no negative zero; NULL and NaN are a dash.
Shares, returns and volatilities are shown in per cent, the latter two per year.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from ml.report_data import ReportData

CLOSEST_PAIRS = 10

_DASH = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"

_RANDOM_SPLIT, _RIDGE = "random_split_", "ridge_"
_GBT_METRICS = {
    "rmse": "Root mean squared error",
    "zero_rmse": "Root mean squared error of the zero forecast",
    "mae": "Mean absolute error",
    "oos_r2": "R\N{SUPERSCRIPT TWO} against the zero forecast",
    "oos_r2_mean": "R\N{SUPERSCRIPT TWO} against the mean forecast",
    "directional_accuracy": "Directional accuracy, a share",
    "rank_ic": "Rank information coefficient",
    "rank_ic_t": "Its t-statistic",
}


@dataclass(frozen=True)
class Column:
    """How a column is shown: its title, and whether it holds numbers, which go flush right."""

    title: str
    numeric: bool


@dataclass(frozen=True)
class Table:
    """A table of text."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


def percent(value: float) -> str:
    """A fraction in per cent: 0.5 is 50.0%."""
    return _DASH if pd.isna(value) else _signed(f"{round(value, 3) + 0.0:,.1%}")


def ratio(value: float) -> str:
    """A number with two decimals."""
    return _DASH if pd.isna(value) else _signed(f"{round(value, 2) + 0.0:,.2f}")


def precise(value: float) -> str:
    """A number with four significant digits."""
    return _DASH if pd.isna(value) else _signed(f"{value:.4g}")


def _hundredfold(value: float) -> str:
    """A small fraction in per cent, with four significant digits."""
    return precise(value * 100)


def count(value: float) -> str:
    """A whole number."""
    return _DASH if pd.isna(value) else f"{value:,.0f}"


def text(value: str | None) -> str:
    """A text as it is."""
    return _DASH if pd.isna(value) else str(value)


def minute(value: pd.Timestamp) -> str:
    """A time in UTC, to the minute."""
    return _DASH if pd.isna(value) else f"{value:%Y-%m-%d %H:%M}"


def versions(value: Mapping[str, int]) -> str:
    """Tables with their Delta versions, a line each."""
    return "\n".join(f"{table} v{version}" for table, version in sorted(value.items())) or _DASH


def short(value: str) -> str:
    """The first digits of a digest."""
    return value[:12]


def _signed(digits: str) -> str:
    return digits.replace("-", _MINUS)


Shown = tuple[str, str, Callable[..., str]]

_SYMBOL: Shown = ("symbol", "Symbol", text)
_MEASURES: tuple[Shown, ...] = (
    ("annual_return", "Log return p.a.", percent),
    ("annual_volatility", "Volatility p.a.", percent),
    ("sharpe", "Sharpe", ratio),
)
_HISTORY: tuple[Shown, ...] = (
    ("max_drawdown", "Max. drawdown", percent),
    ("bars", "Bars", count),
)


def report_tables(data: ReportData) -> dict[str, Table]:
    """All tables of the report by name; a table may have no rows."""
    return {
        **_index_tables(data),
        **_cluster_tables(data),
        "pairs": table(
            data.correlations.sort_values("rho", ascending=False, kind="stable")[:CLOSEST_PAIRS],
            ("symbol_a", "Symbol", text),
            ("symbol_b", "Symbol", text),
            ("rho", "Correlation", ratio),
        ),
        "gbt": _gbt_table(data.gbt_figures),
        "forecasts": table(
            data.forecasts,
            _SYMBOL,
            ("prediction", "Log return of the next bar, %", _hundredfold),
        ),
        "files": table(
            data.files,
            ("status", "Status", text),
            ("files", "Files", count),
            ("rows", "Rows", count),
            ("rejected_lines", "Rejected lines", count),
        ),
        "lines": table(data.rejected_lines, ("reason", "Reason", text), ("lines", "Lines", count)),
        "candles": table(
            data.rejected_candles, ("broken", "Rules broken", text), ("candles", "Candles", count)
        ),
        "runs": table(
            data.runs,
            ("task", "Task", text),
            ("run_id", "Run", text),
            ("ended_at", "Ended (UTC)", minute),
            ("read_versions", "Delta versions read", versions),
            ("written_versions", "Written", versions),
            ("code_version", "Code", text),
            ("settings_digest", "Settings", short),
            ("mlflow_run_id", "MLflow run", text),
        ),
    }


def _index_tables(data: ReportData) -> dict[str, Table]:
    """Members, who was dropped for whom, and every symbol with the decision on it."""
    known = data.metrics[["symbol", "annual_return", "max_drawdown", "bars"]]
    why = data.decisions[["symbol", "decision", "rule", "detail"]]
    everything = data.metrics.merge(why, on="symbol", how="outer")
    return {
        "members": table(
            data.weights.merge(known, on="symbol", how="left"),
            ("rank", "Rank", count),
            _SYMBOL,
            ("weight", "Weight", percent),
            *_MEASURES,
            *_HISTORY,
        ),
        "dropped": table(
            everything[everything["rule"] == "correlation"],
            _SYMBOL,
            ("sharpe", "Sharpe", ratio),
            ("detail", "In whose favour, and why", text),
        ),
        "symbols": table(
            everything.sort_values("sharpe", ascending=False, kind="stable"),
            _SYMBOL,
            *_MEASURES,
            *_HISTORY,
            ("median_daily_quote_volume", "Median daily volume", count),
            ("decision", "Decision", text),
            ("detail", "Why", text),
        ),
    }


def _cluster_tables(data: ReportData) -> dict[str, Table]:
    """Means of each cluster, and the portfolio of their leaders at equal weights."""
    clusters = data.clusters
    measures = [name for name, _, _ in _MEASURES]
    means = clusters.groupby("cluster")[measures].mean()
    means["symbols"] = clusters.groupby("cluster").size()
    leaders = clusters[clusters["is_leader"].astype(bool)]
    return {
        "clusters": table(
            means.reset_index(),
            ("cluster", "Cluster", count),
            ("symbols", "Symbols", count),
            *((name, f"{title}, mean", show) for name, title, show in _MEASURES),
        ),
        "leaders": table(
            leaders.assign(weight=1 / max(len(leaders), 1)),
            ("cluster", "Cluster", count),
            ("symbol", "Leader", text),
            ("weight", "Weight", percent),
            *_MEASURES,
        ),
    }


def _gbt_table(figures: Mapping[str, str]) -> Table:
    """The trees' metrics: walk-forward beside the ridge and the random split, where numbers."""
    sides = {"walk_forward": "", "ridge": _RIDGE, "random_split": _RANDOM_SPLIT}
    rows = [
        {side: number(figures, prefix + name) for side, prefix in sides.items()} | {"metric": said}
        for name, said in _GBT_METRICS.items()
    ]
    frame = pd.DataFrame(rows, columns=["metric", *sides])
    return table(
        frame[frame[list(sides)].notna().any(axis=1)],
        ("metric", "Metric", text),
        ("walk_forward", "Walk-forward", precise),
        ("ridge", "Ridge regression, walk-forward", precise),
        ("random_split", "Random 80/20 split (optimistic)", precise),
    )


def number(figures: Mapping[str, str], name: str) -> float:
    """A figure as a number; NaN when it is missing or no number."""
    try:
        return float(figures.get(name, "nan"))
    except ValueError:
        return float("nan")


_NUMBERS = (percent, ratio, precise, _hundredfold, count)


def table(frame: pd.DataFrame, *shown: Shown) -> Table:
    """Pick columns of a frame and write them out."""
    columns = tuple(Column(title, show in _NUMBERS) for _, title, show in shown)
    cells = [map(show, frame[name]) for name, _, show in shown]
    return Table(columns, tuple(zip(*cells, strict=True)))
