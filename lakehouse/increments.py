"""What an incremental task knows of its earlier runs, from `ops.task_runs`.

A task may build only what changed if the last run that ended well is comparable with this one,
and if its tables stand as such runs left them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lakehouse.runs import SUCCESSES, TASK_RUNS
from lakehouse.sql import equals

if TYPE_CHECKING:
    from lakehouse.contracts import TableContract
    from lakehouse.tasks import TaskContext

# Runs that are looked through for the last successful one.
_ATTEMPTS = 20


def untouched(context: TaskContext, tables: Iterable[TableContract]) -> bool:
    """Whether tables that this task alone writes stand as its successful runs left them.

    A run that was killed leaves no row in ops.task_runs, but it may have written.
    """
    from pyspark.sql import functions as F

    tables = tuple(tables)
    recorded = dict.fromkeys((table.full_name for table in tables), 0)
    runs = context.lake.read_own(TASK_RUNS).where(
        (F.col("task") == context.task) & F.col("status").isin(*SUCCESSES)
    )
    for row in runs.select("written_versions").toArrow()["written_versions"].to_pylist():
        for name, version in row:
            recorded[name] = max(recorded.get(name, 0), version)
    return not any(context.lake.changed_since(table, recorded[table.full_name]) for table in tables)


def versions_last_read(
    context: TaskContext, scope: str, relevant: Callable[[Mapping[str, Any]], object]
) -> dict[str, int] | None:
    """The versions that the last successful run of the task read, if no run has interfered since.

    A later run with other settings or other code, even one that failed, may have left rows.

    Args:
        context: The task.
        scope: Runs that work on the same rows, as a SQL condition on ops.task_runs.
        relevant: Picks what decides about these rows from the settings, as plain JSON values.

    Returns:
        Table name -> Delta version; None when there is no such run.
    """
    from pyspark.sql import functions as F

    attempts = (
        context.lake.read_own(TASK_RUNS)
        .where(scope)
        .where(equals({"task": context.task}))
        .where("status <> 'skipped'")  # it wrote nothing
        .orderBy(F.col("ended_at").desc())
        .select("status", "read_versions", "settings", "code_version")
        .limit(_ATTEMPTS)
        .collect()
    )
    wanted = relevant(json.loads(context.settings.as_json()))
    for attempt in attempts:
        comparable = relevant(json.loads(attempt["settings"])) == wanted
        if not comparable or attempt["code_version"] != context.code_version:
            return None
        if attempt["status"] in SUCCESSES:
            return dict(attempt["read_versions"])
    return None
