"""What jobs.yaml may hold, key by key, and what is wrong with it.

The file is Databricks' own format; of its fields, those that Candlelake's jobs use. Any other is
an error and no field that has no effect here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lakehouse.errors import JobError
from lakehouse.spelling import did_you_mean

ALL_SUCCESS: Final = "ALL_SUCCESS"
AT_LEAST_ONE_SUCCESS: Final = "AT_LEAST_ONE_SUCCESS"

Count = Annotated[int, Field(ge=0)]

# YAML has lists and no tuples.
_FromList = Field(strict=False)

_KINDS = {"model_type": "mapping", "dict_type": "mapping", "tuple_type": "list"}

# What only a workspace reads, whose own fields are many: Databricks' tools check it.
Workspace = Mapping[str, object]


class _Body(BaseModel):
    # A key that is misspelt would be left out in silence, and with it the order of the tasks.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TaskReference(_Body):
    """A task that must have ended before."""

    task_key: str


class WheelTask(_Body):
    """An entry point of the wheel, and its command line: texts, or what YAML makes of them."""

    package_name: Literal["candlelake"]
    entry_point: str
    parameters: Annotated[tuple[object, ...], _FromList] = ()


class HealthRule(_Body):
    """When a run or a task is said to be slow."""

    metric: str
    op: str
    value: int


class HealthBody(_Body):
    """The `health` of a job or task."""

    rules: Annotated[tuple[HealthRule, ...], _FromList]


class NotificationBody(_Body):
    """The `email_notifications` of a job or task."""

    on_start: Annotated[tuple[str, ...], _FromList] = ()
    on_success: Annotated[tuple[str, ...], _FromList] = ()
    on_failure: Annotated[tuple[str, ...], _FromList] = ()
    on_duration_warning_threshold_exceeded: Annotated[tuple[str, ...], _FromList] = ()


class NotificationSettingsBody(_Body):
    """The `notification_settings` of a task."""

    alert_on_last_attempt: bool = False


class TaskBody(_Body):
    """One of a job's `tasks`."""

    task_key: str
    python_wheel_task: WheelTask
    description: str = ""
    depends_on: Annotated[tuple[TaskReference, ...], _FromList] = ()
    run_if: Literal["ALL_SUCCESS", "AT_LEAST_ONE_SUCCESS"] = ALL_SUCCESS
    max_retries: Count = 0
    min_retry_interval_millis: Count = 0
    timeout_seconds: Count = 0
    disable_auto_optimization: bool = False
    health: HealthBody | None = None
    email_notifications: NotificationBody | None = None
    notification_settings: NotificationSettingsBody | None = None
    environment_key: str | None = None
    job_cluster_key: str | None = None
    libraries: Annotated[tuple[Workspace, ...], _FromList] = ()


class ScheduleBody(_Body):
    """A job's `schedule`."""

    quartz_cron_expression: str
    timezone_id: str
    pause_status: Literal["PAUSED", "UNPAUSED"] = "UNPAUSED"


class EnvironmentBody(_Body):
    """One of a job's `environments`."""

    environment_key: str
    spec: Workspace = {}


class ClusterBody(_Body):
    """One of a job's `job_clusters`."""

    job_cluster_key: str
    new_cluster: Workspace = {}


class ParameterBody(_Body):
    """One of a job's `parameters`."""

    name: str
    default: str = ""


class QueueBody(_Body):
    """Whether a run waits for the one before it."""

    enabled: bool


class JobBody(_Body):
    """One of `resources.jobs`."""

    name: str = ""
    description: str = ""
    tasks: Annotated[tuple[TaskBody, ...], _FromList]
    schedule: ScheduleBody | None = None
    max_concurrent_runs: Annotated[int, Field(ge=1)] = 1
    timeout_seconds: Count = 0
    queue: QueueBody | None = None
    health: HealthBody | None = None
    email_notifications: NotificationBody | None = None
    tags: Mapping[str, str] = {}
    environments: Annotated[tuple[EnvironmentBody, ...], _FromList] = ()
    job_clusters: Annotated[tuple[ClusterBody, ...], _FromList] = ()
    parameters: Annotated[tuple[ParameterBody, ...], _FromList] = ()


def read_job(name: str, body: object) -> JobBody:
    """One job of the file.

    Raises:
        JobError: A key is missing, unknown or has no value of its kind; the message names it.
    """
    try:
        return JobBody.model_validate(body)
    except ValidationError as error:
        # A misspelt key may leave another one missing: the misspelt one is to be mended.
        problems = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        problem = problems[0]
        where = ": ".join([f"job {name}", *_path(body, problem["loc"])])
        reason = problem["msg"][:1].lower() + problem["msg"][1:]
        if problem["type"] == "missing":
            reason = "is missing"
        elif problem["type"] == "extra_forbidden":
            known = {field for each in _Body.__subclasses__() for field in each.model_fields}
            reason = f"is no known field{did_you_mean(str(problem['loc'][-1]), known)}"
        elif problem["type"] in _KINDS:
            reason = f"is no {_KINDS[problem['type']]}"
        raise JobError(f"{where} {reason}") from error


def _path(body: object, where: Sequence[str | int]) -> list[str]:
    """`task a` and `python_wheel_task.entry_point`: a task by its key if it has one."""
    if len(where) < 2 or where[0] != "tasks" or not isinstance(body, Mapping):
        return [".".join(map(str, where))] if where else []
    number = int(where[1])
    task: Any = body["tasks"][number]
    key = task.get("task_key", number + 1) if isinstance(task, Mapping) else number + 1
    return [f"task {key}", *([".".join(map(str, where[2:]))] if where[2:] else [])]
