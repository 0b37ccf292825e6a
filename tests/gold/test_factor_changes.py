"""The factor model after candles that came late, in any order, or went: as if made at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from gold import factor_exposures as exposures_module
from gold import factor_returns as returns_module
from gold import risk_changes
from gold.factor_changes import fingerprints
from gold.factor_contracts import FACTOR_BUCKETS, FACTOR_EXPOSURES, FACTOR_RETURNS
from gold.factor_rows import BUCKETS_DDL, EXPOSURES_DDL, RETURNS_DDL
from gold.tasks import factor_exposures, factor_returns
from lakehouse.intervals import MICROS_PER_DAY
from lakehouse.settings import FactorSettings, Settings
from lakehouse.tables import Lake
from tests.gold.factor_market import (
    DAYS,
    FIRST_DAY,
    PER_DAY,
    SETTINGS,
    STEP_US,
    Model,
    candles,
    model,
    with_factors,
    write_silver,
)
from tests.pipelines import changed_settings, context_of, do, interpreted, run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# From January 30 on.
START = FIRST_DAY + 3
FEBRUARY = START + 2
END = START + DAYS


def market(first: int, end: int, first_of_a: int) -> pd.DataFrame:
    """Candles of these days, those of one coin from a day on."""
    frame = candles()
    frame["bar"] += (START - FIRST_DAY) * PER_DAY
    day = frame["bar"] // PER_DAY
    known = (day >= first_of_a) | (frame["symbol"] != "AUSDT")
    return frame[(day >= first) & (day < end) & known].reset_index(drop=True)


def table_rows(frame: pd.DataFrame, ddl: str) -> list[tuple[object, ...]]:
    """Comparable rows of the columns that are declared, NULL and NaN alike."""
    frame = frame[[column.split()[0] for column in ddl.split(", ")]]
    plain = frame.astype(object).where(frame.notna(), None)
    return sorted(plain.itertuples(index=False, name=None), key=repr)


def tables(lake: Lake) -> dict[str, list[tuple[object, ...]]]:
    """Rows of the three tables, with the columns of `Model`."""
    found = {}
    for name, contract, time, bar, micros, ddl in (
        ("buckets", FACTOR_BUCKETS, "as_of", "as_of_us", MICROS_PER_DAY, BUCKETS_DDL),
        ("returns", FACTOR_RETURNS, "open_time", "bar", STEP_US, RETURNS_DDL),
        ("exposures", FACTOR_EXPOSURES, "open_time", "bar", STEP_US, EXPOSURES_DDL),
    ):
        rows = lake.read_own(contract).toArrow().to_pandas()
        rows[bar] = rows[time].astype("int64") // micros
        found[name] = table_rows(rows, ddl)
    return found


def expected(made: Model) -> dict[str, list[tuple[object, ...]]]:
    """The same of a model made at once."""
    return {
        "buckets": table_rows(made.buckets.to_pandas(), BUCKETS_DDL),
        "returns": table_rows(made.returns.to_pandas(), RETURNS_DDL),
        "exposures": table_rows(made.exposures.to_pandas(), EXPOSURES_DDL),
    }


@dataclass(frozen=True)
class Step:
    """A run after a change of the candles or the settings, and what it left.

    Attributes:
        candles: The candles it found.
        schedule: Of the buckets.
        done: First words of what each task said.
        tables: What the tables held after it.
    """

    candles: pd.DataFrame
    schedule: str
    done: Mapping[str, str]
    tables: Mapping[str, list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def settings(base_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return with_factors(base_settings, tmp_path_factory.mktemp("changed"))


@pytest.fixture(scope="module")
def steps(spark: SparkSession, settings: Settings) -> dict[str, Step]:
    """One lake after one change and another."""
    monthly = changed_settings(settings, factors={"schedule": "monthly"})
    # What decides about the rows of other tasks alone.
    regressed = {"window": 50, "min_bars": 20, "ridge": 1.0, "portfolios": "long_short"}
    stress = {"stress": {"market_return": -0.5}}
    of_returns = changed_settings(settings, factors={**regressed, **stress})
    of_exposures = changed_settings(monthly, factors={"lookback_days": 2, **stress})
    both = [(factor_returns, settings), (factor_exposures, settings)]
    whole, short = market(START, END, FEBRUARY), market(START, END - 1, FEBRUARY)
    lake = Lake(spark, settings.warehouse)
    found = {}
    with interpreted(spark):
        for name, frame, schedule, tasks in (
            ("february", market(FEBRUARY, END, FEBRUARY + 2), "daily", both),
            ("january, and earlier bars of a coin", whole, "daily", both),
            ("after a killed run", whole, "daily", [(factor_returns, settings)]),
            (
                "without the last day",
                short,
                "daily",
                [(factor_returns, of_returns), (factor_exposures, of_exposures)],
            ),
            ("monthly", short, "monthly", [(factor_returns, monthly)]),
            ("monthly and a day more", whole, "monthly", [(factor_returns, monthly)]),
        ):
            if name == "after a killed run":
                do(spark, monthly, factor_returns, "killed")
            else:
                write_silver(lake, frame)
            done = {
                task.name: run(spark, used, name, task)[task.name].message.partition(":")[0]
                for task, used in tasks
            }
            found[name] = Step(frame, schedule, done, tables(lake))
    return found


def test_whatever_came_or_went_the_tables_are_as_if_made_at_once(steps: dict[str, Step]) -> None:
    for name, step in steps.items():
        factors = SETTINGS.model_copy(update={"schedule": step.schedule})
        made = expected(model(step.candles, factors))
        if step.schedule == "monthly":
            del made["exposures"]  # they were not brought up to it
        for table, rows in made.items():
            assert step.tables[table] == rows, (name, table)
            assert rows, (name, table)


def test_what_is_made_again_begins_with_the_day_that_changed(steps: dict[str, Step]) -> None:
    both = ("factor_returns", "factor_exposures")
    first, last = (f"from {day_of(day)} on" for day in (START, END - 1))
    assert {name: step.done for name, step in steps.items()} == {
        "february": dict.fromkeys(both, "all bars"),
        "january, and earlier bars of a coin": dict.fromkeys(both, first),
        "after a killed run": {"factor_returns": "all bars"},
        # Neither the other settings nor factor returns that were written anew cost a day.
        "without the last day": dict.fromkeys(both, last),
        "monthly": {"factor_returns": "all bars"},
        "monthly and a day more": {"factor_returns": last},
    }


def day_of(day: int) -> str:
    return f"{datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}"


def test_a_month_without_a_sorting_date_reads_no_candle_for_the_buckets(
    spark: SparkSession, settings: Settings, steps: dict[str, Step]
) -> None:
    context = context_of(spark, settings, "factor_returns", "none")
    assert returns_module._buckets(context, []).inputFiles() == []


def test_days_of_other_rows_have_other_fingerprints(spark: SparkSession) -> None:
    days: list[list[tuple[str, float | None, float | None]]] = [
        [("A", 1.0, 2.0), ("B", 1.0, 2.0)],
        [("B", 1.0, 2.0), ("A", 1.0, 2.0)],  # the same
        [("A", 3.0, 2.0), ("B", 3.0, 2.0)],
        [("A", 2.0, 1.0), ("B", 2.0, 1.0)],
        [("A", 1.0, None), ("B", 1.0, None)],
        [("A", None, 1.0), ("B", None, 1.0)],
        [("A", 1.0, 2.0)],
        [("A", None, None)],
    ]
    rows = [
        (datetime.fromtimestamp(day * 86_400, UTC), *row)
        for day, of_day in enumerate(days)
        for row in of_day
    ]
    frame = spark.createDataFrame(rows, "open_time timestamp, symbol string, x double, y double")
    found = fingerprints(frame, ("symbol", "x", "y"), "rows").orderBy("day").collect()
    told = [row["rows"] for row in found]
    assert told[0] == told[1]
    assert len(set(told)) == len(days) - 1


def test_every_setting_decides_about_the_rows_of_some_task() -> None:
    decided_by = (
        *returns_module.DECIDED_BY,
        *exposures_module.DECIDED_BY,
        *risk_changes.DECIDED_BY,
    )
    # What candles are loaded says nothing of a row that is there; an interval has rows of its own.
    assert set(decided_by) == FactorSettings.model_fields.keys() - {"start", "end", "interval"}
