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


def untouched(context: TaskContext, scope: str, tables: Iterable[TableContract]) -> bool:
    """Whether rows that this task alone writes stand as its last successful run left them.

    A run that was killed leaves no row in ops.task_runs, but it may have written: whatever was
    committed since must be recorded as of a run that works on other rows.

    Args:
        context: The task.
        scope: Runs that work on the same rows, as a SQL condition on ops.task_runs.
        tables: The tables of these rows.
    """
    from pyspark.sql import functions as F

    left: dict[str, int] = {}
    of_others: dict[str, set[int]] = {}
    runs = context.lake.read_own(TASK_RUNS).where(equals({"task": context.task}))
    same_rows = F.expr(scope).alias("same_rows")
    for run in runs.select(same_rows, "status", "written_versions").toArrow().to_pylist():
        for table, version in run["written_versions"]:
            if not run["same_rows"]:
                of_others.setdefault(table, set()).add(version)
            elif run["status"] in SUCCESSES:
                left[table] = max(left.get(table, 0), version)
    for name, contract in ((each.full_name, each) for each in tables):
        changes = context.lake.changes_since(contract, left.get(name, 0))
        if changes is None or not changes <= of_others.get(name, set()):
            return False
    return True


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
