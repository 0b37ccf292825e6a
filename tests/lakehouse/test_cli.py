from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from lakehouse import cli, doctor, runner, tasks
from lakehouse.contracts import Column, TableContract
from lakehouse.doctor import Check
from lakehouse.errors import NotEnoughData, QualityError
from lakehouse.logs import Subject, subject
from lakehouse.reproduction import Comparison, Reproduction
from lakehouse.runs import TaskRun
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from lakehouse.tasks import Task, TaskContext, TaskOutcome

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[2]
COMMANDS = dict(cli.main.commands)
CONF_PARAMETER = {"parameters": [{"name": "conf", "default": "conf/sample.yaml"}]}
KEY = "data/futures/um/monthly/klines/1000PEPEUSDT/4h/1000PEPEUSDT-4h-2025-01.zip"
NOTES = TableContract(
    layer="gold",
    name="notes",
    comment="Notes [of a test]",
    columns=(
        Column("at", "TIMESTAMP", "UTC"),
        Column("note", "STRING", "What it says"),
        Column("rate", "DOUBLE", "A number"),
        Column("file", "STRING", "A long one"),
    ),
    key=("note",),
)


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a user stands: conf/sample.yaml and samples/ are found from here."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("CANDLELAKE_CONF", raising=False)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, arguments)


