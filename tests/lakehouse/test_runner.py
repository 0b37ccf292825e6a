import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lakehouse import runner, tasks
from lakehouse.errors import EnvironmentProblem, JobError, NotEnoughData
from lakehouse.interruption import stop_event
from lakehouse.job_file import ALL_SUCCESS, AT_LEAST_ONE_SUCCESS
from lakehouse.jobs import Job, JobTask
from lakehouse.runner import JobResult, run_job
from lakehouse.runs import TaskRun
from lakehouse.settings import load_settings
from lakehouse.tasks import Task, TaskContext, TaskOutcome

CONF = Path(__file__).parents[2] / "conf" / "sample.yaml"
PARAMETERS = (
    *("--conf", "{{job.parameters.conf}}", "--run-id", "{{job.run_id}}"),
    *("--job", "{{job.name}}"),
)

Body = Callable[[TaskContext], TaskOutcome]


def job_task(
    key: str, *after: str, parameters: tuple[str, ...] = PARAMETERS, run_if: str = ALL_SUCCESS
) -> JobTask:
    return JobTask(key, key, parameters, after, run_if)


def done(_: TaskContext) -> TaskOutcome:
    return TaskOutcome("done", {"rows": "7"})


def nothing_to_do(_: TaskContext) -> TaskOutcome:
    return TaskOutcome("nothing to do", unchanged=True)


def fail(_: TaskContext) -> TaskOutcome:
    raise NotEnoughData("three bars\nare too few")


def break_down(_: TaskContext) -> TaskOutcome:
    raise ZeroDivisionError("division by zero\nand more")


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[TaskRun]:
    """What would go into ops.task_runs; neither Spark nor a table is there."""
    runs: list[TaskRun] = []
    monkeypatch.setattr(runner, "spark_session", lambda _: nullcontext(None))

    def keep(_: object, __: object, *done: TaskRun) -> None:
        runs.extend(done)

    monkeypatch.setattr(runner, "record", keep)
    monkeypatch.setattr(tasks, "record", keep)
    return runs


def run(
    monkeypatch: pytest.MonkeyPatch,
    bodies: Mapping[str, Body],
    *job_tasks: JobTask,
    overrides: tuple[str, ...] = (),
    done: Mapping[str, runner.TaskResult] | None = None,
) -> JobResult:
    """Run a job whose entry points are these bodies."""
    made = {name: Task(name, f"Do {name}.", body) for name, body in bodies.items()}
    monkeypatch.setattr(runner, "load_task", made.__getitem__)
    settings = load_settings(CONF, overrides)
    return run_job(Job("j", "", job_tasks), settings, CONF, overrides, "run-1", done)


def statuses(result: JobResult) -> dict[str, str]:
    return {task.task: task.status for task in result.tasks}


