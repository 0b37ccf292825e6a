"""Tasks over a small archive, as a job runs them, and what they left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from lakehouse.contracts import TableContract
from lakehouse.runs import TaskRun
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from lakehouse.tasks import Task, TaskContext, TaskOutcome

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NOW = datetime(2026, 1, 1, tzinfo=UTC)

_ARROW = {
    "STRING": pa.string(),
    "DOUBLE": pa.float64(),
    "BIGINT": pa.int64(),
    "INT": pa.int32(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "ARRAY<STRING>": pa.list_(pa.string()),
}


def changed_settings(settings: Settings, **sections: Mapping[str, object]) -> Settings:
    """The settings with some keys of some sections changed."""
    return settings.model_copy(
        update={
            name: getattr(settings, name).model_copy(update=changes)
            for name, changes in sections.items()
        }
    )


def lake_of(settings: Settings, base: Path, root: Path, interval: str, **archive: Any) -> Settings:
    """Settings of one archive, with a warehouse below `base`."""
    return changed_settings(
        settings.model_copy(update={"warehouse": str(base / "lake")}),
        archive={"url": str(root), "interval": interval, **archive},
    )


def context_of(
    spark: SparkSession, settings: Settings, task: str, run_id: str, now: datetime = NOW
) -> TaskContext:
    """The context of a task at a fixed clock."""
    return TaskContext(
        spark=spark,
        settings=settings,
        lake=Lake(spark, settings.warehouse),
        run_id=run_id,
        job="test",
        task=task,
        now=now,
        code_version="test",
        settings_digest=settings.digest(),
    )


def do(spark: SparkSession, settings: Settings, task: Task, run_id: str) -> TaskOutcome:
    """What a task's body does, at a fixed clock and without a row in ops.task_runs."""
    return task.body(context_of(spark, settings, task.name, run_id))


def as_arrow(contract: TableContract, frame: pd.DataFrame) -> pa.Table:
    """Rows of a table with the contract's types; a map's column is left out."""
    columns = [column for column in contract.columns if column.type in _ARROW]
    schema = pa.schema([(column.name, _ARROW[column.type]) for column in columns])
    return pa.Table.from_pandas(frame, schema, preserve_index=False)


def run(spark: SparkSession, settings: Settings, run_id: str, *tasks: Task) -> dict[str, TaskRun]:
    """Run tasks in order, each with its row in ops.task_runs."""
    return {task.name: task.run(spark, settings, run_id, "test") for task in tasks}


@contextmanager
def interpreted(spark: SparkSession) -> Iterator[None]:
    """Plans that run once over a few rows take less time interpreted than compiled."""
    fast = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
    before = {name: str(spark.conf.get(name)) for name in fast}
    for name, value in fast.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)


def rows(lake: Lake, contract: TableContract, version: int | None = None) -> list[dict[str, Any]]:
    """A table's rows, sorted by its key."""
    found: list[dict[str, Any]] = lake.read_own(contract, version).toArrow().to_pylist()
    return sorted(found, key=lambda row: [(row[n] is not None, row[n]) for n in contract.key])


def versions(lake: Lake, contracts: Iterable[TableContract]) -> dict[str, int]:
    """The newest version of each table that exists."""
    return {each.name: lake.version(each) for each in contracts if lake.exists(each)}