def refused(result: Result) -> str:
    """The one line of a failed command's stderr, without `error: `."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


# What is wrong is said before Spark starts, in one line.


def test_an_unknown_job_is_named_with_those_there_are() -> None:
    said = refused(call("run", "medalion"))
    assert "'medalion'" in said
    assert "medallion" in said.partition("jobs.yaml")[2]


def test_a_misspelt_field_of_a_task_is_named_before_anything_is_run(tmp_path: Path) -> None:
    wrong = tmp_path / "jobs.yaml"
    wrong.write_text((ROOT / "jobs.yaml").read_text().replace("depends_on:", "dependson:", 1))
    said = refused(call("run", "medallion", "--jobs", str(wrong)))
    assert said == (
        f"{wrong}: job medallion: task clean_candles: dependson is no known field: "
        "did you mean depends_on?"
    )


def test_jobs_are_looked_for_above_the_settings(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    for name in ("base.yaml", "sample.yaml"):
        (tmp_path / "conf" / name).write_text((ROOT / "conf" / name).read_text())
    said = refused(call("run", "medallion", "--conf", str(tmp_path / "conf" / "sample.yaml")))
    assert str(tmp_path / "jobs.yaml") in said
    assert "--jobs" in said


@pytest.mark.parametrize("command", [["run", "medallion"], ["sql", "SELECT 1"], ["tables"]])
@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("index.topn=3", "--set: index.topn: no such key"),
        ("index.top_n=[bold]", "--set: index.top_n: Input should be a valid integer"),
        ("index.top_n", "--set 'index.top_n' must have the form key=value"),
    ],
)
def test_a_wrong_setting_is_named(command: list[str], override: str, named: str) -> None:
    said = refused(call(*command, "--set", override))
    assert said.startswith(named)
    assert ("['bold']" in said) == ("[bold]" in override)  # nothing is taken for markup


def test_a_settings_file_that_is_not_there_is_named() -> None:
    assert "conf/smaple.yaml" in refused(call("tables", "--conf", "conf/smaple.yaml"))


def test_the_settings_file_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLELAKE_CONF", "conf/from-the-environment.yaml")
    assert "conf/from-the-environment.yaml" in refused(call("tables"))


@pytest.mark.parametrize("override", ["archive.url=/nowhere", "archive.interval=12h"])
def test_an_archive_without_the_candles_is_named(override: str) -> None:
    said = refused(call("run", "medallion", "--set", override))
    assert override.partition("=")[2] in said
    assert "archive.url" in said


def test_the_factor_models_candles_are_looked_for_in_its_own_months() -> None:
    march = ["--set", "factors.start=2026-03", "--set", "factors.end=2026-03"]
    said = refused(call("run", "factor_model", *march))
    assert "0 symbols with 1m candles (um) of 2026-03 to 2026-03" in said
    assert "`factors.interval`, `factors.start` and `factors.end` to what it has" in said


@pytest.mark.parametrize(
    "command", [["sql", "SELECT 1"], ["tables"], ["history", "silver.candles"], ["report"]]
)
def test_a_warehouse_without_tables_is_named(command: list[str], tmp_path: Path) -> None:
    warehouse = tmp_path / "[red]"  # which is no markup
    said = refused(call(*command, "--set", f"warehouse='{warehouse}'"))
    assert str(warehouse) in said
    assert "candlelake run" in said
    assert not warehouse.exists()


@pytest.mark.parametrize("java_home", ["/nowhere", None])
def test_without_java_one_line_says_how_to_get_it(tmp_path: Path, java_home: str | None) -> None:
    # In processes of their own: this one may have a session already.
    (tmp_path / "bin").mkdir()
    clean = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"}
    clean |= {"JAVA_HOME": java_home} if java_home else {"PATH": str(tmp_path / "bin")}
    program = Path(sys.executable).with_name("candlelake")
    done = subprocess.run(
        [program, "run", "medallion", "--set", f"warehouse={tmp_path / 'lake'}"],
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    # Progress lines begin with the time.
    (line,) = (line for line in done.stderr.splitlines() if not line[:1].isdigit())
    assert line.startswith("error: Spark needs Java 17")
    assert (f"JAVA_HOME={java_home}" if java_home else "none on the PATH") in line
    assert "install" in line
    assert not (tmp_path / "lake").exists()


def test_debug_shows_the_trace() -> None:
    result = call("--debug", "tables", "--set", "no.such=1")
    assert type(result.exception).__name__ == "SettingsError"
    assert result.exit_code == 1


@pytest.mark.parametrize("arguments", [["run"], ["runn", "medallion"], ["sql"], ["tables", "-x"]])
def test_wrong_usage_is_told_from_failure(arguments: list[str]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert "Traceback" not in result.stderr


# Help teaches.


def test_the_commands_are_those_that_users_know() -> None:
    assert set(COMMANDS) >= {"run", "sql", "history", "tables", "doctor", "report", "reproduce"}


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_begins_with_what_to_type(flag: str) -> None:
    said = call(flag).output
    for line in ("candlelake run medallion", 'candlelake sql "SELECT', "VERSION AS OF 0"):
        assert line in said
    for name, command in COMMANDS.items():
        assert name in said
        assert " ".join(command.get_short_help_str().split()[:3]) in said


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_every_command_says_what_it_does_and_takes(name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0
    said = " ".join(result.output.split())
    summary = COMMANDS[name].get_short_help_str(limit=200)
    assert len(summary.split()) >= 5
    assert f"Usage: main {name}" in said
    assert "--set KEY=VALUE" in said
    assert "--conf" in said
    for each in COMMANDS[name].params:
        if isinstance(each, click.Option):
            assert each.help
        else:  # an argument: the text speaks of it and gives an example
            explained = said.partition(summary.split()[0])[2].partition("Options:")[0]
            assert str(each.name).upper() in explained
            assert f"candlelake {name} " in explained or "such as" in explained


def test_version() -> None:
    assert call("--version").output.startswith("candlelake, version ")


# A run, its summary and its exit status; the tasks are the test's own.


def report_figures(_: TaskContext) -> TaskOutcome:
    return TaskOutcome(f"read {KEY} [1/2] :100:", {"per [symbol]": "12:100:30"})


def fail(_: TaskContext) -> TaskOutcome:
    raise NotEnoughData("3 bars [of 50]\nare too few")


@pytest.fixture
def jobs_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Jobs `good` and `bad` of tasks that need no Spark."""
    made = {"figures": Task("figures", "F.", report_figures), "fail": Task("fail", "F.", fail)}
    monkeypatch.setattr(runner, "load_task", made.__getitem__)
    monkeypatch.setattr(runner, "spark_session", lambda _: nullcontext(None))
    for module in (runner, tasks):
        monkeypatch.setattr(module, "record", lambda *_: None)

    def body(key: str, *after: str) -> dict[str, Any]:
        return {
            "task_key": key,
            "depends_on": [{"task_key": name} for name in after],
            "python_wheel_task": {
                "package_name": "candlelake",
                "entry_point": "fail" if key == "fail" else "figures",
                "parameters": ["--conf", "{{job.parameters.conf}}"],
            },
        }

    jobs = {
        "good": {**CONF_PARAMETER, "tasks": [body("a"), body("b", "a")]},
        "bad": {**CONF_PARAMETER, "tasks": [body("a"), body("fail"), body("c", "fail")]},
    }
    path = tmp_path / "jobs.yaml"
    path.write_text(yaml.safe_dump({"resources": {"jobs": jobs}}))
    return path


