"""What Candlelake reads of jobs.yaml, key by key, and what is wrong with it.

The file is Databricks' own format; whatever else it holds is for the workspace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ValidationError

from lakehouse.errors import JobError

ALL_SUCCESS: Final = "ALL_SUCCESS"
AT_LEAST_ONE_SUCCESS: Final = "AT_LEAST_ONE_SUCCESS"


class TaskReference(BaseModel):
    """A task that must have ended before."""

    task_key: str


class WheelTask(BaseModel):
    """An entry point of the wheel, and its command line: texts, or what YAML makes of them."""

    entry_point: str
    parameters: tuple[object, ...] = ()


class TaskBody(BaseModel):
    """One of a job's `tasks`."""

    task_key: str
    python_wheel_task: WheelTask
    depends_on: tuple[TaskReference, ...] = ()
    run_if: Literal["ALL_SUCCESS", "AT_LEAST_ONE_SUCCESS"] = ALL_SUCCESS
    max_retries: int = 0
    min_retry_interval_millis: int = 0
    timeout_seconds: int = 0
    environment_key: str | None = None
    job_cluster_key: str | None = None


class ScheduleBody(BaseModel):
    """A job's `schedule`."""

    quartz_cron_expression: str
    timezone_id: str
    pause_status: str = "UNPAUSED"


class EnvironmentBody(BaseModel):
    """One of a job's `environments`."""

    environment_key: str


class ClusterBody(BaseModel):
    """One of a job's `job_clusters`."""

    job_cluster_key: str


class ParameterBody(BaseModel):
    """One of a job's `parameters`."""

    name: str


class JobBody(BaseModel):
    """One of `resources.jobs`."""

    description: str = ""
    tasks: tuple[TaskBody, ...]
    schedule: ScheduleBody | None = None
    max_concurrent_runs: int = 1
    timeout_seconds: int = 0
    environments: tuple[EnvironmentBody, ...] = ()
    job_clusters: tuple[ClusterBody, ...] = ()
    parameters: tuple[ParameterBody, ...] = ()


def read_job(name: str, body: object) -> JobBody:
    """One job of the file.

    Raises:
        JobError: A key is missing or has no value of its kind; the message names it.
    """
    try:
        return JobBody.model_validate(body)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ": ".join([f"job {name}", *_path(body, problem["loc"])])
        reason = problem["msg"][:1].lower() + problem["msg"][1:]
        if problem["type"] == "missing":
            reason = "is missing"
        elif problem["type"] in ("model_type", "tuple_type"):
            reason = "is no mapping" if problem["type"] == "model_type" else "is no list"
        raise JobError(f"{where} {reason}") from error


def _path(body: object, where: Sequence[str | int]) -> list[str]:
    """`task a` and `python_wheel_task.entry_point`: a task by its key if it has one."""
    if len(where) < 2 or where[0] != "tasks" or not isinstance(body, Mapping):
        return [".".join(map(str, where))] if where else []
    number = int(where[1])
    task: Any = body["tasks"][number]
    key = task.get("task_key", number + 1) if isinstance(task, Mapping) else number + 1
    return [f"task {key}", *([".".join(map(str, where[2:]))] if where[2:] else [])]
