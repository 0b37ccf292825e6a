"""Walk-forward indices read from their tables, and logged to MLflow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
import pytest
from mlflow.artifacts import download_artifacts

from gold.contracts import (
    INDEX_DECISIONS,
    INDEX_LEVELS,
    INDEX_RANDOM_LEVELS,
    INDEX_STATISTICS,
    INDEX_WEIGHTS,
)
from lakehouse.contracts import TableContract
from lakehouse.runs import TASK_RUNS
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from lakehouse.tasks import TaskOutcome
from ml.index_results import IndexResult, load_index_results
from ml.index_run import metrics
from ml.tasks import index_run
from tests.ml.conftest import Trained
from tests.ml.made_up_index import (
    NAME,
    RUN_ID,
    decision_rows,
    index_result,
    level_rows,
    random_rows,
    statistic_rows,
    weight_rows,
)
from tests.pipelines import changed_settings, do, interpreted

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OTHER = "top10"  # its run is not recorded
TABLES: list[tuple[TableContract, list[dict[str, Any]]]] = [
    (INDEX_LEVELS, level_rows()),
    (INDEX_RANDOM_LEVELS, random_rows()),
    (INDEX_STATISTICS, statistic_rows()),
    (INDEX_WEIGHTS, weight_rows()),
    (INDEX_DECISIONS, decision_rows()),
]


# In the order in which a run writes them.
WRITTEN = (INDEX_WEIGHTS, INDEX_DECISIONS, INDEX_LEVELS, INDEX_STATISTICS, INDEX_RANDOM_LEVELS)
# Indices whose newer run was killed after so many of them; that of the last wrote no weight.
TORN = {"torn_1": 1, "torn_2": 2, "torn_3": 3, "torn_4": 4, "torn_in_cash": 1}


def stamped(
    contract: TableContract, rows: Sequence[Mapping[str, Any]], **stamp: str
) -> list[dict[str, Any]]:
    """Rows with their origin; an index by another name is its own rulebook."""
    name = stamp.pop("name")

    def plain(value: object) -> object:
        return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value

    common = {"interval": "4h", "read_versions": {"silver.candles": 3}, "rulebook": name, **stamp}
    return [
        {
            **common,
            **{column: plain(value) for column, value in row.items()},
            "index_name": name if row.get("index_name", NAME) == NAME else row["index_name"],
        }
        for row in rows
    ]


def recorded_run(settings: Settings) -> dict[str, Any]:
    at = datetime(2025, 3, 1, tzinfo=UTC)
    made_with = changed_settings(settings, index={"cost_bps": 7.0})
    texts = {"job": "test", "message": "", "settings_digest": "", "code_version": "test"}
    maps: dict[str, Any] = {"figures": {}, "read_versions": {}, "written_versions": {}}
    return {
        **dict.fromkeys(("rows_in", "rows_out")),
        **texts,
        **maps,
        **settings.scope,
        "run_id": RUN_ID,
        "task": "smart_index",
        "status": "succeeded",
        "started_at": at,
        "ended_at": at,
        "settings": made_with.as_json(),
    }


@pytest.fixture(scope="module")
def logged(
    spark: SparkSession, trained_once: Trained, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Settings, dict[str, IndexResult], TaskOutcome]:
    """Two indices of this market, one of another, and those that a killed run left torn."""
    settings = trained_once.settings.model_copy(
        update={"warehouse": str(tmp_path_factory.mktemp("indices") / "lake")}
    )
    mlflow.set_tracking_uri(settings.mlflow.tracking_uri)
    with interpreted(spark):
        lake = Lake(spark, settings.warehouse)
        for contract, rows in TABLES:
            few = [
                row for row in rows if row.get("open_time", pd.Timestamp(0, tz="UTC")).hour == 20
            ]
            stamps = [
                (rows, {"name": NAME, "market": "um", "run_id": RUN_ID}),
                (few, {"name": OTHER, "market": "um", "run_id": "run-other"}),
                (few, {"name": "spot_index", "market": "spot", "run_id": RUN_ID}),
            ]
            found = [
                row for mine, stamp in stamps for row in stamped(contract, mine or rows, **stamp)
            ]
            for name, written in TORN.items():
                newer = contract in WRITTEN[:written]
                stamp = {"name": name, "market": "um", "run_id": "newer" if newer else RUN_ID}
                if not (newer and name == "torn_in_cash"):
                    found += stamped(contract, few or rows, **stamp)
            lake.append(contract, lake.frame(contract, found))
        lake.append(TASK_RUNS, lake.frame(TASK_RUNS, [recorded_run(settings)]))
        reader = Lake(spark, settings.warehouse)
        loaded = load_index_results(reader, settings)
        outcome = do(spark, settings, index_run, "run-2")
    assert loaded.torn == tuple(sorted(TORN))
    return settings, {each.name: each for each in loaded.whole}, outcome


Logged = tuple[Settings, dict[str, IndexResult], TaskOutcome]


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal to the last bit, whatever resolution times are kept at."""
    times = {name: "datetime64[us, UTC]" for name in ("open_time", "as_of", "at") if name in other}
    pd.testing.assert_frame_equal(
        one[list(other)].astype(times), other.astype(times), check_exact=True, check_dtype=False
    )


