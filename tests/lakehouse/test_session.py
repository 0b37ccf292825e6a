import fcntl
import runpy
import subprocess
import sys
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from lakehouse import logs, packages, session
from lakehouse.errors import EnvironmentProblem
from lakehouse.interruption import stop_event
from lakehouse.session import spark_session
from lakehouse.settings import SparkSettings
from lakehouse.tasks import Task
from tests.servers import free_port

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("address", ["sc://127.0.0.1:{port}", "sc://", "sc://127.0.0.1:http"])
def test_a_connect_server_that_is_not_there_is_told_at_once(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.session._current", None)  # the tests' own session
    monkeypatch.setattr("pyspark.sql.SparkSession.getActiveSession", lambda: None)
    with (
        pytest.raises(
            EnvironmentProblem, match=r"Spark Connect: .* (start it.* or correct|write it as)"
        ),
        spark_session(SparkSettings(remote=address.format(port=free_port()))),
    ):
        raise AssertionError("there is a session")


def test_ctrl_c_stops_what_waits_in_a_thread_beside(spark: "SparkSession") -> None:
    stop, begun, waiting = stop_event(), Event(), []

    def wait() -> bool:
        begun.set()
        return stop.wait(60)

    def interrupted() -> None:
        with session.threads(spark, 1, "test") as beside:
            waiting.append(beside.submit(wait))
            assert begun.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert waiting[0].result()


def test_what_a_thread_beside_has_not_begun_is_taken_back_by_ctrl_c(
    spark: "SparkSession", monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = stop_event()
    late = []

    def interrupted_at_its_end() -> None:
        with session.threads(spark, 1, "test") as beside:
            beside.submit(stop.wait, 60)
            late.append(beside.submit(lambda: None))
            shutdown = beside.shutdown

            def interrupted(*, wait: bool = True, cancel_futures: bool = False) -> None:
                monkeypatch.setattr(beside, "shutdown", shutdown)
                raise KeyboardInterrupt

            monkeypatch.setattr(beside, "shutdown", interrupted)

    with pytest.raises(KeyboardInterrupt):
        interrupted_at_its_end()
    assert stop.is_set()
    assert late[0].cancelled()


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["clean_candles"], "Missing option '--conf'"),
        (["clean_candles", "--conf", "x.yaml", "--no-such"], "No such option"),
        (["clean_candle"], "no task 'clean_candle'"),
        ([], "Tasks: asset_metrics, clean_candles, correlations, "),
    ],
)
def test_spark_submit_says_how_a_task_is_used_without_a_trace(
    arguments: list[str], wrong: str
) -> None:
    script = str(ROOT / "deploy" / "launch.py")
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert wrong in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_a_task_that_is_started_alone_ends_with_its_figures(
    log_format: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = SimpleNamespace(figures={"files": "3 (0 unchanged)", "missing months": "AUSDT 2025-01"})
    monkeypatch.setattr(Task, "start", lambda *_: found)
    monkeypatch.setattr(logs, "configure_logs", lambda _: None)
    options = ["--conf", str(ROOT / "conf" / "sample.yaml"), "--log-format", log_format]
    monkeypatch.setattr(sys, "argv", ["launch.py", "ingest_archive", *options])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "deploy" / "launch.py"))
    assert not end.value.code
    told = "  files: 3 (0 unchanged)\n  missing months: AUSDT 2025-01\n"
    assert capsys.readouterr().out == (told if log_format == "plain" else "")


def test_spark_submit_is_told_which_tasks_there_are() -> None:
    script = str(ROOT / "deploy" / "launch.py")
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: launch.py TASK --conf FILE")
    assert "ingest_archive, " in done.stdout


def is_resolving() -> bool:
    """Whether anybody has the packages alone."""
    with packages.LOCK.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class Builder:
    """What makes a session, up to the moment at which Spark would download its packages."""

    def __init__(self) -> None:
        self.conf: dict[str, str] = {}
        self.was_alone: bool | None = None

    def appName(self, _: str) -> "Builder":
        return self

    def master(self, _: str) -> "Builder":
        return self

    def config(self, key: str, value: str) -> "Builder":
        self.conf[key] = value
        return self

    def getOrCreate(self) -> None:
        self.was_alone = is_resolving()
        raise RuntimeError("no session is wanted")


@pytest.mark.parametrize("there", [True, False])
def test_one_process_at_a_time_downloads_packages(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that start at once on a machine without the jars would both fail."""
    for name in session.DELTA_JARS if there else ():
        (tmp_path / f"io.delta_{name}-{session.DELTA_RELEASE}.jar").touch()
    builder = Builder()
    monkeypatch.setattr(packages, "LOCK", tmp_path / "lock")  # and not of the machine
    monkeypatch.setattr(session, "_IVY_JARS", tmp_path)
    monkeypatch.setattr(session, "_current", None)  # the tests' own session
    monkeypatch.setattr("pyspark.sql.SparkSession.getActiveSession", lambda: None)
    monkeypatch.setattr("pyspark.sql.SparkSession.builder", builder)
    with (
        pytest.raises(EnvironmentProblem, match="no session is wanted"),
        spark_session(SparkSettings(master="local[1]")),
    ):
        raise AssertionError("there is a session")
    assert ("spark.jars.packages" in builder.conf) == (not there)
    assert builder.was_alone == (not there)
    assert not is_resolving()
