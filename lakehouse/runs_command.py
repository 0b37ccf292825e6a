"""The command `candlelake runs`: the newest runs, or the tasks of one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import RenderableType
from rich.markup import escape

from lakehouse.cli import folding_table, out, settings_options
from lakehouse.console import err
from lakehouse.errors import TableError
from lakehouse.jobs import Job, load_jobs
from lakehouse.runs import TASK_RUNS
from lakehouse.session import spark_session
from lakehouse.settings import load_settings
from lakehouse.tables import Lake, require_tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_STATUSES = ("succeeded", "unchanged", "failed", "skipped")

Row = Mapping[str, Any]


@click.command()
@click.argument("run_id", required=False)
@settings_options
@click.option("--limit", default=20, show_default=True, help="Runs shown at the most.")
def runs(run_id: str | None, conf: Path, overrides: Sequence[str], limit: int) -> None:
    """List the newest runs, or the tasks of RUN_ID with their rows and Delta versions.

    A run is `incomplete` when tasks of its job have left no row: it is going on, or was killed. One
    that has not ended its first task is not listed.

    \b
    candlelake runs
    candlelake runs 20250201T030405Z-1a2b3c4d
    """
    settings = load_settings(conf, overrides)
    if not settings.catalog:
        require_tables(settings.warehouse)
    jobs_file = conf.absolute().parent.parent / "jobs.yaml"
    jobs = load_jobs(jobs_file) if jobs_file.exists() else {}
    with err.status("starting Spark"), spark_session(settings.spark) as spark:
        lake = Lake(spark, settings.warehouse, settings.catalog)
        if not lake.exists(TASK_RUNS):
            raise TableError(f"no run is recorded in {settings.warehouse}: `candlelake run` one")
        table = lake.read_unchanged(TASK_RUNS)
        found = _tasks(table, run_id) if run_id else _newest(table, limit)
    if run_id and not found:
        raise TableError(f"no run {run_id!r} is recorded: `candlelake runs` lists the newest")
    out.print(_task_table(found) if run_id else _run_table(found, jobs))


def _newest(table: DataFrame, limit: int) -> list[Row]:
    from pyspark.sql import functions as F

    counts = [F.count_if(F.col("status") == status).alias(status) for status in _STATUSES]
    each = table.groupBy("run_id", "job").agg(
        F.min("started_at").alias("started_at"),
        F.max("ended_at").alias("ended_at"),
        F.collect_set("task").alias("tasks"),
        *counts,
    )
    found: list[Row] = each.orderBy(F.col("started_at").desc()).limit(limit).toArrow().to_pylist()
    return found


def _tasks(table: DataFrame, run_id: str) -> list[Row]:
    from pyspark.sql import functions as F

    mine = table.where(F.col("run_id") == run_id).orderBy("job", "started_at", "task")
    found: list[Row] = mine.drop("settings").toArrow().to_pylist()
    return found


def _run_table(found: Iterable[Row], jobs: Mapping[str, Job]) -> RenderableType:
    table = folding_table("run", "job", "started (UTC)", "seconds", *_STATUSES, "status")
    for row in found:
        counts = (str(row[status]) for status in _STATUSES)
        cells = (row["run_id"], row["job"], _at(row["started_at"]), _seconds(row), *counts)
        table.add_row(*map(escape, cells), _status(row, jobs))
    return table


def _status(row: Row, jobs: Mapping[str, Job]) -> str:
    if row["failed"] or row["skipped"]:
        return "failed"
    job = jobs.get(row["job"])
    expected = {task.entry_point for task in job.tasks} if job else set()
    return "incomplete" if expected - set(row["tasks"]) else "succeeded"


def _task_table(found: Iterable[Row]) -> RenderableType:
    table = folding_table(
        *("job", "task", "status", "started (UTC)", "seconds", "rows in", "rows out", "message"),
        *("versions read", "versions written"),
    )
    for row in found:
        cells = (
            *(row["job"], row["task"], row["status"], _at(row["started_at"]), _seconds(row)),
            *(_count(row["rows_in"]), _count(row["rows_out"]), row["message"]),
            *(_versions(row[name]) for name in ("read_versions", "written_versions")),
        )
        table.add_row(*map(escape, cells))
    return table


def _at(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"


def _seconds(row: Row) -> str:
    return f"{(row['ended_at'] - row['started_at']).total_seconds():.1f}"


def _count(rows: int | None) -> str:
    return "NULL" if rows is None else f"{rows:,}"


def _versions(versions: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{table} {version}" for table, version in sorted(versions))
