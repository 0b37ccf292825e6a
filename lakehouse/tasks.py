"""A task: the unit that jobs.yaml names, the same function on a laptop, a cluster and Databricks.

`@task` turns a function of a `TaskContext` into a wheel entry point, which takes its arguments
from the command line, gets a session, runs, writes one row into `ops.task_runs` (also when it
failed), logs how it began and ended, returns None and raises on failure.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from lakehouse.code_version import code_version
from lakehouse.errors import WriteConflict, in_one_line
from lakehouse.invocation import Invocation, task_command
from lakehouse.locks import alone
from lakehouse.logs import about, configure_logs, event, subject
from lakehouse.runs import TaskRun, opened_beside, record
from lakehouse.session import spark_session
from lakehouse.settings import Settings
from lakehouse.tables import Lake

if TYPE_CHECKING:
    import click
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

# Runs at once that may write the same rows before one of them gives up.
_MAX_ATTEMPTS = 6


@dataclass(frozen=True)
class TaskContext:
    """What a task may use.

    Attributes:
        spark: The session.
        settings: All settings of the run.
        lake: Reads and writes tables, and remembers the versions.
        run_id: Names the pipeline run; every gold and ml row carries it.
        job: Job that the task runs in.
        task: The task's own name.
        now: The run's clock, UTC.
        code_version: Version and digest of the code.
        settings_digest: SHA-256 of the settings.
    """

    spark: SparkSession
    settings: Settings
    lake: Lake
    run_id: str
    job: str
    task: str
    now: datetime
    code_version: str
    settings_digest: str


@dataclass(frozen=True)
class TaskOutcome:
    """What a task reports.

    Attributes:
        message: One line for the summary.
        figures: Named results, kept in `ops.task_runs` and shown in the summary.
        unchanged: True when there was nothing to do and no table has a new version.
    """

    message: str
    figures: Mapping[str, str] = field(default_factory=dict)
    unchanged: bool = False


@dataclass(frozen=True)
class Task:
    """A named task; calling it is the wheel's entry point.

    Attributes:
        name: As jobs.yaml and the wheel's metadata call it.
        summary: One line for `--help`.
        body: Does the work.
    """

    name: str
    summary: str
    body: Callable[[TaskContext], TaskOutcome]

    def __call__(self) -> None:
        """The wheel's entry point: run from `sys.argv`.

        Raises:
            CandlelakeError: The task failed for a reason that the message explains.
        """
        given = self.parse(sys.argv[1:])
        if given is not None:
            configure_logs(given.log_format)
            self.start(given)

    def main(self, arguments: Sequence[str]) -> TaskRun | None:
        """Run from command line arguments, within a program that has set up its logs.

        Returns:
            The row written into `ops.task_runs`; None for `--help`.
        """
        given = self.parse(arguments)
        return None if given is None else self.start(given)

    def parse(self, arguments: Sequence[str]) -> Invocation | None:
        """Read command line arguments (`--conf`, `--set`, `--candles`, `--run-id`, `--job` …).

        Returns:
            What they say; None for `--help`, which has been printed.

        Raises:
            click.UsageError: An option is unknown, ill-formed or missing.
            SettingsError: A setting is unknown or ill-typed.
        """
        # Not `standalone`: click would end with sys.exit(0), which Databricks reports as a failure.
        result = self.command().main(
            args=list(arguments), prog_name=self.name, standalone_mode=False
        )
        return result if isinstance(result, Invocation) else None

    def command(self) -> click.Command:
        """The task's command line."""
        return task_command(self.name, self.summary)

    def start(self, given: Invocation) -> TaskRun:
        """Run as told, within a program that has set up its logs; as `run`."""
        with spark_session(given.settings.spark) as spark:
            return self.run(spark, given.settings, given.run_id, given.job)

    def run(self, spark: SparkSession, settings: Settings, run_id: str, job: str) -> TaskRun:
        """Do the work in a given session, record it and log it.

        Returns:
            The row written into `ops.task_runs`.

        Raises:
            CandlelakeError: As the body raises it; the failure is recorded first.
        """
        with about(run_id=run_id, job=job, task=self.name):
            label = f"{subject().position}{self.name}"
            log.info("%s …", label, extra=event("task_started"))
            started = time.monotonic()
            try:
                with self._turn(settings):
                    run = self._recorded(spark, settings, run_id, job)
            except Exception as error:
                seconds, why = time.monotonic() - started, in_one_line(error)
                told = event("task_failed", seconds=round(seconds, 1))
                log.error("%s failed after %.1f s: %s", label, seconds, why, extra=told)
                raise
            seconds = time.monotonic() - started
            told = event(
                f"task_{run.status}", seconds=round(seconds, 1), rows_in=run.rows_in,
                rows_out=run.rows_out, figures=run.figures,
            )  # fmt: skip
            log.info("%s: %s (%.1f s)", label, run.message, seconds, extra=told)
            return run

    def _turn(self, settings: Settings) -> AbstractContextManager[None]:
        """Of two runs of the task on the same rows, the second waits, where a folder is locked."""
        if not settings.has_folder:
            return nullcontext()
        return alone(settings.warehouse, "-".join([self.name, *settings.scope.values()]))

    def _recorded(self, spark: SparkSession, settings: Settings, run_id: str, job: str) -> TaskRun:
        attempts = Retrying(
            retry=retry_if_exception_type(WriteConflict),
            stop=stop_after_attempt(_MAX_ATTEMPTS),
            wait=wait_random_exponential(max=10),
            reraise=True,
        )
        started = datetime.now(UTC)
        context = self._context(spark, settings, run_id, job, started)
        earlier: list[Lake] = []
        try:
            for attempt in attempts:
                with attempt:
                    if attempt.retry_state.attempt_number > 1:
                        # What was read before the conflict must be read again; what was committed
                        # before it stands.
                        earlier.append(context.lake)
                        context = self._context(spark, settings, run_id, job, started)
                    with opened_beside(spark, settings):
                        outcome = self.body(context)
        except Exception as error:
            failed = _task_run(context, "failed", TaskOutcome(in_one_line(error)), earlier=earlier)
            # What stopped the task must not be hidden by what then stops its record.
            try:
                attempts.copy()(record, spark, settings, failed)
            except Exception as hidden:  # noqa: BLE001 - whatever it is, the task's own is raised
                log.error("%s: the failure is not recorded: %s", self.name, in_one_line(hidden))
            raise
        unchanged = outcome.unchanged and not any(lake.written_versions for lake in earlier)
        status = "unchanged" if unchanged else "succeeded"
        run = _task_run(context, status, outcome, context.lake.rows_read(), earlier)
        attempts.copy()(record, spark, settings, run)  # tasks that end at once meet in one table
        return run

    def skipped(self, spark: SparkSession, given: Invocation, why: str) -> TaskRun:
        """The row for `ops.task_runs` of a task that is not run, and the reason."""
        now = datetime.now(UTC)
        context = self._context(spark, given.settings, given.run_id, given.job, now)
        return _task_run(context, "skipped", TaskOutcome(why), rows_in=0)

    @property
    def code_version(self) -> str:
        """Version and digest of the code that the task depends on."""
        return code_version(self.body.__module__.partition(".")[0])

    def _context(
        self, spark: SparkSession, settings: Settings, run_id: str, job: str, now: datetime
    ) -> TaskContext:
        return TaskContext(
            spark=spark,
            settings=settings,
            lake=Lake(spark, settings.warehouse, settings.catalog),
            run_id=run_id,
            job=job,
            task=self.name,
            now=now,
            code_version=self.code_version,
            settings_digest=settings.digest(),
        )


