"""Log lines: plain ones for people, or JSON for machines, one line an event.

Every JSON line names its time (UTC), level, event, run id, job, task and message. Any log call is
an event; one that stands for more than its words says so by
`extra=event("task_failed", seconds=1.2)`, and its fields stand in the line.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, get_args

import click
from rich.logging import RichHandler
from rich.markup import escape

from lakehouse.console import err
from lakehouse.errors import in_one_line

LogFormat = Literal["plain", "json"]

LOG_FORMAT_OPTION: dict[str, Any] = {
    "type": click.Choice(get_args(LogFormat)),
    "default": "plain",
    "show_default": True,
    "envvar": "CANDLELAKE_LOG_FORMAT",
    "help": "Log lines on standard error: plain, or one JSON object an event.",
}
"""How a command line takes the format: what click needs to know of the option `--log-format`."""

log = logging.getLogger(__name__)

PACKAGES = ("lakehouse", "bronze", "silver", "gold", "ml")


@dataclass(frozen=True)
class Subject:
    """What lines are about.

    Attributes:
        run_id: The run; None outside of one.
        job: The job; None outside of one, empty when a task runs alone.
        task: The task; None for the run as a whole.
        position: `[3/16] ` of a task in its job, for plain lines.
    """

    run_id: str | None = None
    job: str | None = None
    task: str | None = None
    position: str = ""


_subject: ContextVar[Subject | None] = ContextVar("subject", default=None)

# A thread that a task starts inherits no context: it is told the run that began last. Tasks that
# run at once end in any order, so each takes its own out of the list.
_of_process: list[Subject] = []


def subject() -> Subject:
    """What the lines of this thread are about."""
    return _subject.get() or next(reversed(_of_process), Subject())


@contextmanager
def about(**changes: str) -> Iterator[None]:
    """Change the subject of the lines of a block, by the attributes of `Subject`."""
    now = replace(subject(), **changes)
    token = _subject.set(now)
    run = replace(now, task=None, position="")
    _of_process.append(run)
    try:
        yield
    finally:
        _of_process.remove(run)
        _subject.reset(token)


def event(name: str, **fields: object) -> dict[str, Any]:
    """The `extra` of a log call that stands for an event with fields of its own."""
    return {"event": name, "fields": fields}


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; a trace stands in the field `trace`."""
        here = subject()
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            "run_id": here.run_id,
            "job": here.job,
            "task": here.task,
            "message": record.getMessage(),
            "logger": record.name,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def remark(text: str) -> None:
    """Tell something beside the results to a person, or as a log line where those are JSON."""
    if err.quiet:
        log.warning("%s", text)
    else:
        err.print(text, markup=False, highlight=False, soft_wrap=True)


def tell_failure(problem: str, log_format: LogFormat) -> None:
    """Say why a program ends early, in one line."""
    if log_format == "json":
        log.error("%s", problem, extra=event("command_failed"))
    else:
        err.print(f"[bold red]error:[/] {escape(problem)}", highlight=False, soft_wrap=True)


def configure_logs(log_format: LogFormat, *, debug: bool = False) -> None:
    """Send log lines to standard error; Python's warnings and last trace too when they are JSON.

    Plain lines go through the handlers that a host, such as Databricks, has made already.
    """
    is_json = log_format == "json"
    handler: logging.Handler = logging.StreamHandler()
    line = "%(asctime)s %(message)s"
    if err.is_terminal and not is_json:
        handler = RichHandler(console=err, show_path=False, show_level=False, markup=False)
        line = "%(message)s"
    handler.setFormatter(JsonFormatter() if is_json else logging.Formatter(line, "%H:%M:%S"))
    # Nothing but JSON may stand between JSON lines, no bar and no spinner either.
    err.quiet = is_json
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=is_json)
    logging.captureWarnings(is_json)
    if is_json:
        sys.excepthook = _log_uncaught
    for package in PACKAGES:
        logging.getLogger(package).setLevel(logging.DEBUG if debug else logging.INFO)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Say in one line, its trace included, what ends the process."""
    told = (kind, error, trace)
    log.error("%s", in_one_line(error), exc_info=told, extra=event("command_failed"))
