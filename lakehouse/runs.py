"""`ops.task_runs`: one row for each task of each run, with the Delta versions read and written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.contracts import Column, TableContract
from lakehouse.settings import Settings
from lakehouse.sql import equals
from lakehouse.tables import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TASK_RUNS = TableContract(
    layer="ops",
    name="task_runs",
    comment="One row for each task of each run: what it read, wrote and reported",
    columns=(
        Column("run_id", "STRING", "Pipeline run; gold and ml rows carry it", nullable=False),
        Column("task", "STRING", "Task, as jobs.yaml names it", nullable=False),
        Column("job", "STRING", "Job the task ran in, empty when it ran alone", nullable=False),
        Column(
            "status", "STRING", "succeeded, unchanged (nothing to do) or failed", nullable=False
        ),
        Column("started_at", "TIMESTAMP", "Start of the task, UTC", nullable=False),
        Column("ended_at", "TIMESTAMP", "End of the task, UTC", nullable=False),
        Column("message", "STRING", "One line: what was done, or why it failed", nullable=False),
        Column("figures", "MAP<STRING, STRING>", "Named results of the task", nullable=False),
        Column(
            "read_versions",
            "MAP<STRING, BIGINT>",
            "Table read -> its Delta version",
            nullable=False,
        ),
        Column(
            "written_versions",
            "MAP<STRING, BIGINT>",
            "Table written -> its Delta version",
            nullable=False,
        ),
        Column(
            "settings_digest", "STRING", "SHA-256 of the settings as canonical JSON", nullable=False
        ),
        Column("settings", "STRING", "The settings as canonical JSON", nullable=False),
        Column("code_version", "STRING", "Version and source digest of the code", nullable=False),
        Column("market", "STRING", "Market of the run: spot or um", nullable=False),
        Column("interval", "STRING", "Interval of the run, Binance's spelling", nullable=False),
    ),
    key=("run_id", "task"),
    checks={"known_status": "status IN ('succeeded', 'unchanged', 'failed')"},
)


@dataclass(frozen=True)
class TaskRun:
    """One row of `ops.task_runs`; the contract's comments explain the fields."""

    run_id: str
    task: str
    job: str
    status: str
    started_at: datetime
    ended_at: datetime
    message: str
    figures: dict[str, str]
    read_versions: dict[str, int]
    written_versions: dict[str, int]
    settings_digest: str
    settings: str
    code_version: str
    market: str
    interval: str


def record(spark: SparkSession, settings: Settings, run: TaskRun) -> None:
    """Write one row; a repeated attempt of the same task in the same run replaces the older row."""
    lake = Lake(spark, settings.warehouse, settings.catalog)
    frame = lake.frame(TASK_RUNS, [asdict(run)])
    same = equals({"run_id": run.run_id, "task": run.task})
    if lake.create(TASK_RUNS) or lake.read_own(TASK_RUNS).where(same).isEmpty():
        lake.append(TASK_RUNS, frame)
    else:
        lake.replace(TASK_RUNS, frame, where=same)
