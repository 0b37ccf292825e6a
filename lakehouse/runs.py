"""`ops.task_runs`: one row for each task of each run, with the Delta versions read and written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.contracts import Column, TableContract
from lakehouse.session import threads
from lakehouse.settings import Settings
from lakehouse.sql import equals, is_in
from lakehouse.tables import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SUCCESSES = ("succeeded", "unchanged")
"""Statuses of a task that ended well."""

TASK_RUNS = TableContract(
    layer="ops",
    name="task_runs",
    comment="One row for each task of each run: what it read, wrote and reported",
    columns=(
        Column("run_id", "STRING", "Pipeline run; gold and ml rows carry it", nullable=False),
        Column("task", "STRING", "Task, as jobs.yaml names it", nullable=False),
        Column("job", "STRING", "Job the task ran in, empty when it ran alone", nullable=False),
        Column(
            "status",
            "STRING",
            "succeeded, unchanged (nothing to do), failed, or skipped (one before it did not "
            "succeed)",
            nullable=False,
        ),
        Column("started_at", "TIMESTAMP", "Start of the task, UTC", nullable=False),
        Column("ended_at", "TIMESTAMP", "End of the task, UTC", nullable=False),
        Column("message", "STRING", "One line: what was done, or why not", nullable=False),
        Column("figures", "MAP<STRING, STRING>", "Named results of the task", nullable=False),
        Column(
            "rows_in",
            "BIGINT",
            "Rows of the tables it read, at the versions it read, used or not; NULL when it failed",
        ),
        Column(
            "rows_out",
            "BIGINT",
            "Rows that its commits wrote, also over the same rows; NULL where Delta does not say",
        ),
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
    key=("run_id", "job", "task"),
    checks={"known_status": "status IN ('succeeded', 'unchanged', 'failed', 'skipped')"},
    added=("rows_in", "rows_out"),
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
    rows_in: int | None
    rows_out: int | None
    read_versions: dict[str, int]
    written_versions: dict[str, int]
    settings_digest: str
    settings: str
    code_version: str
    market: str
    interval: str


# Runs of which nobody else records a task, and the (job, task) that were recorded of each.
_own: dict[str, set[tuple[str, str]]] = {}


@contextmanager
def recorded_here_alone(run_id: str) -> Iterator[None]:
    """A block in which nobody else records a task of a new run, nor has done so before.

    `record` then looks for no older row of a task that it records for the first time, which takes a
    second each.
    """
    _own[run_id] = set()
    try:
        yield
    finally:
        del _own[run_id]


@contextmanager
def opened_beside(spark: SparkSession, settings: Settings) -> Iterator[None]:
    """A block beside which `ops.task_runs` is opened, for `record` after it.

    In a new session that takes seconds. What goes wrong with it is raised by `record`.
    """
    lake = Lake(spark, settings.warehouse, settings.catalog)
    with threads(spark, 1, "task_runs") as beside:
        beside.submit(lake.is_unwritten, TASK_RUNS)
        yield


def record(spark: SparkSession, settings: Settings, *runs: TaskRun) -> None:
    """Write rows of one run of a job; an older row of the same task in it is replaced."""
    if not runs:
        return
    lake = Lake(spark, settings.warehouse, settings.catalog)
    frame = lake.frame(TASK_RUNS, [asdict(run) for run in runs])
    tasks = is_in("task", {run.task for run in runs})
    # Two jobs may have a run of the same name: schedulers count each for itself.
    same = f"{equals({'run_id': runs[0].run_id, 'job': runs[0].job})} AND {tasks}"
    are_first = _are_first(runs) or lake.is_unwritten(TASK_RUNS)
    if are_first or lake.read_own(TASK_RUNS).where(same).isEmpty():
        lake.append(TASK_RUNS, frame)
    else:
        lake.replace(TASK_RUNS, frame, where=same)


def _are_first(runs: Sequence[TaskRun]) -> bool:
    """Whether it is known without a look that no rows of these tasks are there."""
    recorded = _own.get(runs[0].run_id)
    if recorded is None:
        return False
    tasks = {(run.job, run.task) for run in runs}
    are_first = recorded.isdisjoint(tasks)
    recorded |= tasks  # also of a write that then fails: its next attempt looks
    return are_first
