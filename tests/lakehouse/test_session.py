import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.errors import EnvironmentProblem
from lakehouse.session import spark_session
from lakehouse.settings import SparkSettings
from tests.servers import free_port


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


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["clean_candles"], "Missing option '--conf'"),
        (["clean_candles", "--conf", "x.yaml", "--no-such"], "No such option"),
    ],
)
def test_spark_submit_says_how_a_task_is_used_without_a_trace(
    arguments: list[str], wrong: str
) -> None:
    script = str(Path(__file__).parents[2] / "deploy" / "launch.py")
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert wrong in done.stderr
    assert "Traceback" not in done.stderr