def test_a_good_run_ends_with_a_summary_and_zero(jobs_file: Path) -> None:
    warehouse = f"warehouse={jobs_file.parent}/my [bold]lake"
    result = call("run", "good", "--jobs", str(jobs_file), "--set", warehouse)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    for key in ("a", "b"):
        (line,) = (line for line in lines if f" {key} " in line and "succeeded" in line)
        assert f"read {KEY} [1/2] :100:" in line  # whole, and taken for nothing else
    assert any("per [symbol]" in line and "12:100:30" in line for line in lines)
    typed = f"tables --conf conf/sample.yaml --set '{warehouse}'"
    assert lines[-1].endswith(f" {typed}")  # the next command, as it can be typed
    assert "Not every task" not in result.stdout


def test_an_archive_behind_an_address_is_left_to_the_task(jobs_file: Path) -> None:
    address = "archive.url=http://127.0.0.1:9"  # where nobody answers
    result = call("run", "good", "--jobs", str(jobs_file), "--set", address)
    assert result.exit_code == 0, result.output


def test_a_bad_run_ends_with_the_failed_task_and_one(jobs_file: Path) -> None:
    result = call("run", "bad", "--jobs", str(jobs_file))
    assert result.exit_code == 1
    for key, status in (("a", "succeeded"), ("fail", "failed"), ("c", "skipped")):
        assert any(f" {key} " in line and status in line for line in result.stdout.splitlines())
    assert "Not every task succeeded" in result.stdout
    assert result.stderr.splitlines()[-1] == ("error: fail failed: 3 bars [of 50] are too few")
    (step,) = (line for line in result.stdout.splitlines() if line.startswith("  go on "))
    assert step.endswith(f" run bad --conf conf/sample.yaml --jobs {jobs_file} --resume")
    debugged = call("--debug", "run", "bad", "--jobs", str(jobs_file))
    assert isinstance(debugged.exception, NotEnoughData)