def test_an_index_is_read_by_day_from_the_run_that_made_its_levels(logged: Logged) -> None:
    _, results, _ = logged
    found, expected = results[NAME], index_result()
    assert set(results) == {NAME, OTHER}
    for frame in ("levels", "random", "weights", "decisions"):
        same(getattr(found, frame), getattr(expected, frame))
    trades = found.trades.assign(
        sold=[None if sold is None else list(sold) for sold in found.trades["sold"]]
    )
    same(trades, expected.trades)
    by_name = ["index_name", "statistic"]
    same(
        found.statistics.sort_values(by_name, ignore_index=True),
        expected.statistics.sort_values(by_name, ignore_index=True),
    )
    assert found.benchmarks == ("equal_weight", "buy_and_hold_btc")
    assert {field.name for field in fields(found)} >= {"rules", "run_id"}
    assert found.run_id == RUN_ID


def test_rules_are_those_of_the_run_that_made_it_or_else_the_settings(logged: Logged) -> None:
    settings, results, _ = logged
    assert results[NAME].rules["cost_bps"] == 7.0
    assert results[OTHER].rules["cost_bps"] == settings.index.cost_bps
    assert not {"mode", "rulebooks"} & set(results[NAME].rules)


def test_each_index_is_a_run_that_can_be_compared(logged: Logged) -> None:
    settings, _, outcome = logged
    assert set(outcome.figures) == {NAME, OTHER}
    assert not outcome.unchanged
    assert f"left out: {', '.join(sorted(TORN))}, for" in outcome.message
    mlflow.set_tracking_uri(settings.mlflow.tracking_uri)
    run = mlflow.get_run(outcome.figures[NAME])
    assert mlflow.get_experiment(run.info.experiment_id).name == "candlelake/index"
    assert run.info.run_name == f"{NAME} run-2"
    assert run.data.tags["candlelake.evaluation"] == "walk_forward"
    assert run.data.params.items() >= {
        ("rulebook", NAME),
        ("rulebook_run_id", RUN_ID),
        ("rulebook.cost_bps", "7.0"),
        ("rulebook.top_n", "20"),
        ("max_drawdown_peak", "2025-01-01 00:00"),
    }
    assert "max_drawdown_recovery" not in run.data.params
    # The rules of the settings need not be those of this index.
    assert not [name for name in run.data.params if name.startswith("index.")]
    assert run.data.metrics == metrics(index_result())
    inputs = {each.dataset.name for each in run.inputs.dataset_inputs}
    assert inputs == {f"{contract.full_name}@v1" for contract, _ in TABLES}
    assert all(
        json.loads(each.dataset.source)["path"].startswith(settings.warehouse)
        for each in run.inputs.dataset_inputs
    )


def test_a_run_keeps_its_plots_and_changes(logged: Logged) -> None:
    settings, _, outcome = logged
    mlflow.set_tracking_uri(settings.mlflow.tracking_uri)
    folder = Path(download_artifacts(run_id=outcome.figures[NAME]))
    plots = ("equity", "drawdown", "monthly_returns", "weights_over_time", "members", "turnover")
    assert {path.name for path in folder.iterdir()} == {
        "settings.json",
        "changes.csv",
        *(f"{name}.png" for name in plots),
    }
    changes = pd.read_csv(folder / "changes.csv")
    assert changes["change"].tolist() == ["in"] * 4 + ["out"] * 2


def test_metrics_leave_out_what_is_undefined_and_the_benchmarks_details() -> None:
    assert metrics(index_result()) == {
        "total_return": -0.1,
        "sharpe": -0.4,
        "beta_equal_weight": 0.8,
        "random_share_below": 0.864,
        "random_p05_total_return": -0.3,
        "random_p95_total_return": 0.05,
        "equal_weight_total_return": -0.05,
        "buy_and_hold_btc_total_return": -0.1,
    }


def test_no_walk_forward_index_is_nothing_to_do(spark: SparkSession, settings: Settings) -> None:
    outcome = do(spark, settings, index_run, "run-1")
    assert outcome == TaskOutcome("no walk-forward index", unchanged=True)
    assert not Path(settings.warehouse, "gold").exists()