def test_a_failed_task_stops_its_dependants_and_no_others(
    monkeypatch: pytest.MonkeyPatch, recorded: list[TaskRun], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lakehouse")
    result = run(
        monkeypatch,
        {"a": done, "b": fail, "c": done, "d": nothing_to_do, "e": done, "f": done},
        job_task("a"),
        job_task("b", "a"),
        job_task("c", "b"),
        job_task("d", "a"),
        job_task("e", "c", "d"),
        job_task("f", "d"),
    )
    assert statuses(result) == {
        "a": "succeeded",
        "b": "failed",
        "c": "skipped",
        "d": "unchanged",
        "e": "skipped",
        "f": "succeeded",
    }
    assert not result.ok
    by_task = {task.task: task for task in result.tasks}
    assert by_task["a"].figures == {"rows": "7"}
    assert by_task["b"].message == "three bars are too few"
    assert isinstance(by_task["b"].error, NotEnoughData)
    assert by_task["c"].message == "skipped: b did not succeed"
    assert by_task["e"].message == "skipped: c did not succeed"
    assert [task.task for task in result.tasks] == list("abcdef")
    assert result.seconds >= max(task.seconds for task in result.tasks)
    # The run table has a row of each, the skipped ones with the reason.
    assert {run.task: run.status for run in recorded} == statuses(result)
    reasons = {run.task: run.message for run in recorded}
    assert reasons["c"] == by_task["c"].message
    assert reasons["b"] == by_task["b"].message
    assert {(run.run_id, run.job, run.settings_digest) for run in recorded} == {
        ("run-1", "j", load_settings(CONF).digest())
    }
    told = "\n".join(caplog.messages)
    for key in "abcdef":  # a line for each task, whatever became of it
        assert f"{key}: " in told or f"{key} failed" in told


@st.composite
def jobs_with_failures(draw: st.DrawFn) -> tuple[list[JobTask], set[str]]:
    keys = [f"t{i}" for i in range(draw(st.integers(1, 7)))]
    made = []
    for i, key in enumerate(keys):
        after = draw(st.lists(st.sampled_from(keys[:i]), unique=True)) if i else []
        made.append(job_task(key, *after))
    return made, draw(st.sets(st.sampled_from(keys)))


@hypothesis_settings(
    max_examples=50,
    deadline=None,
    # The patches stay the same from example to example.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(case=jobs_with_failures())
def test_a_task_runs_exactly_when_all_before_it_succeeded(
    monkeypatch: pytest.MonkeyPatch, recorded: list[TaskRun], case: tuple[list[JobTask], set[str]]
) -> None:
    made, failing = case
    before = len(recorded)
    bodies = {task.key: fail if task.key in failing else done for task in made}
    result = run(monkeypatch, bodies, *made)
    expected: dict[str, str] = {}
    for task in made:
        if any(expected[key] != "succeeded" for key in task.depends_on):
            expected[task.key] = "skipped"
        else:
            expected[task.key] = "failed" if task.key in failing else "succeeded"
    assert statuses(result) == expected
    assert result.ok == (not failing)
    assert {run.task: run.status for run in recorded[before:]} == expected
    assert len(recorded[before:]) == len(made)


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [(done, fail, "succeeded"), (fail, done, "succeeded"), (fail, fail, "skipped")],
)
def test_one_success_is_enough_where_the_job_says_so(
    monkeypatch: pytest.MonkeyPatch,
    recorded: list[TaskRun],
    first: Body,
    second: Body,
    status: str,
) -> None:
    last = job_task("c", "a", "b", run_if=AT_LEAST_ONE_SUCCESS)
    bodies = {"a": first, "b": second, "c": done}
    result = run(monkeypatch, bodies, job_task("a"), job_task("b"), last)
    assert statuses(result)["c"] == status
    assert not result.ok  # the failure is seen all the same


def test_an_error_that_nobody_explained_begins_with_its_type(
    monkeypatch: pytest.MonkeyPatch, recorded: list[TaskRun]
) -> None:
    result = run(monkeypatch, {"a": break_down}, job_task("a"))
    (task,) = result.tasks
    assert task.message == "ZeroDivisionError: division by zero"
    assert [run.message for run in recorded] == [task.message]


def test_an_error_of_the_engine_says_what_the_engine_said(
    monkeypatch: pytest.MonkeyPatch, recorded: list[TaskRun]
) -> None:
    class Py4JJavaError(Exception):
        """Its text is as py4j's: the cause comes after a line that says nothing."""

    def refuse(_: TaskContext) -> TaskOutcome:
        raise Py4JJavaError(
            "An error occurred while calling o7.saveAsTable.\n"
            ": org.apache.spark.SparkException: [CHECK] low > 0 violated\n\tat Some.java"
        )

    (task,) = run(monkeypatch, {"a": refuse}, job_task("a")).tasks
    assert task.message == (
        "Py4JJavaError: org.apache.spark.SparkException: [CHECK] low > 0 violated"
    )


def test_an_error_without_words_is_named_by_its_type(
    monkeypatch: pytest.MonkeyPatch, recorded: list[TaskRun]
) -> None:
    def fall_silent(_: TaskContext) -> TaskOutcome:
        raise AssertionError

    assert run(monkeypatch, {"a": fall_silent}, job_task("a")).tasks[0].message == "AssertionError"


def test_each_task_is_told_the_settings_the_run_and_the_job(
    monkeypatch: pytest.MonkeyPatch, recorded: list[TaskRun], tmp_path: Path
) -> None:
    seen: list[TaskContext] = []

    def look(context: TaskContext) -> TaskOutcome:
        seen.append(context)
        return TaskOutcome("seen")

    overrides = ("index.top_n=3", f"warehouse={tmp_path}/my lake")
    run(monkeypatch, {"a": look, "b": look}, job_task("a"), job_task("b"), overrides=overrides)
    assert [(each.job, each.run_id) for each in seen] == [("j", "run-1")] * 2
    assert [each.settings for each in seen] == [load_settings(CONF, overrides)] * 2


def test_tasks_that_do_not_wait_for_each_other_run_at_once(
    monkeypatch: pytest.MonkeyPatch, recorded: list[TaskRun]
) -> None:
    together = threading.Barrier(2, timeout=300)

    def meet(_: TaskContext) -> TaskOutcome:
        together.wait()
        return TaskOutcome("met")

    assert run(monkeypatch, {"a": meet, "b": meet}, job_task("a"), job_task("b")).ok


@pytest.mark.parametrize(
    ("parameters", "entry_points"),
    [
        (("--conf", "{{job.id}}"), {"a": done, "b": done}),
        (PARAMETERS, {"a": done}),
        ((*PARAMETERS, "--nope"), {"a": done, "b": done}),
        ((*PARAMETERS, "--help"), {"a": done, "b": done}),
    ],
    ids=["reference", "entry point", "parameter", "help"],
)
def test_what_is_wrong_with_the_file_is_found_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
    recorded: list[TaskRun],
    parameters: tuple[str, ...],
    entry_points: dict[str, Body],
) -> None:
    def start(_: Any) -> None:
        raise AssertionError("the session started")

    monkeypatch.setattr(runner, "spark_session", start)
    with pytest.raises((JobError, KeyError)):
        run(monkeypatch, entry_points, job_task("a"), job_task("b", parameters=parameters))
    assert recorded == []


