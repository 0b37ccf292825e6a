"""What the walk-forward indices of a market did, from the gold tables, as small pandas frames.

Levels are read by day, so nothing here grows with the number of bars: of each day the last bar and
the deepest drawdown. Times are UTC; a level is that of the close of the bar that opens then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from pyspark.sql import functions as F

from gold.contracts import (
    INDEX_DECISIONS,
    INDEX_LEVELS,
    INDEX_RANDOM_LEVELS,
    INDEX_STATISTICS,
    INDEX_WEIGHTS,
)
from lakehouse.contracts import TableContract
from lakehouse.intervals import Interval, interval_micros
from lakehouse.runs import TASK_RUNS
from lakehouse.settings import Settings
from lakehouse.sql import equals, is_in
from lakehouse.tables import Lake
from ml.frames import rows, to_pandas

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

INDEX_TABLES = (
    *(INDEX_LEVELS, INDEX_RANDOM_LEVELS, INDEX_STATISTICS),
    *(INDEX_WEIGHTS, INDEX_DECISIONS),
)
"""Tables that an index is read from."""


@dataclass(frozen=True)
class IndexResults:
    """The walk-forward indices of a market and interval, by name.

    Attributes:
        whole: Those whose tables were all written by one run.
        torn: Names of the others: a run writes table by table, and one was stopped, or is still at
            work, between them.
    """

    whole: tuple[IndexResult, ...] = ()
    torn: tuple[str, ...] = ()


@dataclass(frozen=True)
class IndexResult:
    """One walk-forward index and its benchmarks, all rows from one run.

    Attributes:
        name: `index_name`, of the rulebook too.
        run_id: Run that made it.
        interval: Length of a bar.
        rules: Settings that it was made with: the rules, random_portfolios, seed and trials.
        levels: index_name, open_time, level, drawdown and deepest_drawdown: the start, then the
            last bar of each day, with the deepest of the day's drawdowns; the index first, then
            its benchmarks.
        random: open_time and p05 … p95 at the same bars; empty without random portfolios.
        trades: open_time, turnover, cost and sold of each bar at which the index traded.
        statistics: index_name, statistic, value and at.
        weights: as_of, symbol, weight and rank, by as_of and rank.
        decisions: as_of, symbol, decision, rule and detail, by as_of and symbol.
    """

    name: str
    run_id: str
    interval: Interval
    rules: Mapping[str, Any]
    levels: pd.DataFrame
    random: pd.DataFrame
    trades: pd.DataFrame
    statistics: pd.DataFrame
    weights: pd.DataFrame
    decisions: pd.DataFrame

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """Names of its benchmarks."""
        return tuple(name for name in self.levels["index_name"].unique() if name != self.name)

    @property
    def dates(self) -> pd.DatetimeIndex:
        """Its determination dates, ascending; one at which nobody was a member included."""
        return pd.DatetimeIndex(self.decisions["as_of"].unique())

    @property
    def delay(self) -> pd.Timedelta:
        """Time between a determination and its trades."""
        bars = int(self.rules["delay_bars"])
        return pd.Timedelta(bars * interval_micros(self.interval), "us")

    @property
    def end(self) -> pd.Timestamp:
        """Close of the last bar that has a level."""
        step = pd.Timedelta(interval_micros(self.interval), "us")
        last: pd.Timestamp = self.levels["open_time"].max()
        return last + step

    @property
    def span(self) -> str:
        """From the first level to the last, as UTC days."""
        step = pd.Timedelta(interval_micros(self.interval), "us")
        return f"{self.levels['open_time'].min() + step:%Y-%m-%d} to {self.end:%Y-%m-%d} UTC"

    def statistic(self, statistic: str, of: str | None = None) -> float:
        """A statistic of the index, or of a benchmark; NaN where it is undefined or unknown."""
        table = self.statistics
        found = table[
            (table["index_name"] == (of or self.name)) & (table["statistic"] == statistic)
        ]
        return float("nan") if found.empty else float(found["value"].iloc[0])


def load_index_results(lake: Lake, settings: Settings) -> IndexResults:
    """The walk-forward indices of the settings' market and interval, by name."""
    scope = equals(settings.scope)
    if not lake.exists(INDEX_LEVELS):
        return IndexResults()
    of_scope = lake.read(INDEX_LEVELS).where(scope)
    by_day = levels_by_day(of_scope, "rulebook", "index_name", "run_id")
    levels = to_pandas(by_day)
    runs = dict(zip(levels["rulebook"], levels["run_id"], strict=True))
    if not runs:
        return IndexResults()
    of_names = f"{scope} AND {is_in('index_name', runs)}"
    tables = {
        "levels": levels,
        "random": _random(lake, scope, by_day),
        "trades": rows(lake, INDEX_LEVELS, f"{scope} AND index_name = rulebook AND turnover > 0"),
        "statistics": rows(lake, INDEX_STATISTICS, scope),
        "weights": rows(lake, INDEX_WEIGHTS, of_names),
        "decisions": rows(lake, INDEX_DECISIONS, of_names),
    }
    recorded = rows(lake, TASK_RUNS, f"task = 'smart_index' AND {is_in('run_id', runs.values())}")
    whole, torn = [], []
    for name, run_id in sorted(runs.items()):
        parts = {table: rows_of_index(frame, table, name) for table, frame in tables.items()}
        if not of_one_run(parts, run_id):
            torn.append(name)
            continue
        rules = recorded_rules(recorded_settings(recorded, run_id, settings), name)
        whole.append(IndexResult(name, run_id, settings.archive.interval, rules, **parts))
    return IndexResults(tuple(whole), tuple(torn))


