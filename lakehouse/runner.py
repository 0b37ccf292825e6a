"""The local job runner: a job's tasks in dependency order, in one Spark session.

Tasks that do not depend on each other run at the same time, as they do on a cluster.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lakehouse.errors import JobError, in_one_line
from lakehouse.interruption import interrupt
from lakehouse.invocation import Invocation
from lakehouse.job_file import AT_LEAST_ONE_SUCCESS
from lakehouse.jobs import Job, JobTask, load_task
from lakehouse.locks import going_on
from lakehouse.logs import about, event
from lakehouse.runs import SUCCESSES, record, recorded_here_alone
from lakehouse.session import spark_session
from lakehouse.settings import Settings
from lakehouse.tasks import Task

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

# A task is often one small Spark job after another, which leaves most of a machine idle.
_TASKS_AT_ONCE = 2


@dataclass(frozen=True)
class TaskResult:
    """How one task of a run ended.

    Attributes:
        task: Key of the task.
        status: `succeeded`, `unchanged`, `failed` or `skipped` (a task before it failed).
        seconds: How long it took.
        message: What was done, or why not.
        figures: Named results for the summary.
        error: What was raised, for `--debug`.
    """

    task: str
    status: str
    seconds: float
    message: str
    figures: Mapping[str, str] = field(default_factory=dict)
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether its dependants may run."""
        return self.status in SUCCESSES


@dataclass(frozen=True)
class JobResult:
    """How a run of a job ended: its tasks in the order they ran."""

    job: str
    run_id: str
    tasks: tuple[TaskResult, ...]
    session_seconds: float
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every task succeeded."""
        return all(task.ok for task in self.tasks)

    @property
    def counts(self) -> str:
        """How many tasks ended how, in words: `2 succeeded, 1 failed`."""
        found = Counter(task.status for task in self.tasks)
        return ", ".join(f"{n} {status}" for status, n in found.items())


def run_job(
    job: Job,
    settings: Settings,
    conf: Path,
    overrides: Sequence[str],
    run_id: str,
    done: Mapping[str, TaskResult] | None = None,
) -> JobResult:
    """Run a job; a failed task stops the tasks that depend on it and no others.

    Args:
        job: The job, in order.
        settings: Settings of `conf` and `overrides`, for the session.
        conf: File of the environment's settings, as each task is told.
        overrides: `key=value` pairs, passed to each task.
        run_id: Names the run.
        done: Tasks by key that ended well earlier in the run, and are not run again; None is a new
            run, whose name nobody else has.

    Raises:
        EnvironmentProblem: The session does not start.
        JobError: A task names an entry point, a reference or a parameter that does not exist, or
            another process is at this very run.
    """
    # Everything that can be wrong in the file is found before the session starts.
    loaded = {task.key: load_task(task.entry_point) for task in job.tasks}
    references = {"job.parameters.conf": str(conf), "job.name": job.name, "job.run_id": run_id}
    told = {task.key: _told(task, loaded[task.key], references, overrides) for task in job.tasks}
    positions = {task.key: f"[{n}/{len(job.tasks)}] " for n, task in enumerate(job.tasks, start=1)}

    with about(run_id=run_id, job=job.name):
        log.info("run %s of job %s: starting Spark", run_id, job.name, extra=event("run_started"))
        started = time.monotonic()
        with (
            spark_session(settings.spark) as spark,
            _going_on(settings, run_id, is_new=done is None),
        ):
            session_seconds = time.monotonic() - started
            log.info("Spark is ready after %.0f s", session_seconds)

            def run(task: JobTask) -> TaskResult:
                with about(run_id=run_id, job=job.name, position=positions[task.key]):
                    return _run(task, loaded[task.key], told[task.key])

            results = _run_in_order(job.tasks, run, done or {})
            _record_skipped(spark, settings, results, loaded, told)
        seconds = time.monotonic() - started
        result = JobResult(
            job.name,
            run_id,
            tuple(results[task.key] for task in job.tasks),
            session_seconds,
            seconds,
        )
        ended = event("run_ended", ok=result.ok, seconds=round(seconds, 1))
        log.info("run %s ended after %.0f s: %s", run_id, seconds, result.counts, extra=ended)
    return result


@contextmanager
def _going_on(settings: Settings, run_id: str, *, is_new: bool) -> Iterator[None]:
    """A block in which nobody resumes the run, where a folder's locks can tell others of it."""
    if not settings.has_folder:
        yield
        return
    with (
        going_on(settings.warehouse, run_id) as is_seen,
        recorded_here_alone(run_id) if is_seen and is_new else nullcontext(),
    ):
        yield


