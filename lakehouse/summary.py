"""The summary at the end of a run: what each task did, its figures, and what to look at next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lakehouse.errors import QualityError
from lakehouse.places import sqlite_file
from lakehouse.runner import JobResult
from lakehouse.settings import Settings

# Where the output is no terminal, lines may be of any length.
_VALUE_WIDTH = 100
_STYLES = {"succeeded": "green", "unchanged": "cyan", "failed": "bold red", "skipped": "yellow"}


def print_summary(
    console: Console,
    result: JobResult,
    settings: Settings,
    conf: Path,
    again: Sequence[str],
) -> None:
    """Print the tasks with their times, their figures, and the commands to go on with.

    Args:
        console: Where to.
        result: How the run ended.
        settings: Its settings.
        conf: File of the environment's settings.
        again: Arguments of the command line that began the run, without `--resume`.
    """
    console.print()
    console.print(_task_table(result))
    figures = _figure_table(result)
    if figures.row_count:
        console.print(figures)
    for line in [*_ways_on(result, again), *_next_steps(result, settings, conf)]:
        console.print(line, highlight=False, soft_wrap=True)


def _task_table(result: JobResult) -> Table:
    title = f"{result.job}: run {result.run_id} in {result.seconds:.0f} s"
    table = Table("task", "status", "seconds", "result", title=title, title_justify="left")
    table.columns[2].justify = "right"
    table.columns[3].overflow = "fold"  # a long path is broken, not cut
    table.add_row("Spark session", "", f"{result.session_seconds:.1f}", "")
    for task in result.tasks:
        status = f"[{_STYLES[task.status]}]{task.status}[/]"
        table.add_row(task.task, status, f"{task.seconds:.1f}", escape(task.message))
    return table


def _figure_table(result: JobResult) -> Table:
    table = Table("task", "figure", "value", title="Figures", title_justify="left")
    table.columns[2].overflow = "fold"
    table.columns[2].max_width = _VALUE_WIDTH
    for task in result.tasks:
        for position, (name, value) in enumerate(task.figures.items()):
            table.add_row("" if position else task.task, escape(name), escape(value))
    return table


def _ways_on(result: JobResult, again: Sequence[str]) -> list[str]:
    """What to do about a failed run."""
    if result.ok:
        return []
    command = shlex.join([sys.argv[0], *again])
    # A gate's files were read by a task that succeeded: gone on with, the run keeps what it read.
    refused = any(isinstance(task.error, QualityError) for task in result.tasks)
    mended = "mend the files" if refused else "mend the cause"
    step = f"  a new run     {command}" if refused else f"  go on         {command} --resume"
    return [f"[bold red]Not every task succeeded[/]: {mended}, then", escape(step)]


def _next_steps(result: JobResult, settings: Settings, conf: Path) -> list[str]:
    """Commands to go on with, as they can be typed where this run was started."""
    program = Path(sys.argv[0])
    warehouse = shlex.quote(f"warehouse={settings.warehouse}")
    options = f"--conf {shlex.quote(str(conf))} --set {warehouse}"
    mlflow = program.with_name("mlflow")
    query = "SELECT status, count(*) FROM bronze.archive_files VERSION AS OF 1 GROUP BY status"
    page = Path(settings.report.folder) / "report.html"
    store = settings.mlflow.tracking_uri
    steps = [f"  report        {page}"] if page.exists() else []
    database = sqlite_file(store)
    if database is None or database.exists():
        steps.append(f"  MLflow UI     {mlflow} ui --backend-store-uri {shlex.quote(store)}")
    steps += [
        f"  time travel   {program} sql {options} {shlex.quote(query)}",
        f"  tables        {program} tables {options}",
    ]
    return ["[bold]Look next[/]", *map(escape, steps)]
