from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import click
import pytest
from tenacity import wait_none

from lakehouse import tasks
from lakehouse.code_version import code_version
from lakehouse.contracts import Column, TableContract
from lakehouse.errors import NotEnoughData, SettingsError, TableError, WriteConflict
from lakehouse.increments import untouched
from lakehouse.invocation import new_run_id
from lakehouse.jobs import ENTRY_POINT_GROUP
from lakehouse.runs import TASK_RUNS, TaskRun
from lakehouse.sql import equals
from lakehouse.tables import Lake
from lakehouse.tasks import Task, TaskContext, TaskOutcome, task

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakehouse.settings import Settings

ROOT = Path(__file__).parents[2]
CONF = str(ROOT / "conf" / "sample.yaml")
NUMBERS = TableContract("gold", "numbers", "Numbers", (Column("n", "INT", "One"),), ("n",))


def count(context: TaskContext) -> TaskOutcome:
    """Write a number more than there are."""
    numbers = context.lake.read(NUMBERS).count()
    context.lake.append(NUMBERS, context.lake.frame(NUMBERS, [{"n": numbers}]))
    return TaskOutcome(f"counted\n  {numbers}", {"numbers": str(numbers)})


def count_then_fail(context: TaskContext) -> TaskOutcome:
    count(context)
    raise NotEnoughData("it's too little:\n\ttwo lines")


def rest(_: TaskContext) -> TaskOutcome:
    return TaskOutcome("nothing new", unchanged=True)


def recorded(spark: SparkSession, settings: Settings) -> dict[tuple[str, str], dict[str, Any]]:
    found = Lake(spark, settings.warehouse).read_own(TASK_RUNS).toArrow().to_pylist()
    rows = {(row["run_id"], row["task"]): row for row in found}
    assert len(rows) == len(found)
    return rows


def test_every_run_of_a_task_leaves_one_row(spark: SparkSession, settings: Settings) -> None:
    started = datetime.now(UTC)
    run = Task("count", "Count.", count).run(spark, settings, "run-1", "j")
    quoted = 'o\'clock \\ "7"'
    failing = Task("failing", "Fail.", count_then_fail)
    with pytest.raises(NotEnoughData):
        failing.run(spark, settings, quoted, "")
    first = recorded(spark, settings)

    row = first["run-1", "count"]
    assert row == {**vars(run), "figures": [("numbers", "0")], **pairs(run)}
    assert (row["job"], row["status"], row["message"]) == ("j", "succeeded", "counted 0")
    assert dict(row["read_versions"]) == {"gold.numbers": 0}
    assert dict(row["written_versions"]) == {"gold.numbers": 1}
    assert (row["rows_in"], row["rows_out"]) == (0, 1)
    assert started <= row["started_at"] <= row["ended_at"] <= datetime.now(UTC)
    assert (row["settings_digest"], row["settings"]) == (settings.digest(), settings.as_json())
    assert row["code_version"] == code_version(__name__.partition(".")[0])
    assert (row["market"], row["interval"]) == ("um", "4h")

    # A failure says why, and what it had written by then.
    row = first[quoted, "failing"]
    assert (row["status"], row["message"]) == ("failed", "it's too little: two lines")
    assert dict(row["written_versions"]) == {"gold.numbers": 2}
    assert (row["rows_in"], row["rows_out"]) == (None, 1)  # not counted any more

    # Another attempt takes the place of the first, in the same run only.
    Task("failing", "Rest.", rest).run(spark, settings, quoted, "")
    second = recorded(spark, settings)
    assert second.keys() == first.keys()
    assert second["run-1", "count"] == first["run-1", "count"]
    assert second[quoted, "failing"]["status"] == "unchanged"
    assert not second[quoted, "failing"]["written_versions"]