def _told(
    task: JobTask, loaded: Task, references: Mapping[str, str], overrides: Sequence[str]
) -> Invocation:
    """What a task is told, read as it will read it."""
    try:
        given = loaded.parse([*task.arguments(references), *_as_options(overrides)])
    except click.UsageError as error:
        why = error.format_message().rstrip(".")
        raise JobError(f"task {task.key}: {why}: correct jobs.yaml") from error
    if given is None:
        raise JobError(f"task {task.key}: its parameters ask for --help: correct jobs.yaml")
    return given


def _run_in_order(
    tasks: Sequence[JobTask],
    run: Callable[[JobTask], TaskResult],
    done: Mapping[str, TaskResult],
) -> dict[str, TaskResult]:
    """Run each task once those that it depends on have ended, a few at once."""
    results = dict(done)
    waiting = [task for task in tasks if task.key not in done]
    running: dict[Future[TaskResult], JobTask] = {}
    with ThreadPoolExecutor(_TASKS_AT_ONCE, thread_name_prefix="task") as pool:
        while waiting or running:
            for task in [task for task in waiting if results.keys() >= set(task.depends_on)]:
                skipped = _skipped(task, results)
                if skipped:
                    results[task.key] = skipped
                elif len(running) < _TASKS_AT_ONCE:
                    running[pool.submit(run, task)] = task
                else:
                    continue
                waiting.remove(task)
            try:
                ended = wait(running, return_when=FIRST_COMPLETED).done
            except KeyboardInterrupt:
                interrupt()  # the pool waits for the tasks that are running
                raise
            for future in ended:
                results[running.pop(future).key] = future.result()
    return results


def _as_options(overrides: Sequence[str]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def _skipped(task: JobTask, results: Mapping[str, TaskResult]) -> TaskResult | None:
    failed = [key for key in task.depends_on if not results[key].ok]
    one_is_enough = task.run_if == AT_LEAST_ONE_SUCCESS and len(failed) < len(task.depends_on)
    if not failed or one_is_enough:
        return None
    why = f"skipped: {', '.join(failed)} did not succeed"
    with about(task=task.key):
        log.warning("%s: %s", task.key, why, extra=event("task_skipped"))
    return TaskResult(task.key, "skipped", 0.0, why)


def _record_skipped(
    spark: SparkSession,
    settings: Settings,
    results: Mapping[str, TaskResult],
    loaded: Mapping[str, Task],
    told: Mapping[str, Invocation],
) -> None:
    rows = [
        loaded[key].skipped(spark, told[key], result.message)
        for key, result in results.items()
        if result.status == "skipped"
    ]
    try:
        record(spark, settings, *rows)
    # What the failed task said must not be hidden by this.
    except Exception as error:  # noqa: BLE001
        log.error("skipped tasks are not recorded: %s", in_one_line(error))


def _run(task: JobTask, loaded: Task, told: Invocation) -> TaskResult:
    started = time.monotonic()
    try:
        with spark_session(told.settings.spark) as spark:  # the run's own, in this thread
            run = loaded.run(spark, told.settings, told.run_id, told.job)
    # Whatever a task raises is that task's failure: the others still run, and the summary names it.
    except Exception as error:  # noqa: BLE001
        seconds = time.monotonic() - started
        return TaskResult(task.key, "failed", seconds, in_one_line(error), error=error)
    seconds = time.monotonic() - started
    return TaskResult(task.key, run.status, seconds, run.message, run.figures)
