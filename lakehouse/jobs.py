"""jobs.yaml: the jobs as Databricks bundle resources, read for the local runner.

The file is Databricks' own format. Of its tasks the local runner uses `task_key`, `depends_on`,
`run_if` and `python_wheel_task`; a scheduler that is not Databricks' also needs the schedule, the
retries and the time-outs. Clusters, environments and notifications are for the workspace; a wrong
key or field is an error all the same, for Databricks' own command line says nothing of one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import yaml

from lakehouse.errors import JobError
from lakehouse.installed import installed
from lakehouse.job_file import ALL_SUCCESS, JobBody, TaskBody, read_job
from lakehouse.settings import Study, parse_yaml, yaml_problem
from lakehouse.tasks import Task

ENTRY_POINT_GROUP = "candlelake.tasks"

_REFERENCE = re.compile(r"\{\{(.*?)(\}\}|$)")
_PARAMETER = re.compile(r"\{\{job\.parameters\.(\w+)\}\}")


@dataclass(frozen=True)
class JobTask:
    """One task of a job.

    Attributes:
        key: Name within the job.
        entry_point: Name of the wheel's entry point.
        parameters: Command line of the task, with Databricks' `{{…}}` references.
        depends_on: Keys of the tasks that must have ended before.
        run_if: `ALL_SUCCESS`, or `AT_LEAST_ONE_SUCCESS` of them is enough, as Databricks has it.
        max_retries: Further attempts of a task that failed.
        retry_seconds: Between two attempts.
        timeout_seconds: After which an attempt is stopped; 0 is never.
    """

    key: str
    entry_point: str
    parameters: tuple[str, ...]
    depends_on: tuple[str, ...]
    run_if: str = ALL_SUCCESS
    max_retries: int = 0
    retry_seconds: float = 0.0
    timeout_seconds: int = 0

    def arguments(self, references: Mapping[str, str]) -> list[str]:
        """The command line with every `{{name}}` replaced.

        Parameters of the job name what a workspace keeps where: its catalog and its volumes. Where
        they are not given, the settings' file says so, and the `--set` of such a one is left out.

        Raises:
            JobError: A reference is not known to the local runner.
        """
        kept = [*self.parameters]
        for i in reversed(range(len(kept) - 1)):
            if kept[i] == "--set" and _unknown_parameters(kept[i + 1], references):
                del kept[i : i + 2]
        return [_resolve(text, references, self.key) for text in kept]


@dataclass(frozen=True)
class Schedule:
    """When a job starts by itself.

    Attributes:
        quartz: Quartz's cron expression, from the second on.
        timezone: Name of the time zone that it is meant in.
        paused: Whether it is not started for now.
    """

    quartz: str
    timezone: str
    paused: bool


@dataclass(frozen=True)
class Job:
    """A job: its tasks in an order in which each comes after those it depends on.

    Attributes:
        name: As jobs.yaml calls it.
        description: One line.
        tasks: In that order.
        schedule: None when it is started by hand.
        max_concurrent_runs: Runs of it at once.
        timeout_seconds: After which a run is stopped; 0 is never.
    """

    name: str
    description: str
    tasks: tuple[JobTask, ...]
    schedule: Schedule | None = None
    max_concurrent_runs: int = 1
    timeout_seconds: int = 0

    @property
    def candles(self) -> Study:
        """Whose candles its tasks work on, as their parameter `--candles` says."""
        given = {pair for task in self.tasks for pair in pairwise(task.parameters)}
        return "factors" if ("--candles", "factors") in given else "archive"


def load_task(entry_point: str) -> Task:
    """The task that the installed wheel has under a name.

    Raises:
        JobError: The wheel has no such entry point, or it is not a task.
    """
    found = installed(ENTRY_POINT_GROUP, entry_point)
    if found is None:
        raise JobError(
            f"the installed candlelake has no entry point {entry_point!r}: correct jobs.yaml or "
            "install the wheel again"
        )
    loaded = found.load()
    if not isinstance(loaded, Task):
        raise JobError(f"entry point {entry_point!r} is not a task")
    return loaded


def load_jobs(path: Path) -> dict[str, Job]:
    """Read all jobs of a jobs.yaml.

    Raises:
        JobError: The file is missing or malformed; a job, a task key or another key is repeated;
            a field, a dependency, a cluster, an environment or a parameter of the job is unknown;
            or the dependencies form a cycle. The message begins with the file.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
        bodies = content["resources"]["jobs"].items()
    except FileNotFoundError as error:
        raise JobError(f"the file of the jobs, {path}, does not exist") from error
    # AttributeError: resources.jobs is no mapping; ValueError: not UTF-8, or a date of month 13.
    except (yaml.YAMLError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f": {yaml_problem(error)}" if isinstance(error, yaml.YAMLError) else ""
        raise JobError(f"{path} is not a bundle file with resources.jobs{reason}") from error
    try:
        return {name: _job(name, body) for name, body in bodies}
    except JobError as error:
        raise JobError(f"{path}: {error}") from error


def find_job(path: Path, name: str) -> Job:
    """One job of a jobs.yaml.

    Raises:
        JobError: There is no job of that name.
    """
    jobs = load_jobs(path)
    if name not in jobs:
        raise JobError(f"unknown job {name!r}: {path} has {', '.join(sorted(jobs))}")
    return jobs[name]


def _job(name: str, given: object) -> Job:
    body = read_job(name, given)
    _require_defined(name, body)
    when = body.schedule
    return Job(
        name=name,
        description=body.description,
        tasks=tuple(_in_order(name, [_task(task) for task in body.tasks])),
        schedule=None
        if when is None
        else Schedule(
            when.quartz_cron_expression, when.timezone_id, paused=when.pause_status == "PAUSED"
        ),
        max_concurrent_runs=body.max_concurrent_runs,
        timeout_seconds=body.timeout_seconds,
    )


def _task(body: TaskBody) -> JobTask:
    return JobTask(
        key=body.task_key,
        entry_point=body.python_wheel_task.entry_point,
        parameters=tuple(map(str, body.python_wheel_task.parameters)),
        depends_on=tuple(each.task_key for each in body.depends_on),
        run_if=body.run_if,
        max_retries=body.max_retries,
        retry_seconds=body.min_retry_interval_millis / 1000,
        timeout_seconds=body.timeout_seconds,
    )


def _require_defined(job: str, body: JobBody) -> None:
    """Refuse what a task names and the job does not define."""
    environments = [each.environment_key for each in body.environments]
    clusters = [each.job_cluster_key for each in body.job_clusters]
    declared = {each.name for each in body.parameters}
    for task in body.tasks:
        for key, named, section, defined in (
            ("environment_key", task.environment_key, "environments", environments),
            ("job_cluster_key", task.job_cluster_key, "job_clusters", clusters),
        ):
            if named is not None and defined.count(named) != 1:
                raise JobError(
                    f"job {job}: task {task.task_key}: {key} {named} must stand once in "
                    f"{section}, and does {defined.count(named)} times"
                )
        texts = map(str, task.python_wheel_task.parameters)
        unknown = {name for text in texts for name in _PARAMETER.findall(text)} - declared
        if unknown:
            raise JobError(
                f"job {job}: task {task.task_key}: the job has no parameter "
                f"{', '.join(sorted(unknown))}"
            )


def _in_order(job: str, tasks: Sequence[JobTask]) -> list[JobTask]:
    by_key = {task.key: task for task in tasks}
    twice = sorted(key for key, n in Counter(task.key for task in tasks).items() if n > 1)
    if twice:
        raise JobError(f"job {job}: task_key {', '.join(twice)} stands twice")
    unknown = sorted({key for task in tasks for key in task.depends_on} - set(by_key))
    if unknown:
        raise JobError(f"job {job}: depends_on names unknown tasks {', '.join(unknown)}")
    sorter = TopologicalSorter({task.key: task.depends_on for task in tasks})
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise JobError(f"job {job}: tasks depend on each other in a circle: {circle}") from error
    # Among the tasks that are ready, the file's order decides: the same run each time.
    position = {task.key: i for i, task in enumerate(tasks)}
    ready: list[str] = []
    ordered = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()], key=position.__getitem__)
        key, *ready = ready
        ordered.append(by_key[key])
        sorter.done(key)
    return ordered


def _unknown_parameters(text: str, references: Mapping[str, str]) -> bool:
    return any(f"job.parameters.{name}" not in references for name in _PARAMETER.findall(text))


def _resolve(text: str, references: Mapping[str, str], task: str) -> str:
    def value(reference: re.Match[str]) -> str:
        if not reference[2] or reference[1] not in references:
            raise JobError(
                f"task {task}: parameter {text!r} has a reference that is not known here"
            )
        return references[reference[1]]

    return _REFERENCE.sub(value, text)