def task(name: str, summary: str) -> Callable[[Callable[[TaskContext], TaskOutcome]], Task]:
    """Make a task of a function, under the name that jobs.yaml uses."""

    def decorate(body: Callable[[TaskContext], TaskOutcome]) -> Task:
        return Task(name, summary, body)

    return decorate


def _task_run(
    context: TaskContext,
    status: str,
    outcome: TaskOutcome,
    rows_in: int | None = None,
    earlier: Sequence[Lake] = (),
) -> TaskRun:
    """The row of a task: read by its last attempt, written by all of them."""
    lakes = (*earlier, context.lake)
    written = [lake.rows_written for lake in lakes]
    known = [rows for rows in written if rows is not None]
    return TaskRun(
        run_id=context.run_id,
        task=context.task,
        job=context.job,
        status=status,
        started_at=context.now,
        ended_at=datetime.now(UTC),
        message=" ".join(outcome.message.split())[:2000],
        figures=dict(outcome.figures),
        rows_in=rows_in,
        rows_out=sum(known) if len(known) == len(written) else None,
        read_versions=dict(context.lake.read_versions),
        written_versions={k: v for lake in lakes for k, v in lake.written_versions.items()},
        settings_digest=context.settings_digest,
        settings=context.settings.as_json(),
        code_version=context.code_version,
        market=context.settings.archive.market,
        interval=context.settings.archive.interval,
    )
