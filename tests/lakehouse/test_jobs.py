from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.bundles.jobs import Job as BundleJob
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lakehouse import installed
from lakehouse.errors import JobError
from lakehouse.job_file import ALL_SUCCESS, AT_LEAST_ONE_SUCCESS
from lakehouse.jobs import (
    ENTRY_POINT_GROUP,
    Job,
    JobTask,
    Schedule,
    find_job,
    load_jobs,
    load_task,
)
from lakehouse.tasks import Task

JOBS = Path(__file__).parents[2] / "jobs.yaml"
BODIES: dict[str, Any] = yaml.safe_load(JOBS.read_text())["resources"]["jobs"]
PIPELINES = [name for name in BODIES if name != "maintenance"]
CONF = "conf/sample.yaml"
REFERENCES = {"job.parameters.conf": CONF, "job.name": "j", "job.run_id": "r-1"}


WHEEL = {"package_name": "candlelake", "entry_point": "x"}
WRONG_CLUSTER = "job_clusters.0.new_cluster is no mapping"


def body_of(key: str, *after: str) -> dict[str, Any]:
    return {
        "task_key": key,
        "depends_on": [{"task_key": name} for name in after],
        "python_wheel_task": {"package_name": "candlelake", "entry_point": f"do_{key}"},
    }


def write(folder: Path, *tasks: object, **job: object) -> Path:
    path = folder / "jobs.yaml"
    body = {**job, "tasks": list(tasks)}
    path.write_text(yaml.safe_dump({"resources": {"jobs": {"j": body}}}))
    return path


