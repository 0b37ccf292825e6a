"""The DAGs in the real Airflow, in its own environment: `make airflow-test`.

Nothing of Airflow is imported at the top, for the other tests' environment does not have it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).parents[2]
DAG_FILE = ROOT / "dags" / "candlelake_dags.py"
RUN_SECONDS = 1800  # of a job on a slow machine; one that hangs must end some day
BODIES: dict[str, Any] = yaml.safe_load((ROOT / "jobs.yaml").read_text())["resources"]["jobs"]

# One task after another and beside it, with one that does not need all before it.
SMALL = {
    "first": {},
    "left": {"depends_on": ["first"], "max_retries": 1, "min_retry_interval_millis": 1},
    "right": {"depends_on": ["first"]},
    "after_left": {"depends_on": ["left"]},
    "last": {"depends_on": ["after_left", "right"], "run_if": "AT_LEAST_ONE_SUCCESS"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Airflow's own folder, with its database."""
    folder = tmp_path_factory.mktemp("airflow")
    assert airflow(folder, "db", "migrate").returncode == 0
    return folder


@pytest.fixture(scope="module")
def dags(home: Path) -> Iterator[ModuleType]:
    """The DAG file as Airflow imports it, with jobs.yaml of the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(home).items():
            patch.setenv(name, value)
        patch.syspath_prepend(str(DAG_FILE.parent))
        import candlelake_dags

        yield candlelake_dags


def environment(home: Path, **more: str) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAG_FILE.parent),
        **more,
    }


def airflow(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("airflow")), *arguments]
    given = os.environ | environment(home, **more)
    return subprocess.run(
        command, env=given, capture_output=True, text=True, check=False, timeout=RUN_SECONDS
    )


def run_dag(home: Path, job: str, jobs: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """One run of a job in this process of Airflow's, without its scheduler."""
    command = ("dags", "test", job, "2026-01-01", "--dagfile-path", str(DAG_FILE))
    return airflow(home, *command, CANDLELAKE_JOBS=str(jobs), **more)


def write_jobs(path: Path, **jobs: list[dict[str, Any]]) -> Path:
    declared = [{"name": "conf", "default": "conf/sample.yaml"}]
    bodies = {name: {"parameters": declared, "tasks": tasks} for name, tasks in jobs.items()}
    path.write_text(yaml.safe_dump({"resources": {"jobs": bodies}}))
    return path


def parameters(*more: str) -> list[str]:
    told = ["--conf", "{{job.parameters.conf}}", "--run-id", "{{job.run_id}}"]
    return [*told, "--job", "{{job.name}}", *more]


# What the DAGs are.


@pytest.mark.parametrize("name", BODIES)
def test_a_dag_has_the_tasks_of_its_job_with_their_order_and_limits(
    dags: ModuleType, name: str
) -> None:
    dag = dags.dags[name]
    assert vars(dags)[name] is dag
    assert set(dag.task_ids) == {body["task_key"] for body in BODIES[name]["tasks"]}
    for body in BODIES[name]["tasks"]:
        task = dag.get_task(body["task_key"])
        assert task.upstream_task_ids == {b["task_key"] for b in body.get("depends_on", ())}
        assert task.retries == body.get("max_retries", 0)
        assert task.execution_timeout == timedelta(seconds=body["timeout_seconds"])
        assert task.retries == 0 or task.retry_delay == timedelta(
            milliseconds=body["min_retry_interval_millis"]
        )
        any_is_enough = body.get("run_if") == "AT_LEAST_ONE_SUCCESS"
        rule = "all_done_min_one_success" if any_is_enough else "all_success"
        assert task.trigger_rule.value == rule
    assert dag.max_active_runs == 1
    assert not dag.catchup
    assert dag.dagrun_timeout == timedelta(seconds=BODIES[name]["timeout_seconds"])
    assert not dag.is_paused_upon_creation  # what a target of Databricks pauses runs here


@pytest.mark.parametrize("name", BODIES)
def test_a_task_is_told_its_settings_its_run_and_its_job(dags: ModuleType, name: str) -> None:
    for task in dags.dags[name].tasks:
        launch, _, told = task.bash_command.partition(f" {task.task_id} ")
        assert launch == f"exec {ROOT}/.venv/bin/python {ROOT}/deploy/launch.py"
        run_id = f"'{name}__{{{{ run_id }}}}'"  # unlike that of another job at the same time
        assert told.startswith(f"--conf {ROOT}/conf/sample.yaml --run-id {run_id} --job ")
        assert told.split()[7] == name
        assert ("--candles factors" in told) == (name == "factor_model")


def test_the_jobs_start_when_they_do_on_databricks(dags: ModuleType) -> None:
    from croniter import croniter

    after = datetime(2026, 11, 20, 13, tzinfo=UTC)  # a Friday
    starts = {
        name: croniter(dag.timetable.expression, after).get_next(datetime)
        for name, dag in dags.dags.items()
    }
    assert starts == {
        "medallion": datetime(2026, 11, 21, 12, tzinfo=UTC),
        "monthly_index": datetime(2026, 12, 2, 18, tzinfo=UTC),
        "factor_model": datetime(2026, 11, 20, 14, tzinfo=UTC),
        "maintenance": datetime(2026, 11, 22, 6, tzinfo=UTC),  # a Sunday
    }