def test_the_table_of_runs_is_opened_while_the_task_works(
    spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Event()
    create = Lake.create

    def told(lake: Lake, contract: TableContract) -> bool:
        is_new = create(lake, contract)
        opened.set()
        return is_new

    def wait(_: TaskContext) -> TaskOutcome:
        assert opened.wait(60)
        return TaskOutcome("it is there")

    monkeypatch.setattr(Lake, "create", told)
    Task("wait", "Wait.", wait).run(spark, settings, "run-1", "")
    assert recorded(spark, settings)["run-1", "wait"]["status"] == "succeeded"


def test_a_table_of_runs_that_cannot_be_opened_fails_the_task_at_its_end(
    spark: SparkSession, settings: Settings
) -> None:
    folder = Path(settings.warehouse, "ops", "task_runs")
    folder.mkdir(parents=True)
    (folder / "no-table.txt").write_text("in the way")
    done = []

    def work(_: TaskContext) -> TaskOutcome:
        done.append(True)
        return TaskOutcome("done")

    with pytest.raises(TableError, match="holds no table"):
        Task("work", "Work.", work).run(spark, settings, "run-1", "")
    assert done


def pairs(run: Any) -> dict[str, list[tuple[str, int]]]:
    """Maps as Arrow gives them."""
    return {
        name: list(getattr(run, name).items()) for name in ("read_versions", "written_versions")
    }


def test_what_stopped_a_task_is_raised_even_if_it_cannot_be_recorded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: TaskContext) -> TaskOutcome:
        raise NotEnoughData("the reason")

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(tasks, "record", full)
    monkeypatch.setattr(tasks, "opened_beside", lambda *_: nullcontext())
    nothing: Any = None  # no session is asked for anything
    with pytest.raises(NotEnoughData, match="the reason"):
        Task("t", "T.", fail).run(nothing, settings, "run-1", "")
    assert "t: the failure is not recorded: OSError: no space left on device" in caplog.messages
    # A success that cannot be recorded is none.
    with pytest.raises(OSError, match="no space"):
        Task("t", "T.", rest).run(nothing, settings, "run-1", "")


@pytest.mark.parametrize(("conflicts", "status"), [(2, "succeeded"), (99, "failed")])
def test_a_task_that_another_run_got_ahead_of_is_planned_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, conflicts: int, status: str
) -> None:
    seen: list[TaskContext] = []
    runs: list[TaskRun] = []

    def write(context: TaskContext) -> TaskOutcome:
        seen.append(context)
        context.lake.read_versions["silver.candles"] = len(seen)
        if len(seen) <= conflicts:
            raise WriteConflict("another run changed the same rows")
        return TaskOutcome("written")

    monkeypatch.setattr(tasks, "record", lambda spark, settings, run: runs.append(run))
    monkeypatch.setattr(tasks, "opened_beside", lambda *_: nullcontext())
    monkeypatch.setattr(tasks, "wait_random_exponential", lambda **_: wait_none())
    monkeypatch.setattr(Lake, "rows_read", lambda _: 7)
    nothing: Any = None  # no session is asked for anything
    with nullcontext() if status == "succeeded" else pytest.raises(WriteConflict):
        Task("t", "T.", write).run(nothing, settings, "run-1", "")
    (run,) = runs
    assert run.status == status
    # What was read before a conflict is not what the result comes from.
    assert run.read_versions == {"silver.candles": len(seen)}
    assert len({id(context.lake) for context in seen}) == len(seen) > 2
    assert {(context.run_id, context.now) for context in seen} == {("run-1", run.started_at)}


