"""Which tasks of an earlier run must be run again: `candlelake run JOB --resume`.

Those that failed, were skipped or left no row in `ops.task_runs` (the run was killed), and all
that depend on them or ended before them; what ended well is not run again. As on Databricks, where
a run is repaired.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakehouse.errors import JobError
from lakehouse.jobs import Job, load_task
from lakehouse.logs import about
from lakehouse.runner import TaskResult
from lakehouse.runs import SUCCESSES, TASK_RUNS
from lakehouse.sql import equals
from lakehouse.tables import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakehouse.settings import Settings

log = logging.getLogger(__name__)

Row = dict[str, Any]

# Where and with how much memory a run takes place makes no other rows.
_FREE = ("spark",)

# Differing settings that an error names.
_SHOWN = 3


@dataclass(frozen=True)
class EarlierRun:
    """A run that is gone on with.

    Attributes:
        run_id: Names it.
        done: Its tasks by key that ended well and are not run again.
    """

    run_id: str
    done: Mapping[str, TaskResult]


def earlier_run(
    spark: SparkSession, settings: Settings, job: Job, run_id: str | None
) -> EarlierRun:
    """Look up a run of a job in `ops.task_runs`.

    Args:
        spark: The session.
        settings: Those of now, which must be those of the run.
        job: The job.
        run_id: The run; None is the job's newest.

    Raises:
        JobError: There is no such run, it had other settings than these, or the newest one has
            nothing left to run.
    """
    lake = Lake(spark, settings.warehouse, settings.catalog)
    rows = _rows_of_run(lake, job, run_id)
    found: str = rows[0]["run_id"]
    with about(run_id=found, job=job.name):
        earlier = _earlier_run(settings, job, rows)
    if run_id is None and len(earlier.done) == len(job.tasks):
        raise JobError(
            f"the newest recorded run {found} of job {job.name} is complete; a run killed before "
            "its first task ended leaves no row: run without --resume"
        )
    return earlier


def _earlier_run(settings: Settings, job: Job, rows: Sequence[Row]) -> EarlierRun:
    found = rows[0]["run_id"]
    _require_same_settings(settings.with_candles_of(job.candles), rows)
    by_task = {row["task"]: row for row in rows}
    done: dict[str, Row] = {}
    for task in job.tasks:  # each comes after those that it depends on
        row = by_task.get(task.entry_point)
        if row and row["status"] in SUCCESSES and _came_after(row, task.depends_on, done):
            done[task.key] = row
    _warn_of_other_code(job, done)
    again = [task.key for task in job.tasks if task.key not in done]
    log.info("run %s: %s", found, f"runs again {', '.join(again)}" if again else "complete")
    return EarlierRun(found, {key: _result(key, row) for key, row in done.items()})


def _came_after(row: Row, keys: Sequence[str], done: Mapping[str, Row]) -> bool:
    """Whether a task ran after those that it depends on, which a killed resume may have redone."""
    return all(key in done and row["started_at"] >= done[key]["ended_at"] for key in keys)


def _rows_of_run(lake: Lake, job: Job, run_id: str | None) -> list[Row]:
    from pyspark.sql import functions as F

    wanted = f"run {run_id} of job {job.name}" if run_id else f"a run of job {job.name}"
    missing = JobError(
        f"{TASK_RUNS.full_name} knows no task of {wanted}: `candlelake runs` lists what there is; "
        "without --resume, a new run begins"
    )
    if not lake.exists(TASK_RUNS):
        raise missing
    of_job = lake.read_unchanged(TASK_RUNS).where(equals({"job": job.name}))
    if run_id is None:
        newest = of_job.orderBy(F.col("started_at").desc()).select("run_id").limit(1).collect()
        run_id = newest[0]["run_id"] if newest else ""
    rows: list[Row] = of_job.where(equals({"run_id": run_id})).toArrow().to_pylist()
    if not rows:
        raise missing
    last = max(row["ended_at"] for row in rows)
    later = of_job.where(F.col("started_at") > F.lit(last)).select("run_id").limit(1).collect()
    if later:
        with about(run_id=run_id, job=job.name):
            log.warning(
                "run %s came after run %s: what is run again reads the tables as they are now",
                *(later[0]["run_id"], run_id),
            )
    return rows


def _require_same_settings(settings: Settings, rows: Iterable[Row]) -> None:
    now = _flat(json.loads(settings.as_json()))
    for row in rows:
        then = _flat(json.loads(row["settings"]))
        names = sorted(key for key in now.keys() | then.keys() if now.get(key) != then.get(key))
        differing = [name for name in names if name.partition(".")[0] not in _FREE]
        if differing:
            shown = (f"{key} {then.get(key)} and not {now.get(key)}" for key in differing[:_SHOWN])
            more = len(differing) - _SHOWN
            raise JobError(
                f"run {row['run_id']} had other settings: {', '.join(shown)}"
                f"{f' and {more} more' if more > 0 else ''}: give it the same ones, or begin a "
                "new run without --resume"
            )


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Settings by their dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        below = _flat(value, f"{above}{name}.") if isinstance(value, dict) else None
        flat |= below if below else {f"{above}{name}": value}
    return flat


def _warn_of_other_code(job: Job, done: Mapping[str, Row]) -> None:
    """A run may go on with corrected code; each task's row names the code that made it."""
    now = {task.key: load_task(task.entry_point).code_version for task in job.tasks}
    other = [key for key, row in done.items() if row["code_version"] != now[key]]
    if other:
        log.warning("not run again, though the code has changed since: %s", ", ".join(other))


def _result(key: str, row: Row) -> TaskResult:
    seconds = (row["ended_at"] - row["started_at"]).total_seconds()
    return TaskResult(
        key, row["status"], seconds, f"earlier: {row['message']}", dict(row["figures"])
    )
