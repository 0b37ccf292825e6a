"""JSON log lines: one object an event, with run, job and task, whichever thread writes it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.logs import JsonFormatter, Subject, about, event, subject

ROOT = Path(__file__).parents[2]
ALWAYS = {"time", "level", "event", "run_id", "job", "task", "message", "logger"}


def as_json(message: str, *arguments: object, **given: Any) -> dict[str, Any]:
    record = logging.getLogger("silver.x").makeRecord(
        "silver.x",
        logging.WARNING,
        "f",
        1,
        message,
        arguments,
        given.pop("exc_info", None),
        **given,
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    assert found.keys() >= ALWAYS
    return found


@given(st.text())
def test_any_text_is_one_line_and_stays_as_it_is(text: str) -> None:
    assert as_json("%s", text)["message"] == text


def test_a_line_names_its_time_level_event_and_fields() -> None:
    before = datetime.now(UTC)
    line = as_json("%d rows", 7, extra=event("task_ended", seconds=1.5, figures={"a": "ü"}))
    assert (line["message"], line["level"], line["logger"]) == ("7 rows", "warning", "silver.x")
    assert (line["event"], line["seconds"], line["figures"]) == ("task_ended", 1.5, {"a": "ü"})
    told = datetime.fromisoformat(line["time"])
    assert (told - before).total_seconds() == pytest.approx(0, abs=30)
    assert told.utcoffset() == datetime.now(UTC).utcoffset()
    assert as_json("plain")["event"] == "log"


def test_a_trace_stands_in_its_own_field() -> None:
    try:
        int("x\ny")
    except ValueError:
        line = as_json("broke", exc_info=sys.exc_info())
    assert line["trace"].startswith("Traceback")
    assert "ValueError: invalid literal" in line["trace"]


def test_lines_name_what_they_are_about_in_every_thread() -> None:
    with ThreadPoolExecutor(1) as pool, about(run_id="r", job="j"):
        with about(task="t", position="[1/2] "):
            assert subject() == Subject("r", "j", "t", "[1/2] ")
            line = as_json("x")
            assert (line["run_id"], line["job"], line["task"]) == ("r", "j", "t")
            # A thread of the task's own knows the run at least.
            assert pool.submit(subject).result() == Subject("r", "j")
        assert subject() == Subject("r", "j")
    assert subject() == Subject()


def test_tasks_that_end_in_any_order_leave_no_subject_behind() -> None:
    first, second = about(run_id="r", task="a"), about(run_id="r", task="b")
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for pool, enter in ((one, first), (other, second)):
            pool.submit(enter.__enter__).result()
        assert subject() == Subject("r")
        for pool, leave in ((one, first), (other, second)):
            pool.submit(leave.__exit__, None, None, None).result()
        assert subject() == Subject()


def test_a_command_fails_in_one_json_line_and_in_no_other(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("candlelake"))
    for arguments, variable in (
        (["--log-format", "json"], {}),
        ([], {"CANDLELAKE_LOG_FORMAT": "json"}),
    ):
        done = subprocess.run(
            [program, *arguments, "tables", "--set", f"warehouse={tmp_path}/none"],
            cwd=ROOT, env=os.environ | variable, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = map(json.loads, done.stderr.splitlines())
        assert (line["event"], line["level"]) == ("command_failed", "error")
        assert line["message"].startswith(f"no tables in {tmp_path}/none")


def test_a_run_for_which_spark_does_not_start_is_named_by_every_line(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("candlelake"))
    arguments = ["--log-format", "json", "run", "medallion", "--set", f"warehouse={tmp_path}/lake"]
    done = subprocess.run(
        [program, *arguments],
        cwd=ROOT, env=os.environ | {"JAVA_HOME": "/nowhere"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    started, failed = map(json.loads, done.stderr.splitlines())
    assert (started["event"], failed["event"]) == ("run_started", "command_failed")
    assert started["run_id"]
    assert (failed["run_id"], failed["job"]) == (started["run_id"], "medallion")


def test_a_task_that_is_the_whole_process_logs_json_too(tmp_path: Path) -> None:
    """As spark-submit and Databricks start it; here no session is needed."""
    script = (
        "import sys, warnings\n"
        "from contextlib import nullcontext\n"
        "from lakehouse import tasks\n"
        "from lakehouse.errors import NotEnoughData\n"
        "tasks.spark_session = lambda _: nullcontext(None)\n"
        "tasks.record = lambda *_: None\n"
        "tasks.opened_beside = lambda *_: nullcontext()\n"
        "def body(context):\n"
        "    warnings.warn('odd')\n"
        "    raise NotEnoughData('three bars\\nare too few')\n"
        "sys.argv = ['t', '--conf', 'conf/sample.yaml', '--run-id', 'r', '--job', 'j',\n"
        "            '--log-format', 'json']\n"
        "tasks.Task('t', 'T.', body)()\n"
    )
    for error, ends_with in (
        ("NotEnoughData", "three bars are too few"),
        ("RuntimeError", "RuntimeError: three bars"),  # which nobody has explained
    ):
        done = subprocess.run(
            [sys.executable, "-c", script.replace("raise NotEnoughData", f"raise {error}")],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")  # raised, as Databricks wants it
        *lines, end = [json.loads(line) for line in done.stderr.splitlines()]
        assert [line["event"] for line in lines] == ["task_started", "log", "task_failed"]
        assert {(line["run_id"], line["job"], line["task"]) for line in lines} == {("r", "j", "t")}
        assert "odd" in lines[1]["message"]
        assert end["event"] == "command_failed"
        for line in (lines[2], end):
            assert line["message"].endswith(ends_with)
        assert "Traceback" in end["trace"]


def launch(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A task by `deploy/launch.py`, which fails."""
    done = subprocess.run(
        [sys.executable, "deploy/launch.py", *arguments],
        cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    return done


def test_a_task_that_cannot_begin_says_so_in_one_line() -> None:
    misspelt = ("clean_candles", "--conf", "conf/smaple.yaml")
    (plain,) = launch(*misspelt).stderr.splitlines()
    assert plain.startswith("error: ")
    for done in (
        launch(*misspelt, "--log-format", "json"),
        launch(*misspelt, CANDLELAKE_LOG_FORMAT="json"),
    ):
        (line,) = map(json.loads, done.stderr.splitlines())
        assert (line["event"], line["task"]) == ("command_failed", "clean_candles")
        assert f"error: {line['message']}" == plain


def test_a_task_that_fails_leaves_json_lines_and_no_other(tmp_path: Path) -> None:
    arguments = ("--conf", "conf/sample.yaml", "--set", f"warehouse={tmp_path}", "--job", "j")
    done = launch("maintain_tables", *arguments, "--run-id", "r", "--log-format", "json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["task_started", "task_failed", "command_failed"]
    about = {(line["run_id"], line["job"], line["task"]) for line in lines}
    assert about == {("r", "j", "maintain_tables")}
    assert lines[-1]["message"].startswith(f"no tables in {tmp_path}")
