"""A run that failed, as its table, its log and `candlelake runs` show it, and its resumption."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner, Result

from lakehouse import cli, resume, runner
from lakehouse.contracts import Column, TableContract
from lakehouse.errors import NotEnoughData
from lakehouse.locks import going_on
from lakehouse.runs import TASK_RUNS, TaskRun, record, recorded_here_alone
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Lake
from lakehouse.tasks import Task, TaskContext, TaskOutcome

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[2]
DONE = TableContract(
    "gold", "done", "What was done", (Column("task", "STRING", "Task"),), ("task",)
)
# `last` is content with one success, as the report is.
JOB = {
    "first": [],
    "bad": ["first"],
    "good": ["first"],
    "after": ["bad"],
    "last": ["good", "after"],
}


@dataclass(frozen=True)
class House:
    """A checkout with one job, whose task `bad` fails while the file `wrong` is there."""

    folder: Path
    lake: Lake

    @property
    def wrong(self) -> Path:
        return self.folder / "wrong"

    def call(self, *arguments: str) -> Result:
        given = {"warehouse": self.folder / "lake", "archive.url": ROOT / "samples"}
        options = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
        conf = str(self.folder / "conf" / "sample.yaml")
        return CliRunner().invoke(cli.main, [*arguments, "--conf", conf, *options])

    def tasks(self) -> dict[str, dict[str, Any]]:
        found = self.lake.read_own(TASK_RUNS).toArrow().to_pylist()
        rows = {row["task"]: row for row in found}
        assert len(rows) == len(found)
        assert len({row["run_id"] for row in found}) <= 1
        return rows

    def done(self) -> Counter[str]:
        return Counter(row["task"] for row in self.lake.read_own(DONE).collect())


@pytest.fixture
def house(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    (tmp_path / "conf").mkdir()
    for name in ("base.yaml", "sample.yaml"):
        shutil.copy(ROOT / "conf" / name, tmp_path / "conf")
    made = House(tmp_path, Lake(spark, str(tmp_path / "lake")))

    def work(context: TaskContext) -> TaskOutcome:
        if context.task == "bad" and made.wrong.exists():
            raise NotEnoughData("three bars\nare too few")
        if context.lake.exists(DONE):
            context.lake.read(DONE)
        context.lake.append(DONE, context.lake.frame(DONE, [{"task": context.task}]))
        return TaskOutcome(f"{context.task} done", {"what": context.task})

    bodies = {key: Task(key, f"Do {key}.", work) for key in JOB}
    for module in (runner, resume):
        monkeypatch.setattr(module, "load_task", bodies.__getitem__)
    (tmp_path / "jobs.yaml").write_text(yaml.safe_dump(jobs_file()))
    made.wrong.touch()
    return made


def jobs_file() -> Mapping[str, Any]:
    tasks: list[dict[str, Any]] = [
        {
            "task_key": key,
            "depends_on": [{"task_key": name} for name in after],
            "python_wheel_task": {
                "package_name": "candlelake",
                "entry_point": key,
                "parameters": [
                    *("--conf", "{{job.parameters.conf}}", "--run-id", "{{job.run_id}}"),
                    *("--job", "{{job.name}}"),
                ],
            },
        }
        for key, after in JOB.items()
    ]
    tasks[-1]["run_if"] = "AT_LEAST_ONE_SUCCESS"
    conf = {"name": "conf", "default": "conf/sample.yaml"}
    return {"resources": {"jobs": {"j": {"parameters": [conf], "tasks": tasks}}}}


def cells(result: Result) -> list[list[str]]:
    """The rows of a printed table."""
    assert result.exit_code == 0, result.output
    return [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in result.stdout.splitlines()
        if line.startswith("│")
    ]


def test_a_failed_run_is_shown_and_resumed(
    house: House, spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lakehouse")
    assert house.call("run", "j").exit_code == 1

    # A failed task stopped its dependants, and its log says why in one line.
    failed = house.tasks()
    assert {key: row["status"] for key, row in failed.items()} == {
        "first": "succeeded",
        "bad": "failed",
        "good": "succeeded",
        "after": "skipped",
        "last": "succeeded",
    }
    assert failed["bad"]["message"] == "three bars are too few"
    assert failed["after"]["message"] == "skipped: bad did not succeed"
    (why,) = (line for line in caplog.messages if "failed" in line and "bars" in line)
    assert why.startswith("[2/5] bad failed after ")
    assert why.endswith(" s: three bars are too few")
    assert house.done() == Counter(["first", "good", "last"])

    # The run, and its tasks with rows and versions.
    (run_id,) = {row["run_id"] for row in failed.values()}
    (newest,) = cells(house.call("runs"))
    assert (newest[0], newest[1], newest[4:]) == (run_id, "j", ["3", "0", "1", "1", "failed"])
    shown = {row[1]: row[2:] for row in cells(house.call("runs", run_id))}
    assert shown.keys() == JOB.keys()
    rows = slice(3, None)
    assert shown["first"][rows] == ["0", "1", "first done", "", "gold.done 1"]
    assert shown["bad"][rows] == ["NULL", "0", "three bars are too few", "", ""]
    assert shown["after"][rows] == ["0", "0", "skipped: bad did not succeed", "", ""]
    assert shown["last"][rows] == ["2", "1", "last done", "gold.done 2", "gold.done 3"]

    # Other settings are another run's, but for what says where it runs.
    refused = house.call("run", "j", "--resume", "--set", "index.top_n=7", "--set", "index.seed=1")
    assert refused.exit_code == 1
    assert (
        f"run {run_id} had other settings: index.seed 42 and not 1, index.top_n 20 and not 7: "
        in (refused.stderr)
    )
    # What failed, what was skipped and what depends on them, in the same run.
    house.wrong.unlink()
    resumed = house.call("run", "j", "--resume", "--set", "spark.conf.spark.driver.memory=3g")
    assert resumed.exit_code == 0, resumed.output
    assert "earlier: first done" in resumed.stdout
    after = house.tasks()
    assert {row["status"] for row in after.values()} == {"succeeded"}
    assert {row["run_id"] for row in after.values()} == {run_id}
    assert house.done() == Counter(["first", "good", "last", "bad", "after", "last"])
    for key in ("first", "good"):
        assert after[key] == failed[key]

    # A run that was killed left no row of a task.
    spark.sql(f"DELETE FROM {house.lake.name(TASK_RUNS)} WHERE task IN ('after', 'last')")
    assert cells(house.call("runs"))[0][-1] == "incomplete"
    assert house.call("run", "j", "--resume", run_id).exit_code == 0
    assert house.done() == Counter(["first", "good", "bad", *["after"] * 2, *["last"] * 3])
    assert cells(house.call("runs"))[0][4:] == ["5", "0", "0", "0", "succeeded"]

    # A resumption was killed before the last task: its row is older than what it depends on.
    # Arrow gives a map as its pairs.
    old = {key: dict(v) if isinstance(v, list) else v for key, v in failed["last"].items()}
    house.lake.replace(TASK_RUNS, house.lake.frame(TASK_RUNS, [old]), "task = 'last'")
    assert house.call("run", "j", "--resume").exit_code == 0
    assert house.done() == Counter(["first", "good", "bad", *["after"] * 2, *["last"] * 4])

    # Nothing is left, and the code of now is told from the code that was.
    spark.sql(f"UPDATE {house.lake.name(TASK_RUNS)} SET code_version = 'old' WHERE task = 'first'")
    before = house.tasks()
    assert house.call("run", "j", "--resume", run_id).exit_code == 0
    assert house.tasks() == before
    assert "not run again, though the code has changed since: first" in caplog.messages

    # A run that was killed in its first task left no row: the newest of the table is not it.
    refused = house.call("run", "j", "--resume")
    assert refused.exit_code == 1
    assert refused.stderr.splitlines()[-1] == (
        f"error: the newest recorded run {run_id} of job j is complete; a run killed before its "
        "first task ended leaves no row: run without --resume"
    )
    assert house.tasks() == before


OLDER = replace(
    TASK_RUNS,
    columns=tuple(each for each in TASK_RUNS.columns if each.name not in TASK_RUNS.added),
    added=(),
)


def recorded(job: str, settings: Settings) -> TaskRun:
    at = datetime(2025, 1, 1, tzinfo=UTC)
    return TaskRun(
        run_id="scheduled__2025-01-01",
        task="first",
        job=job,
        status="succeeded",
        started_at=at,
        ended_at=at,
        message="done",
        figures={},
        rows_in=1,
        rows_out=1,
        read_versions={},
        written_versions={},
        settings_digest=settings.digest(),
        settings=settings.as_json(),
        code_version="older",
        market="um",
        interval="4h",
    )


def test_a_run_that_goes_on_is_not_resumed(house: House, spark: SparkSession) -> None:
    settings = load_settings(house.folder / "conf" / "sample.yaml")
    settings = settings.model_copy(update={"warehouse": str(house.folder / "lake")})
    assert house.call("run", "j").exit_code == 1
    before = house.tasks()
    run_id = before["first"]["run_id"]
    with going_on(settings.warehouse, run_id):
        refused = house.call("run", "j", "--resume")
    assert refused.exit_code == 1
    assert f"error: run {run_id} is going on: wait until it has ended" in refused.stderr
    assert house.tasks() == before
    assert not [each for each in (house.folder / "lake/_locks").iterdir() if run_id in each.name]


@pytest.mark.parametrize("here_alone", [True, False])
def test_a_task_that_is_recorded_again_takes_the_place_of_its_row(
    house: House, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, here_alone: bool
) -> None:
    settings = load_settings(house.folder / "conf" / "sample.yaml")
    settings = settings.model_copy(update={"warehouse": str(house.folder / "lake")})
    run = recorded("j", settings)
    others = [replace(run, task="second"), replace(run, task="third", status="skipped")]
    look, looks = Lake.read_own, []
    monkeypatch.setattr(
        Lake, "read_own", lambda *given: (looks.append(given[1].full_name), look(*given))[1]
    )
    with recorded_here_alone(run.run_id) if here_alone else nullcontext():
        record(spark, settings, run)  # makes the table
        record(spark, settings, *others)
        assert looks == ([] if here_alone else [TASK_RUNS.full_name])
        record(spark, settings, replace(run, status="failed"))
        record(spark, settings, replace(run, message="again"))
    record(spark, settings, replace(others[0], message="again"), others[1])
    monkeypatch.undo()
    told = {(task, row["status"], row["message"]) for task, row in house.tasks().items()}
    assert told == {
        ("first", "succeeded", "again"),
        ("second", "succeeded", "again"),
        ("third", "skipped", run.message),
    }


def test_two_jobs_may_have_a_run_of_one_name(house: House, spark: SparkSession) -> None:
    settings = load_settings(house.folder / "conf" / "sample.yaml")
    settings = settings.model_copy(update={"warehouse": str(house.folder / "lake")})
    for job in ("j", "other", "j"):
        record(spark, settings, recorded(job, settings))
    runs = cells(house.call("runs"))
    assert sorted(row[1] for row in runs) == ["j", "other"]
    tasks = cells(house.call("runs", runs[0][0]))
    assert [row[:2] for row in tasks] == [["j", "first"], ["other", "first"]]


def test_a_look_at_runs_of_an_older_release_leaves_their_table_as_it_is(
    house: House, settings: Settings
) -> None:
    row = asdict(recorded("j", settings))
    house.lake.append(OLDER, house.lake.frame(OLDER, [row]))
    version = house.lake.version(OLDER)
    (run,) = cells(house.call("runs"))
    assert cells(house.call("runs", run[0]))[0][5:7] == ["NULL", "NULL"]
    assert "had other settings" in house.call("run", "j", "--resume").stderr
    assert house.lake.version(OLDER) == version


def test_a_run_that_is_not_there_is_named(house: House) -> None:
    house.lake.append(DONE, house.lake.frame(DONE, [{"task": "alone"}]))
    for arguments, named in (
        (["runs"], f"no run is recorded in {house.folder}/lake"),
        (["run", "j", "--resume"], "ops.task_runs knows no task of a run of job j: "),
        (["run", "j", "--resume", "r-0"], "ops.task_runs knows no task of run r-0 of job j: "),
    ):
        result = house.call(*arguments)
        assert result.exit_code == 1
        assert f"error: {named}" in result.stderr
    house.lake.create(TASK_RUNS)
    result = house.call("runs", "r-0")
    assert "error: no run 'r-0' is recorded" in result.stderr
    assert cells(house.call("runs")) == []
    assert "knows no task" in house.call("run", "j", "--resume").stderr