def of_one_run(parts: Mapping[str, pd.DataFrame], run_id: str) -> bool:
    """Whether the rows of an index in its tables are those that one run left, and all of them.

    Args:
        parts: Its rows by table.
        run_id: Run that wrote its levels.
    """
    if any((part["run_id"] != run_id).any() for part in parts.values()):
        return False
    decisions, statistics = parts["decisions"], parts["statistics"]
    if decisions.empty or statistics.empty:
        return False
    drawn = (statistics["statistic"] == "random_p05_total_return").any()
    key = ["as_of", "symbol"]
    # An index in cash has no weight: only its decisions tell that none is missing.
    selected = decisions.loc[decisions["decision"] == "selected", key]
    held = parts["weights"][key]
    same = set(selected.itertuples(index=False)) == set(held.itertuples(index=False))
    return same and bool(drawn) != parts["random"].empty


_SORTED_BY = {
    "levels": ["index_name", "open_time"],
    "random": ["open_time"],
    "trades": ["open_time"],
    "statistics": ["index_name"],  # stable: the statistics themselves stay as written
    "weights": ["as_of", "rank"],
    "decisions": ["as_of", "symbol"],
}


def levels_by_day(levels: DataFrame, *keys: str) -> DataFrame:
    """Levels by day: the last bar and the deepest drawdown of each.

    The start stays a row of its own, for the first day's return needs it.

    Args:
        levels: Rows with open_time, level, drawdown and period_return.
        keys: Columns that tell one curve from another.
    """
    day = (F.to_date("open_time").alias("day"), F.isnull("period_return").alias("is_start"))
    return levels.groupBy(*keys, *day).agg(
        F.max_by("level", "open_time").alias("level"),
        F.max_by("drawdown", "open_time").alias("drawdown"),
        F.min("drawdown").alias("deepest_drawdown"),
        F.max("open_time").alias("open_time"),
    )


def _random(lake: Lake, scope: str, by_day: DataFrame) -> pd.DataFrame:
    """Percentiles of the random portfolios at the bars of the levels."""
    if not lake.exists(INDEX_RANDOM_LEVELS):
        return rows(lake, INDEX_RANDOM_LEVELS, scope)
    bars = by_day.where("index_name = rulebook").select("rulebook", "open_time")
    bands = lake.read(INDEX_RANDOM_LEVELS).where(scope)
    return to_pandas(bands.join(bars, on=["rulebook", "open_time"], how="left_semi"))


def rows_of_index(frame: pd.DataFrame, table: str, name: str) -> pd.DataFrame:
    """The rows of one index, in the order of `IndexResult`."""
    owner = "index_name" if table in ("weights", "decisions") else "rulebook"
    mine = frame[frame[owner] == name]
    if "index_name" in mine:  # the index before its benchmarks
        mine = mine.assign(index_name=pd.Categorical(mine["index_name"], _names(mine, name)))
    ordered = mine.sort_values(_SORTED_BY[table], kind="stable", ignore_index=True)
    if "index_name" in ordered:
        ordered = ordered.assign(index_name=ordered["index_name"].astype(object))
    return ordered


def _names(frame: pd.DataFrame, first: str) -> list[str]:
    """Names of an index and its benchmarks: equal weight before Bitcoin, as they are drawn."""
    return [first, *sorted(set(frame["index_name"]) - {first}, reverse=True)]


def recorded_settings(recorded: pd.DataFrame, run_id: str, settings: Settings) -> dict[str, Any]:
    """The settings that a run was made with, which the present ones may have left since.

    Args:
        recorded: Rows of ops.task_runs of one task.
        run_id: The run.
        settings: The present ones, which serve when the run is not recorded.
    """
    made_with = recorded.loc[recorded["run_id"] == run_id, "settings"]
    found: dict[str, Any] = json.loads(
        settings.as_json() if made_with.empty else made_with.iloc[-1]
    )
    return found


def recorded_rules(made_with: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The rules of an index by the settings that it was made with."""
    index = made_with["index"]
    rules = {**index, **index["rulebooks"].get(name, {})}
    return {key: value for key, value in rules.items() if key not in ("mode", "rulebooks")}


def membership_changes(result: IndexResult) -> pd.DataFrame:
    """Who came in and who went out at each determination, and the decision that says why.

    Returns:
        as_of, change (`in` or `out`), symbol, weight (NaN of those who went out), decision, rule
        and detail; by as_of, those who came in first, by weight, then those who went out by symbol.
    """
    held = {
        date: result.weights[result.weights["as_of"] == date].set_index("symbol")["weight"]
        for date in result.dates
    }
    parts = []
    before = pd.Series(dtype=float)
    for date, now in held.items():
        came = now[~now.index.isin(before.index)].sort_values(ascending=False, kind="stable")
        went = sorted(set(before.index) - set(now.index))
        parts.append(_changes(date, "in", came))
        parts.append(_changes(date, "out", pd.Series(float("nan"), went, dtype=float)))
        before = now
    changes = pd.concat(parts, ignore_index=True)
    why = result.decisions[["as_of", "symbol", "decision", "rule", "detail"]]
    return changes.merge(why, on=["as_of", "symbol"], how="left")


def _changes(date: pd.Timestamp, change: str, weights: pd.Series) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "as_of": date,
            "change": change,
            "symbol": weights.index.astype(object),
            "weight": weights.to_numpy(),
        }
    )


def stopped_members(result: IndexResult) -> pd.DataFrame:
    """open_time and symbol of each member that was sold because it had stopped trading."""
    sold = result.trades.loc[result.trades["sold"].notna(), ["open_time", "sold"]]
    return sold.explode("sold", ignore_index=True).rename(columns={"sold": "symbol"})


def read_tables(lake: Lake) -> tuple[TableContract, ...]:
    """Tables of the indices that have been read."""
    return tuple(table for table in INDEX_TABLES if table.full_name in lake.read_versions)