def test_what_was_committed_before_a_conflict_is_the_tasks_too(
    spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = replace(NUMBERS, name="notes")
    ahead: list[str] = []

    def write(context: TaskContext) -> TaskOutcome:
        if ahead and context.lake.read_own(NUMBERS).count():
            if context.task == "both":
                context.lake.append(notes, context.lake.frame(notes, [{"n": 1}, {"n": 2}]))
            return TaskOutcome("the rest", unchanged=context.task == "one")
        count(context)
        ahead.append(context.task)
        raise WriteConflict("another run changed notes")

    def unrecorded(context: TaskContext) -> TaskOutcome:
        scope = equals({"job": context.job})
        return TaskOutcome(str(untouched(context, scope, [NUMBERS])), unchanged=True)

    monkeypatch.setattr(tasks, "wait_random_exponential", lambda **_: wait_none())
    both = Task("both", "B.", write).run(spark, settings, "run-1", "j")
    assert both.written_versions == {"gold.numbers": 1, "gold.notes": 1}
    assert (both.status, both.rows_out) == ("succeeded", 3)
    # The next run finds its rows as this one left them.
    assert Task("both", "B.", unrecorded).run(spark, settings, "run-2", "j").message == "True"

    # Whoever finds all of it done by an earlier attempt has not left things unchanged.
    ahead.clear()
    settings = settings.model_copy(update={"warehouse": f"{settings.warehouse}-2"})
    one = Task("one", "O.", write).run(spark, settings, "run-1", "j")
    assert (one.status, one.written_versions) == ("succeeded", {"gold.numbers": 1})


def test_the_decorator_makes_a_task() -> None:
    made = task("rest", "Rest a while.")(rest)
    assert made == Task("rest", "Rest a while.", rest)


def test_a_wheel_task_returns_none_and_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Task("rest", "Rest a while.", rest)
    monkeypatch.setattr(sys, "argv", ["rest", "--help"])
    made()  # no SystemExit, which Databricks would report as a failure
    monkeypatch.setattr(sys, "argv", ["rest", "--conf", CONF, "--set", "no.such=1"])
    with pytest.raises(SettingsError, match=r"no: no such key"):
        made()
    monkeypatch.setattr(sys, "argv", ["rest"])
    with pytest.raises(click.UsageError, match="conf"):
        made()


def test_a_task_can_be_told_to_work_on_the_factor_models_candles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, str]] = []

    def run(_: Task, __: object, settings: Settings, *___: object) -> None:
        seen.append((settings.archive.interval, settings.archive.start))

    monkeypatch.setattr(tasks, "spark_session", lambda _: nullcontext())
    monkeypatch.setattr(Task, "run", run)
    made = Task("rest", "Rest a while.", rest)
    for candles in ((), ("--candles", "archive"), ("--candles", "factors")):
        made.main(["--conf", CONF, *candles])
    assert seen == [("4h", "2024-10"), ("4h", "2024-10"), ("1m", "2026-02")]
    with pytest.raises(click.UsageError, match="factors"):
        made.main(["--conf", CONF, "--candles", "other"])


def test_help_says_what_the_task_does_and_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert Task("rest", "Rest a while.", rest).main(["--help"]) is None
    said = capsys.readouterr().out
    for text in ("Usage: rest", "Rest a while.", "--conf", "--set KEY=VALUE", "--run-id", "--job"):
        assert text in said


def test_help_needs_neither_spark_nor_mlflow() -> None:
    names = sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP))
    script = (
        "import sys\n"
        "from lakehouse.jobs import load_task\n"
        "from lakehouse.cli import main\n"
        "for name in sys.argv[1:]:\n"
        "    load_task(name).main(['--help'])\n"
        "main(['run', '--help'], standalone_mode=False)\n"
        "heavy = {'pyspark', 'mlflow', 'pandas', 'numpy', 'matplotlib'}\n"
        "sys.exit(f'imported: {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: ") == len(names) + 1
    for name in names:
        assert f"Usage: {name} [OPTIONS]" in done.stdout


def test_run_ids_sort_by_time_and_are_never_the_same() -> None:
    early = [new_run_id(datetime(2025, 2, 1, 3, 4, 5, tzinfo=UTC)) for _ in range(50)]
    late = new_run_id(datetime(2025, 2, 1, 3, 4, 6, tzinfo=UTC))
    assert len(set(early)) == 50
    assert max(early) < late
    assert early[0].startswith("20250201T030405Z-")