def test_a_session_that_does_not_start_is_no_failed_task(
    monkeypatch: pytest.MonkeyPatch, recorded: list[TaskRun]
) -> None:
    def refuse(_: Any) -> None:
        raise EnvironmentProblem("no Java")

    monkeypatch.setattr(runner, "spark_session", refuse)
    with pytest.raises(EnvironmentProblem):
        run(monkeypatch, {"a": done}, job_task("a"))


def test_a_parameter_that_a_task_does_not_take_is_named(
    monkeypatch: pytest.MonkeyPatch, recorded: list[TaskRun]
) -> None:
    odd = job_task("a", parameters=(*PARAMETERS, "--nope"))
    with pytest.raises(JobError, match=r"task a: .*--nope[^.]*: correct jobs.yaml"):
        run(monkeypatch, {"a": done}, odd)


def test_what_was_done_earlier_in_the_run_is_not_done_again(
    monkeypatch: pytest.MonkeyPatch, recorded: list[TaskRun]
) -> None:
    earlier = {"a": runner.TaskResult("a", "succeeded", 9.0, "earlier: done", {"rows": "7"})}
    bodies = {"a": fail, "b": done, "c": done}
    result = run(
        monkeypatch, bodies, job_task("a"), job_task("b", "a"), job_task("c"), done=earlier
    )
    assert statuses(result) == {"a": "succeeded", "b": "succeeded", "c": "succeeded"}
    assert result.tasks[0] == earlier["a"]
    assert sorted(run.task for run in recorded) == ["b", "c"]


def test_a_row_that_cannot_be_written_hides_no_failure(
    monkeypatch: pytest.MonkeyPatch, recorded: list[TaskRun], caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(runner, "record", full)
    result = run(monkeypatch, {"a": fail, "b": done}, job_task("a"), job_task("b", "a"))
    assert statuses(result) == {"a": "failed", "b": "skipped"}
    assert "skipped tasks are not recorded: OSError: no space left on device" in caplog.messages


def test_an_interrupt_stops_work_that_runs_beside_spark(
    monkeypatch: pytest.MonkeyPatch, recorded: list[TaskRun]
) -> None:
    started, told = threading.Event(), []

    def work_until_told(_: TaskContext) -> TaskOutcome:
        stop = stop_event()
        started.set()
        told.append(stop.wait(300))
        return TaskOutcome("stopped")

    def interrupted(futures: object, return_when: str) -> None:
        assert started.wait(300)
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, {"download": work_until_told}, job_task("download"))
    assert told == [True]