def test_a_run_that_the_gate_failed_is_begun_anew(
    jobs_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(_: TaskContext) -> TaskOutcome:
        raise QualityError("2 files failed")

    judged = {"figures": Task("figures", "F.", report_figures), "fail": Task("fail", "F.", judge)}
    monkeypatch.setattr(runner, "load_task", judged.__getitem__)
    result = call("run", "bad", "--jobs", str(jobs_file), "--set", "universe.target=7")
    (step,) = (line for line in result.stdout.splitlines() if line.startswith("  a new run "))
    told = f" run bad --conf conf/sample.yaml --set universe.target=7 --jobs {jobs_file}"
    assert step.endswith(told)
    assert "mend the files" in result.stdout
    assert "--resume" not in result.stdout


def test_a_command_that_is_stopped_says_so_in_one_line_and_with_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(_: Settings) -> list[Check]:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run_checks", stop)
    result = call("doctor")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "error: stopped\n"


def test_the_line_of_a_failed_command_names_its_run(
    jobs_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[tuple[str | None, Subject]] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((getattr(record, "event", None), subject()))

    handler = Kept()
    monkeypatch.setattr(cli, "configure_logs", lambda *_, **__: None)
    logging.getLogger("lakehouse").addHandler(handler)
    try:
        call("--log-format", "json", "run", "bad", "--jobs", str(jobs_file))
    finally:
        logging.getLogger("lakehouse").removeHandler(handler)
    (ended,) = (about for name, about in lines if name == "run_ended")
    failed = [about for name, about in lines if name == "command_failed"]
    assert ended.run_id
    assert failed == [Subject(run_id=ended.run_id, job="bad")]


def test_the_line_of_a_run_that_is_stopped_names_it(
    jobs_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[Subject] = []

    def stop(_: object) -> None:
        lines.append(subject())
        raise KeyboardInterrupt

    def tell(*_: object) -> None:
        lines.append(subject())

    monkeypatch.setattr(runner, "spark_session", stop)
    monkeypatch.setattr(cli, "tell_failure", tell)
    assert call("run", "good", "--jobs", str(jobs_file)).exit_code == 130
    starting, ended = lines
    assert starting.run_id
    assert ended == starting == Subject(run_id=starting.run_id, job="good")


def test_doctor_names_what_is_missing_and_its_remedy_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    remedy = "pip install 'pyspark[connect]==4.2.0'"
    checks = [Check("Java", True, "17 at [/usr]"), Check("pyspark", False, "none", remedy)]
    monkeypatch.setattr(doctor, "run_checks", lambda _: checks)
    result = call("doctor")
    assert result.exit_code == 1
    assert any("missing" in line and remedy in line for line in result.stdout.splitlines())
    assert "17 at [/usr]" in result.stdout
    monkeypatch.setattr(doctor, "run_checks", lambda _: checks[:1])
    assert call("doctor").exit_code == 0


def test_report_runs_its_task_with_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[TaskContext] = []
    runs: list[TaskRun] = []

    def write(context: TaskContext) -> TaskOutcome:
        seen.append(context)
        return TaskOutcome("report/[1].html written")

    made = Task("report", "R.", write)
    monkeypatch.setattr(cli, "load_task", {"report": made}.__getitem__)
    monkeypatch.setattr(tasks, "spark_session", lambda _: nullcontext(None))
    monkeypatch.setattr(tasks, "record", lambda spark, settings, run: runs.append(run))
    (tmp_path / "gold" / "index_weights" / "_delta_log").mkdir(parents=True)
    (tmp_path / "gold" / "index_weights" / "_delta_log" / f"{0:020}.json").touch()
    result = call("report", "--set", f"warehouse={tmp_path}", "--set", "report.folder=there")
    assert (result.exit_code, result.stdout) == (0, "report/[1].html written\n")
    assert [context.settings.report.folder for context in seen] == ["there"]
    assert [run.status for run in runs] == ["succeeded"]


# A model had again.


@pytest.mark.parametrize("same", [True, False])
def test_reproduce_shows_both_values_and_says_whether_they_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    asked: list[str] = []

    def fit_again(settings: Settings, reference: str) -> Reproduction:
        asked.extend([settings.warehouse, reference])
        return Reproduction(
            title="gbt: run [1]",
            notes=["ml.features at version 3"],
            warnings=["other code"],
            comparisons=[
                Comparison("rmse", "0.25", "0.25", "0", same=True),
                Comparison("oos_r2", "-0.1", "-0.1" if same else "0.5", "0", same=same),
            ],
        )

    monkeypatch.setattr(cli, "load_reproduce", lambda: fit_again)
    (tmp_path / "ml" / "features" / "_delta_log").mkdir(parents=True)
    (tmp_path / "ml" / "features" / "_delta_log" / f"{0:020}.json").touch()
    result = call("reproduce", "models:/m@champion", "--set", f"warehouse={tmp_path}")
    assert asked == [str(tmp_path), "models:/m@champion"]
    assert "gbt: run [1]" in result.stdout
    shown = {cells(line)[0]: cells(line)[1:3] for line in result.stdout.splitlines() if "│" in line}
    assert shown["rmse"] == ["0.25", "0.25"]
    assert shown["oos_r2"] == ["-0.1", "-0.1" if same else "0.5"]
    assert "ml.features at version 3" in result.stdout
    assert "warning: other code" in result.stderr
    assert result.exit_code == (0 if same else 1)
    assert ("error: 1 of 2 values differ: oos_r2" in result.stderr) is not same


# Questions to real tables.


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def cells(line: str) -> list[str]:
    """The values of one printed row."""
    return [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]


@pytest.mark.usefixtures("far_from_utc")
def test_questions_to_the_tables(spark: SparkSession, tmp_path: Path) -> None:
    lake = Lake(spark, str(tmp_path / "a lake"))
    frame = spark.sql(
        "SELECT TIMESTAMP'2025-01-31 23:30:00Z' AS at, 'a [red]note :100:' AS note, "
        f"1e-4D AS rate, '{KEY}{KEY}' AS file UNION ALL SELECT NULL, 'bare', NULL, NULL"
    )
    lake.append(NOTES, frame)
    here = ("--set", f"warehouse={tmp_path / 'a lake'}")

    result = call("sql", "SELECT *, map('a', 1)['a'] FROM gold.notes ORDER BY at DESC", *here)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert cells(lines[1]) == ["at", "note", "rate", "file", "map(a, 1)[a]"]
    whole = ["2025-01-31 23:30:00+00:00", "a [red]note :100:", "0.0001", KEY + KEY, "1"]
    assert cells(lines[3]) == whole  # in UTC, uncut
    assert cells(lines[4]) == ["NULL", "bare", "NULL", "NULL", "1"]

    result = call("sql", "SELECT count(*) AS n FROM gold.notes VERSION AS OF 0", *here)
    assert cells(result.stdout.splitlines()[3]) == ["0"]
    result = call("sql", "SELECT id FROM range(9)", "--limit", "2", *here)
    assert len(result.stdout.splitlines()) == 3 + 2 + 1
    assert "first 2 rows" in result.stderr
    assert "first" not in call("sql", "SELECT id FROM range(2)", "--limit", "2", *here).stderr

    result = call("tables", *here)
    (line,) = (line for line in result.stdout.splitlines() if "gold.notes" in line)
    name, version, rows, _, comment = cells(line)
    assert (name, version, rows, comment) == ("gold.notes", "1", "2", "Notes [of a test]")

    result = call("history", "gold.notes", *here)
    newest, created = (cells(line) for line in result.stdout.splitlines()[3:5])
    assert (newest[0], newest[2], newest[3]) == ("1", "WRITE", "2")
    assert (created[0], created[2]) == ("0", "CREATE TABLE")
    assert newest[1].endswith("+00:00")
    said = refused(call("history", "gold.note", *here))
    assert "'gold.note'" in said
    assert "gold.notes" in said

    for query, named in (
        ("SELEC 1", "SELEC"),
        ("SELECT * FROM gold.nothing", "gold.notes"),
        ("SELECT 1 / (id - 1) FROM range(3)", "DIVIDE_BY_ZERO"),  # known only when it runs
        ("SELECT * FROM gold.notes VERSION AS OF 9", "version 9"),
    ):
        result = call("sql", query, *here)
        assert result.exit_code == 1
        (said,) = (line for line in result.stderr.splitlines() if line.startswith("error: "))
        assert named in said
        assert "Traceback" not in result.stderr
    spark.sql("DROP TABLE gold.notes")
