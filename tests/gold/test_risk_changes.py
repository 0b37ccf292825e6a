"""The risk tables after changes of the model and of an index: as if computed at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from gold.contracts import INDEX_DECISIONS, INDEX_WEIGHTS
from gold.factor_contracts import FACTOR_EXPOSURES, FACTOR_RETURNS
from gold.factor_names import beta_name
from gold.risk_contracts import PORTFOLIO_RISK, RISK_CONTRIBUTIONS
from gold.tasks import factor_risk
from lakehouse.contracts import TableContract
from lakehouse.runs import TaskRun
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from tests.gold import made_up_factors as made_up
from tests.gold.made_up_factors import DAY, START, USED, WEIGHTS
from tests.pipelines import changed_settings, interpreted, rows, run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAILY = (PORTFOLIO_RISK, RISK_CONTRIBUTIONS)
DAYS = 5

USED_COLUMNS = (*USED, *map(beta_name, USED), "residual_variance")

Rows = list[dict[str, Any]]
Tables = list[tuple[TableContract, pd.DataFrame]]


def model(days: int, *, corrected: bool) -> Tables:
    """The factor model of some days; its second and third day as published, or corrected."""
    returns, exposures = made_up.factor_returns(days), made_up.exposures(days)
    for frame in (returns, exposures) if corrected else ():
        wrong = ((frame["open_time"] - START) // DAY).isin([1, 2])
        # As many rows as before, and all by the same run.
        frame.loc[wrong, [name for name in USED_COLUMNS if name in frame]] *= 1.5
    return [(FACTOR_RETURNS, returns), (FACTOR_EXPOSURES, exposures)]


def write(spark: SparkSession, lake: Lake, tables: Tables) -> None:
    """Put rows in the place of all others."""
    for contract, frame in tables:
        lake.replace(contract, lake.frame(contract, []), "true")
        made_up.write(spark, lake, contract, frame)


def index(*, holds_in_the_end: bool) -> Tables:
    """The index, which holds nobody after its last determination, or a coin."""
    weights, decisions = made_up.index_rows()
    if holds_in_the_end:
        held = weights.iloc[[0]].assign(as_of=max(WEIGHTS), symbol="BUSDT", weight=1.0)
        weights = pd.concat([weights, held], ignore_index=True)
    return [(INDEX_WEIGHTS, weights), (INDEX_DECISIONS, decisions)]


def risk_tables(lake: Lake) -> dict[str, Rows]:
    """Rows of the daily tables, but for what names a run and the versions that it read."""
    return {
        table.name: [
            {name: value for name, value in row.items() if name not in ("run_id", "read_versions")}
            for row in rows(lake, table)
        ]
        for table in DAILY
    }


@dataclass(frozen=True)
class Step:
    """What a run did, and what the tables held after it."""

    done: TaskRun
    tables: Mapping[str, Rows]
    runs: Mapping[pd.Timestamp, str]


@pytest.fixture(scope="module")
def steps(
    spark: SparkSession, base_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Step]:
    """Runs after one change each, and at last one that makes everything again."""
    warehouse = str(tmp_path_factory.mktemp("risk_changes") / "lake")
    settings = made_up.factor_settings(base_settings.model_copy(update={"warehouse": warehouse}))
    # The same stress in other words: all is made again, and nothing becomes another.
    stress = {**settings.factors.stress, "momentum_low": None}
    reworded = changed_settings(settings, factors={"stress": stress})
    lake = Lake(spark, warehouse)
    found = {}
    with interpreted(spark):
        made_up.write_listings(lake)
        for name, tables, used in (
            ("first", model(DAYS, corrected=False) + index(holds_in_the_end=False), settings),
            ("corrected", model(DAYS, corrected=True), settings),
            ("written anew", model(DAYS, corrected=True), settings),
            ("other weights", index(holds_in_the_end=True), settings),
            ("without the last day", model(DAYS - 1, corrected=True), settings),
            ("at once", [], reworded),
        ):
            write(spark, lake, tables)
            done = run(spark, used, name, factor_risk)["factor_risk"]
            by_day = {pd.Timestamp(row["as_of"]): row["run_id"] for row in rows(lake, DAILY[0])}
            found[name] = Step(done, risk_tables(lake), by_day)
    return found


def made_by(*names: str) -> dict[pd.Timestamp, str]:
    """Runs of each day, by the close of the day."""
    return {START + day * DAY: name for day, name in enumerate(names, start=1)}


def test_only_days_that_a_change_reaches_are_computed_again(steps: dict[str, Step]) -> None:
    assert steps["first"].runs == made_by(*["first"] * 5)
    assert steps["corrected"].runs == made_by("first", *["corrected"] * 4)
    assert steps["written anew"].done.status == "unchanged"
    # Weights as of February 3 are those of the bar that closes at its first midnight.
    assert steps["other weights"].runs == made_by(
        "first", "corrected", "corrected", "other weights", "other weights"
    )
    assert steps["without the last day"].runs == made_by(
        "first", "corrected", "corrected", "other weights"
    )


def test_after_all_changes_the_rows_are_those_of_one_run(steps: dict[str, Step]) -> None:
    last, at_once = steps["without the last day"], steps["at once"]
    assert at_once.runs == made_by(*["at once"] * 4)
    assert last.tables == at_once.tables
    assert all(last.tables.values())


def test_each_change_of_the_inputs_changes_the_risk(steps: dict[str, Step]) -> None:
    told = [steps[name].tables for name in ("first", "corrected", "other weights")]
    assert told[0] != told[1] != told[2]
    assert steps["written anew"].tables == told[1]
