"""The summary at the end of a run: what each task did, its figures, and what to look at next."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lakehouse.runner import JobResult
from lakehouse.settings import Settings

_STYLES = {"succeeded": "green", "unchanged": "cyan", "failed": "bold red", "skipped": "yellow"}


def print_summary(console: Console, result: JobResult, settings: Settings, conf: Path) -> None:
    """Print the tasks with their times, their figures, and the commands that show the results."""
    console.print()
    console.print(_task_table(result))
    figures = _figure_table(result)
    if figures.row_count:
        console.print(figures)
    for line in _next_steps(result, settings, conf):
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
    for task in result.tasks:
        for position, (name, value) in enumerate(task.figures.items()):
            table.add_row("" if position else task.task, escape(name), escape(value))
    return table


def _next_steps(result: JobResult, settings: Settings, conf: Path) -> list[str]:
    warehouse = shlex.quote(f"warehouse={settings.warehouse}")
    options = escape(f"--conf {shlex.quote(str(conf))} --set {warehouse}")
    store = escape(shlex.quote(settings.mlflow.tracking_uri))
    query = "SELECT count(*) AS candles FROM silver.candles VERSION AS OF 0"
    steps = [
        "[bold]Look next[/]",
        f"  report        {escape(str(Path(settings.report.folder) / 'report.html'))}",
        f"  MLflow UI     mlflow ui --backend-store-uri {store}",
        f"  time travel   candlelake sql {options} {shlex.quote(query)}",
        f"  tables        candlelake tables {options}",
    ]
    if not result.ok:
        steps.insert(0, "[bold red]Not every task succeeded[/]: the first failure is named below.")
    return steps
