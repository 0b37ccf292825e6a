"""The local job runner: a job's tasks in dependency order, in one Spark session.

Tasks that do not depend on each other run at the same time, as they do on a cluster.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from lakehouse.errors import JobError, in_one_line
from lakehouse.interruption import interrupt
from lakehouse.jobs import (
    AT_LEAST_ONE_SUCCESS,
    CONF_REFERENCE,
    Job,
    JobTask,
    load_task,
    require_accepted,
)
from lakehouse.runs import TaskRun
from lakehouse.session import spark_session
from lakehouse.settings import Settings

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
        return self.status in ("succeeded", "unchanged")


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


def run_job(
    job: Job, settings: Settings, conf: Path, overrides: Sequence[str], run_id: str
) -> JobResult:
    """Run a job; a failed task stops the tasks that depend on it and no others.

    Args:
        job: The job, in order.
        settings: Settings of `conf` and `overrides`, for the session.
        conf: File of the environment's settings, as each task is told.
        overrides: `key=value` pairs, passed to each task.
        run_id: Names the run.

    Raises:
        EnvironmentProblem: The session does not start.
        JobError: A task names an entry point or a reference that does not exist, or has parameters
            that it does not accept.
    """
    references = {
        CONF_REFERENCE: str(conf),
        "job.name": job.name,
        "job.run_id": run_id,
    }
    # Everything that can be wrong in the file is found before the session starts.
    loaded = {task.key: load_task(task.entry_point) for task in job.tasks}
    arguments = {
        task.key: [*task.arguments(references), *_as_options(overrides)] for task in job.tasks
    }
    for key, task in loaded.items():
        require_accepted(task, arguments[key])
    positions = {task.key: f"{n}/{len(job.tasks)}" for n, task in enumerate(job.tasks, start=1)}

    def run(task: JobTask) -> TaskResult:
        return _run(task, loaded[task.key].main, arguments[task.key], positions[task.key])

    log.info("starting Spark")
    started = time.monotonic()
    with spark_session(settings.spark):
        session_seconds = time.monotonic() - started
        log.info("Spark is ready after %.0f s", session_seconds)
        results = _run_in_order(job.tasks, run)
    in_order = tuple(results[task.key] for task in job.tasks)
    return JobResult(job.name, run_id, in_order, session_seconds, time.monotonic() - started)


def _run_in_order(
    tasks: Sequence[JobTask], run: Callable[[JobTask], TaskResult]
) -> dict[str, TaskResult]:
    """Run each task once those that it depends on have ended, a few at once."""
    results: dict[str, TaskResult] = {}
    waiting = list(tasks)
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
                done = wait(running, return_when=FIRST_COMPLETED).done
            except KeyboardInterrupt:
                interrupt()  # the pool waits for the tasks that are running
                raise
            for future in done:
                results[running.pop(future).key] = future.result()
    return results


def _as_options(overrides: Sequence[str]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def _skipped(task: JobTask, results: Mapping[str, TaskResult]) -> TaskResult | None:
    failed = [key for key in task.depends_on if not results[key].ok]
    one_is_enough = task.run_if == AT_LEAST_ONE_SUCCESS and len(failed) < len(task.depends_on)
    if not failed or one_is_enough:
        return None
    log.warning("%s: skipped, because %s did not succeed", task.key, ", ".join(failed))
    return TaskResult(task.key, "skipped", 0.0, f"skipped: {', '.join(failed)} did not succeed")


def _run(
    task: JobTask,
    main: Callable[[Sequence[str]], TaskRun | None],
    arguments: Sequence[str],
    position: str,
) -> TaskResult:
    log.info("[%s] %s …", position, task.key)
    started = time.monotonic()
    try:
        run = main(arguments)
    # Whatever a task raises is that task's failure: the others still run, and the summary names it.
    except Exception as error:  # noqa: BLE001
        seconds = time.monotonic() - started
        message = in_one_line(error)
        log.error("[%s] %s failed after %.1f s: %s", position, task.key, seconds, message)
        return TaskResult(task.key, "failed", seconds, message, error=error)
    seconds = time.monotonic() - started
    if run is None:
        raise JobError(f"task {task.key}: its parameters ask for --help: correct jobs.yaml")
    log.info("[%s] %s: %s (%.1f s)", position, task.key, run.message, seconds)
    return TaskResult(task.key, run.status, seconds, run.message, run.figures)