def refused(path: Path) -> str:
    with pytest.raises(JobError) as caught:
        load_jobs(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message.removeprefix(f"{path}: ")


def ancestors(job: Job, key: str) -> set[str]:
    (task,) = (each for each in job.tasks if each.key == key)
    return {key}.union(*(ancestors(job, above) for above in task.depends_on))


# The product's own jobs.


@pytest.mark.parametrize("name", BODIES)
def test_databricks_accepts_every_job(name: str) -> None:
    job = BundleJob.from_dict(BODIES[name])
    assert job.name == name  # what {{job.name}} gives there is what it gives here
    assert job.max_concurrent_runs == 1
    assert job.queue is not None
    for body in BODIES[name]["tasks"]:
        assert body["python_wheel_task"]["package_name"] == "candlelake"
        assert body["timeout_seconds"] > 0


def test_databricks_accepts_not_just_anything() -> None:
    misspelt: Any = {**BODIES["medallion"], "tsks": []}
    with pytest.raises(ValueError, match="tsks"):
        BundleJob.from_dict(misspelt)


@pytest.mark.parametrize("name", BODIES)
def test_every_task_is_an_entry_point_of_the_installed_wheel(name: str) -> None:
    installed = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    for task in find_job(JOBS, name).tasks:
        assert task.entry_point in installed
        # ops.task_runs knows a task by its own name, the summary by its key: they are the same.
        assert load_task(task.entry_point).name == task.entry_point == task.key


@pytest.mark.parametrize("name", BODIES)
def test_every_task_is_told_its_settings_its_run_and_its_job(name: str) -> None:
    job = find_job(JOBS, name)
    candles = ["--candles", "factors"] if job.candles == "factors" else []
    for task in job.tasks:
        assert task.arguments(REFERENCES) == [
            *("--conf", "conf/sample.yaml", "--run-id", "r-1", "--job", "j"),
            *candles,
        ]


@pytest.mark.parametrize("name", BODIES)
def test_the_places_of_a_workspace_are_told_where_they_are_known(name: str) -> None:
    places = [each["name"] for each in BODIES[name]["parameters"] if each["name"] != "conf"]
    known = {f"job.parameters.{place}": f"the {place}" for place in places}
    told = find_job(JOBS, name).tasks[0].arguments({**REFERENCES, **known})
    settings = [value for option, value in pairwise(told) if option == "--set"]
    assert [value.partition("=")[2] for value in settings] == [f"the {place}" for place in places]


def test_only_the_factor_model_works_on_its_own_candles() -> None:
    candles = {name: find_job(JOBS, name).candles for name in BODIES}
    assert candles.pop("factor_model") == "factors"
    assert set(candles.values()) == {"archive"}


@pytest.mark.parametrize("name", BODIES)
def test_every_task_accepts_what_it_is_told(name: str) -> None:
    for task in find_job(JOBS, name).tasks:
        told = task.arguments({**REFERENCES, "job.parameters.conf": str(JOBS.parent / CONF)})
        parsed = load_task(task.entry_point).parse(told)
        assert parsed is not None
        assert (parsed.run_id, parsed.job) == ("r-1", "j")


@pytest.mark.parametrize("name", PIPELINES)
def test_the_quality_gate_is_last_and_after_everything(name: str) -> None:
    job = find_job(JOBS, name)
    assert job.tasks[-1].key == "quality_gate"
    assert ancestors(job, "quality_gate") == {task.key for task in job.tasks}
    assert "max_retries" not in BODIES[name]["tasks"][-1]  # another try would find the same


@pytest.mark.parametrize("name", PIPELINES)
def test_every_job_is_complete_in_itself(name: str) -> None:
    job = find_job(JOBS, name)
    assert [task.key for task in job.tasks][:2] == ["ingest_archive", "clean_candles"]
    for task in job.tasks[2:]:
        assert {"ingest_archive", "clean_candles"} < ancestors(job, task.key)


def test_the_job_that_make_runs_is_there() -> None:
    job = find_job(JOBS, "medallion")
    assert job.description
    assert {"smart_index", "pca", "kmeans", "gbt", "report"} < {task.key for task in job.tasks}


# Reading any jobs.yaml.


def test_a_task_is_read_whole(tmp_path: Path) -> None:
    body = body_of("b", "a")
    body["python_wheel_task"]["parameters"] = ["--set", "index.top_n=5", 7]
    job = load_jobs(write(tmp_path, body, body_of("a")))["j"]
    assert job == Job(
        name="j",
        description="",
        tasks=(
            JobTask("a", "do_a", (), ()),
            JobTask("b", "do_b", ("--set", "index.top_n=5", "7"), ("a",)),
        ),
    )


def test_what_a_scheduler_needs_is_read(tmp_path: Path) -> None:
    body = {**body_of("a"), "max_retries": 2, "min_retry_interval_millis": 1500}
    schedule = {"quartz_cron_expression": "0 0 12 * * ?", "timezone_id": "Europe/Zurich"}
    path = write(
        tmp_path,
        {**body, "timeout_seconds": 60},
        schedule={**schedule, "pause_status": "PAUSED"},
        max_concurrent_runs=3,
        timeout_seconds=90,
    )
    job = load_jobs(path)["j"]
    assert job.schedule == Schedule("0 0 12 * * ?", "Europe/Zurich", paused=True)
    assert (job.max_concurrent_runs, job.timeout_seconds) == (3, 90)
    (task,) = job.tasks
    assert (task.max_retries, task.retry_seconds, task.timeout_seconds) == (2, 1.5, 60)
    running = load_jobs(write(tmp_path, body, schedule=schedule))["j"].schedule
    assert running == Schedule("0 0 12 * * ?", "Europe/Zurich", paused=False)


def test_a_schedule_that_is_none_names_its_job(tmp_path: Path) -> None:
    said = refused(write(tmp_path, body_of("a"), schedule={"timezone_id": "UTC"}))
    assert said == "job j: schedule.quartz_cron_expression is missing"


@pytest.mark.parametrize(
    ("key", "section"), [("environment_key", "environments"), ("job_cluster_key", "job_clusters")]
)
def test_an_undefined_cluster_or_environment_is_named(
    tmp_path: Path, key: str, section: str
) -> None:
    body = {**body_of("a"), key: "x"}
    said = refused(write(tmp_path, body, **{section: [{key: "y"}]}))
    assert said == f"job j: task a: {key} x must stand once in {section}, and does 0 times"
    assert "0 times" in refused(write(tmp_path, body))
    assert "2 times" in refused(write(tmp_path, body, **{section: [{key: "x"}, {key: "x"}]}))
    assert load_jobs(write(tmp_path, body, **{section: [{key: "x"}, {key: "y"}]}))


def test_an_undeclared_parameter_of_the_job_is_named(tmp_path: Path) -> None:
    body = body_of("a")
    body["python_wheel_task"]["parameters"] = ["--set", "catalog={{job.parameters.catalogue}}"]
    said = refused(write(tmp_path, body, parameters=[{"name": "catalog", "default": "c"}]))
    assert said == "job j: task a: the job has no parameter catalogue"


@pytest.mark.parametrize(
    ("twice", "key"),
    [
        ("resources: {jobs: {j: {tasks: []}, j: {tasks: []}}}", "j"),
        ("resources: {jobs: {j: {tasks: [{task_key: a, task_key: b}]}}}", "task_key"),
    ],
)
def test_what_is_written_twice_hides_nothing(tmp_path: Path, twice: str, key: str) -> None:
    (tmp_path / "jobs.yaml").write_text(twice)
    assert f"key {key} stands twice" in refused(tmp_path / "jobs.yaml")


def test_the_order_of_the_file_decides_between_tasks_that_are_ready(tmp_path: Path) -> None:
    path = write(tmp_path, *map(body_of, "dbca"), body_of("e", "c"), body_of("f", "d"))
    assert [task.key for task in load_jobs(path)["j"].tasks] == list("dbcaef")


@st.composite
def acyclic_tasks(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Tasks in any order, each after some of those that come before it in another order."""
    keys = [f"t{i}" for i in range(draw(st.integers(1, 8)))]
    bodies = []
    for i, key in enumerate(keys):
        after = draw(st.lists(st.sampled_from(keys[:i]), unique=True)) if i else []
        bodies.append(body_of(key, *after))
    return draw(st.permutations(bodies))


@hypothesis_settings(max_examples=60, deadline=None)
@given(bodies=acyclic_tasks())
def test_each_task_comes_after_those_it_depends_on(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[dict[str, Any]]
) -> None:
    job = load_jobs(write(tmp_path_factory.mktemp("jobs"), *bodies))["j"]
    keys = [task.key for task in job.tasks]
    assert sorted(keys) == sorted(body["task_key"] for body in bodies)
    for position, task in enumerate(job.tasks):
        assert set(task.depends_on) <= set(keys[:position])


def test_one_success_may_be_enough(tmp_path: Path) -> None:
    bodies = [body_of("a"), body_of("b", "a")]
    assert {task.run_if for task in load_jobs(write(tmp_path, *bodies))["j"].tasks} == {ALL_SUCCESS}
    bodies[1]["run_if"] = "AT_LEAST_ONE_SUCCESS"
    assert load_jobs(write(tmp_path, *bodies))["j"].tasks[1].run_if == AT_LEAST_ONE_SUCCESS
    bodies[1]["run_if"] = "ALL_DONE"
    said = refused(write(tmp_path, *bodies))
    assert said.startswith("job j: task b: run_if input should be 'ALL_SUCCESS' or ")


def test_an_unknown_dependency_is_named(tmp_path: Path) -> None:
    said = refused(write(tmp_path, body_of("a", "z"), body_of("b", "a", "y")))
    assert said == "job j: depends_on names unknown tasks y, z"


def test_a_repeated_task_is_named(tmp_path: Path) -> None:
    said = refused(write(tmp_path, *map(body_of, "abca")))
    assert said == "job j: task_key a stands twice"


@pytest.mark.parametrize("circle", ["a", "ab", "abc"])
def test_a_circle_is_named(tmp_path: Path, circle: str) -> None:
    bodies = [body_of(key, circle[i - 1]) for i, key in enumerate(circle)]
    said = refused(write(tmp_path, body_of("z"), *bodies))
    assert said.startswith("job j: tasks depend on each other in a circle: ")
    assert set(circle) == set(said.rpartition(": ")[2].split(" -> "))


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"task_key": "a"}, "task a: python_wheel_task is missing"),
        ({"python_wheel_task": WHEEL}, "task 1: task_key is missing"),
        (
            {"task_key": "a", "python_wheel_task": {"package_name": "candlelake"}},
            "task a: python_wheel_task.entry_point is missing",
        ),
        (
            {"task_key": "a", "notebook_task": {"notebook_path": "x"}},
            "task a: notebook_task is no known field",
        ),
        (
            {"task_key": "a", "python_wheel_task": {**WHEEL, "package_name": "candle"}},
            "task a: python_wheel_task.package_name input should be 'candlelake'",
        ),
        (
            {"task_key": "a", "python_wheel_task": {**WHEEL, "params": []}},
            "task a: python_wheel_task.params is no known field: did you mean parameters?",
        ),
        (
            {**body_of("a"), "dependson": [{"task_key": "b"}]},
            "task a: dependson is no known field: did you mean depends_on?",
        ),
        (
            {**body_of("a"), "max_retry": 1},
            "task a: max_retry is no known field: did you mean max_retries?",
        ),
        (
            {**body_of("a"), "health": {"rules": [], "rule": 1}},
            "task a: health.rule is no known field: did you mean rules?",
        ),
        ({**body_of("a"), "depends_on": ["b"]}, "task a: depends_on.0 is no mapping"),
        ({**body_of("a"), "depends_on": "b"}, "task a: depends_on is no list"),
        ({**body_of("a"), "max_retries": "two"}, "task a: max_retries input should be a valid"),
        ({**body_of("a"), "max_retries": True}, "task a: max_retries input should be a valid"),
        ({**body_of("a"), "timeout_seconds": -1}, "task a: timeout_seconds input should be gr"),
        ({**body_of("a"), "timeout_seconds": "60"}, "task a: timeout_seconds input should be a"),
        ("a", "task 1 is no mapping"),
        (None, "task 1 is no mapping"),
    ],
)
def test_what_is_wrong_with_a_task_is_named(tmp_path: Path, body: object, wrong: str) -> None:
    assert refused(write(tmp_path, body)).startswith(f"job j: {wrong}")


@pytest.mark.parametrize(
    ("section", "wrong"),
    [
        ({"parameters": [{"default": "x"}]}, "parameters.0.name is missing"),
        ({"environments": [{"spec": {}}]}, "environments.0.environment_key is missing"),
        ({"job_clusters": [{"new_cluster": {}}]}, "job_clusters.0.job_cluster_key is missing"),
        ({"schedule": "daily"}, "schedule is no mapping"),
        ({"job_clusters": [{"job_cluster_key": "x", "new_cluster": 1}]}, WRONG_CLUSTER),
        (
            {"max_concurent_runs": 1},
            "max_concurent_runs is no known field: did you mean max_concurrent_runs?",
        ),
        (
            {"max_concurrent_runs": 0},
            "max_concurrent_runs input should be greater than or equal to 1",
        ),
    ],
)
def test_what_is_wrong_beside_the_tasks_is_named(
    tmp_path: Path, section: dict[str, Any], wrong: str
) -> None:
    assert refused(write(tmp_path, body_of("a"), **section)) == f"job j: {wrong}"


def test_a_job_without_tasks_is_named(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    for body, wrong in (("", " is no mapping"), ("{schedule: {}}", ": tasks is missing")):
        path.write_text(f"resources: {{jobs: {{j: {body}}}}}")
        assert refused(path) == f"job j{wrong}"


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"text", b"- a", b"resources:", b"resources: {jobs: }", b"resources: {jobs: [a]}"),
        *(b"resources: {pipelines: {}}", b"a: [", b"a: \xff", b"at: 2024-13-01"),
    ],
)
def test_a_file_without_jobs_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "jobs.yaml").write_bytes(content)
    assert refused(tmp_path / "jobs.yaml").startswith(f"{tmp_path / 'jobs.yaml'} is not a bundle")


def test_a_missing_file_is_named_without_an_option_of_the_command_line(tmp_path: Path) -> None:
    said = refused(tmp_path / "jobs.yaml")
    assert said == f"the file of the jobs, {tmp_path / 'jobs.yaml'}, does not exist"
    assert str(tmp_path) in refused(tmp_path)  # a folder


def test_an_unknown_job_is_named_with_those_there_are() -> None:
    with pytest.raises(JobError) as caught:
        find_job(JOBS, "medalion")
    assert "'medalion'" in str(caught.value)
    assert all(name in str(caught.value) for name in BODIES)


# References and entry points.


def test_references_are_replaced_wherever_they_stand() -> None:
    task = JobTask("t", "t", ("--at={{job.run_id}}/{{job.name}}", "{{job.run_id}}", "{x}"), ())
    assert task.arguments(REFERENCES) == ["--at=r-1/j", "r-1", "{x}"]
    elsewhere = {**REFERENCES, "job.run_id": "{{ run_id }}"}  # a scheduler's own template
    assert task.arguments(elsewhere)[1] == "{{ run_id }}"


def test_a_setting_that_only_a_workspace_knows_is_left_to_the_settings_file() -> None:
    given = ("--set", "a={{job.parameters.x}}", "--set", "b=1", "--set", "c={{job.parameters.y}}")
    task = JobTask("t", "t", (*given, "--job", "{{job.name}}"), ())
    assert task.arguments(REFERENCES) == ["--set", "b=1", "--job", "j"]
    known = {**REFERENCES, "job.parameters.y": "2"}
    assert task.arguments(known) == ["--set", "b=1", "--set", "c=2", "--job", "j"]
    with pytest.raises(JobError, match="is not known here"):
        JobTask("t", "t", ("--conf", "{{job.parameters.x}}"), ()).arguments(REFERENCES)


@pytest.mark.parametrize(
    "text", ["{{job.id}}", "{{tasks.a.values.b}}", "x{{ job.name}}", "{{job.name", "{{job.name} }"]
)
def test_an_unknown_reference_is_named(text: str) -> None:
    with pytest.raises(JobError, match="task t: parameter ") as caught:
        JobTask("t", "t", ("--x", text), ()).arguments(REFERENCES)
    assert text in str(caught.value)


def test_an_unknown_entry_point_is_named() -> None:
    with pytest.raises(JobError, match="no entry point 'ingest'"):
        load_task("ingest")


def test_an_entry_point_that_is_no_task_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "made_here"

        def load(self) -> object:
            return print

    monkeypatch.setattr(installed, "entry_points", lambda group: [Point()])
    with pytest.raises(JobError, match="'made_here' is not a task"):
        load_task("made_here")


def test_tasks_are_loaded_as_they_are() -> None:
    assert isinstance(load_task("ingest_archive"), Task)
