"""The command line of a task, the same for all: what it is told, before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from uuid import uuid4

import click

from lakehouse.logs import LOG_FORMAT_OPTION, LogFormat
from lakehouse.settings import Settings, Study, load_settings


@dataclass(frozen=True)
class Invocation:
    """What a task is told.

    Attributes:
        settings: Those of `--conf` and `--set`, with the candles of `--candles`.
        run_id: Names the run.
        job: Job that the task runs in, empty when it runs alone.
        log_format: Of its log lines, when the task is the whole process.
    """

    settings: Settings
    run_id: str
    job: str
    log_format: LogFormat


def task_command(name: str, summary: str) -> click.Command:
    """The command line of a task; run not `standalone`, it returns an `Invocation`."""
    return click.Command(
        name,
        params=[
            click.Option(
                ["--conf"],
                type=click.Path(path_type=Path),
                required=True,
                help="Settings of the environment, such as conf/sample.yaml.",
            ),
            click.Option(
                ["--set", "overrides"],
                multiple=True,
                metavar="KEY=VALUE",
                help="Overrides one setting; may be repeated.",
            ),
            click.Option(
                ["--candles"],
                type=click.Choice(get_args(Study)),
                default="archive",
                help="Whose candles are worked on: those of archive.interval, start and end, "
                "or those of factors.interval, start and end.",
            ),
            click.Option(["--run-id"], help="Names the run; made up when it is not given."),
            click.Option(["--job"], default="", help="Job that the task runs in."),
            click.Option(["--log-format"], **LOG_FORMAT_OPTION),
        ],
        callback=_invocation,
        help=summary,
    )


def log_format_of(command: click.Command, arguments: Sequence[str]) -> LogFormat:
    """The format that a command line or its variable asks for, whatever else is wrong there."""
    read = command.make_context(command.name, list(arguments), resilient_parsing=True)
    found: LogFormat | None = read.params.get("log_format")
    return found or "plain"


def new_run_id(now: datetime) -> str:
    """A run id that sorts by time: `20250201T030405Z-1a2b3c4d`."""
    return f"{now:%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}"


def _invocation(
    conf: Path,
    overrides: Sequence[str],
    candles: Study,
    run_id: str | None,
    job: str,
    log_format: LogFormat,
) -> Invocation:
    settings = load_settings(conf, overrides).with_candles_of(candles)
    return Invocation(settings, run_id or new_run_id(datetime.now(UTC)), job, log_format)