@pytest.mark.parametrize(
    ("quartz", "cron"),
    [
        ("0 0 12 * * ?", "0 12 * * *"),
        ("0 */15 8-18 ? JAN,JUN MON-FRI", "*/15 8-18 * JAN,JUN MON-FRI"),
        ("0 30 1 1,15 * ?", "30 1 1,15 * *"),
    ],
)
def test_quartz_is_told_in_cron(dags: ModuleType, quartz: str, cron: str) -> None:
    assert dags.cron(quartz) == cron


@pytest.mark.parametrize(
    "quartz",
    [
        *("30 0 12 * * ?", "0 0 12 L * ?", "0 0 12 15W * ?", "0 0 12 ? * 2", "0 0 12 ? * MON#1"),
        *("0 0 12 ? * FRIL", "0 0 12 * * ? 2027", "0 12 * * *", ""),
    ],
)
def test_what_cron_does_not_have_is_refused(dags: ModuleType, quartz: str) -> None:
    with pytest.raises(ValueError, match="cannot be told in cron"):
        dags.cron(quartz)


# What Airflow makes of them.


def small_job(path: Path) -> Path:
    tasks = [
        {
            **body,
            "task_key": key,
            "depends_on": [{"task_key": name} for name in body.get("depends_on", ())],
            "python_wheel_task": {
                "package_name": "candlelake",
                "entry_point": key,
                "parameters": parameters("it's"),
            },
        }
        for key, body in SMALL.items()
    ]
    return write_jobs(path, small=tasks)


def launcher(folder: Path, failing: str) -> tuple[str, Path]:
    """A program that writes down what it is told, and fails where it should."""
    told = folder / "told"
    program = folder / "launch it"
    program.write_text(
        f"""#!/bin/sh
printf '%s\\n' "$*" >> {told}
case "$1" in {failing}) exit 1;; esac
"""
    )
    program.chmod(0o755)
    return f"'{program}'", told


def test_a_failed_task_is_tried_again_and_stops_those_that_need_it(
    home: Path, tmp_path: Path
) -> None:
    launch, told = launcher(tmp_path, failing="left")
    jobs = small_job(tmp_path / "jobs.yaml")
    done = run_dag(home, "small", jobs, CANDLELAKE_LAUNCH=launch, CANDLELAKE_CONF="a b.yaml")
    lines = told.read_text().splitlines()
    ran = [line.split()[0] for line in lines]
    assert sorted(ran) == ["first", "last", "left", "left", "right"], done.stdout + done.stderr
    assert (ran[0], ran[-1]) == ("first", "last")
    (run_id,) = {line.split("--run-id ")[1].split()[0] for line in lines}
    assert lines[0] == f"first --conf a b.yaml --run-id {run_id} --job small it's"


def test_a_jobs_file_that_is_wrong_is_an_error_of_the_import(home: Path, tmp_path: Path) -> None:
    jobs = small_job(tmp_path / "jobs.yaml")
    jobs.write_text(jobs.read_text().replace("task_key: right", "task_key: rigth", 1))
    done = run_dag(home, "small", jobs)
    assert done.returncode != 0
    assert "depends_on names unknown tasks right" in done.stdout + done.stderr


def test_a_job_runs_on_the_samples(home: Path, tmp_path: Path) -> None:
    overrides = (
        *("--set", f"warehouse={tmp_path}/lake"),
        *("--set", "universe={mode: symbols, symbols: [BTCUSDT]}"),
        *("--set", "archive.start=2025-12", "--set", "spark.master=local[2]"),
    )
    keys = ("ingest_archive", "clean_candles")
    tasks = [
        {
            "task_key": key,
            "depends_on": [{"task_key": name} for name in keys[: keys.index(key)]],
            "python_wheel_task": {
                "package_name": "candlelake",
                "entry_point": key,
                "parameters": parameters(*overrides),
            },
        }
        for key in keys
    ]
    done = run_dag(home, "candles", write_jobs(tmp_path / "jobs.yaml", candles=tasks))
    assert done.returncode == 0, done.stdout + done.stderr
    script = (
        "import deltalake, json, os, sys; root = sys.argv[1];"
        "runs = deltalake.DeltaTable(f'{root}/ops/task_runs').to_pyarrow_table().to_pylist();"
        "bars = deltalake.DeltaTable(f'{root}/silver/candles').to_pyarrow_table().num_rows;"
        "kept = [(r['task'], r['job'], r['status'], r['run_id']) for r in runs];"
        "print(json.dumps([sorted(kept), bars]), flush=True);"
        "os._exit(0)"  # delta-rs may abort at the interpreter's own exit, when all is read
    )
    read = [str(ROOT / ".venv" / "bin" / "python"), "-c", script, str(tmp_path / "lake")]
    told = subprocess.run(read, capture_output=True, check=True, timeout=RUN_SECONDS).stdout
    runs, bars = json.loads(told)
    assert [run[:3] for run in runs] == [
        ["clean_candles", "candles", "succeeded"],
        ["ingest_archive", "candles", "succeeded"],
    ]
    assert len({run[3] for run in runs}) == 1
    assert bars == 31 * 6
