import io
import json
import logging
import os
import subprocess
import sys

import pytest
from rich.console import Console

from bronze.progress import LandingProgress, landing_progress


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_rate_and_time_left_are_of_what_is_planned_so_far() -> None:
    clock = Clock()
    progress = LandingProgress(clock=clock)
    assert progress.line() == "0 of 0 files done, 0.0 of 0.0 MB, 0.0 MB/s"
    progress.plan(3, 30_000_000)
    clock.seconds = 10.0
    progress.done(20_000_000)
    assert progress.outstanding_bytes == 10_000_000
    assert progress.line() == ("1 of 3 files done, 20.0 of 30.0 MB, 2.0 MB/s, 0.1 min left")
    progress.plan(1000, 1_170_000_000)
    assert progress.line() == ("1 of 1,003 files done, 20.0 of 1,200.0 MB, 2.0 MB/s, 9.8 min left")


def test_the_log_hears_of_it_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    progress = LandingProgress(clock=clock)
    progress.plan(100, 100)
    with caplog.at_level(logging.INFO):
        for second in range(100):
            clock.seconds = second
            progress.done(1)
    assert 5 <= len(caplog.messages) <= 7
    assert caplog.messages[0].startswith("16 of 100 files done")


def test_a_terminal_sees_a_bar_and_a_pipe_does_not() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    with landing_progress(terminal) as progress:
        progress.plan(4, 4_000_000)
        progress.done(1_000_000)
    assert isinstance(terminal.file, io.StringIO)
    assert "landing 1/4" in terminal.file.getvalue()
    assert "1.0/4.0 MB" in terminal.file.getvalue()

    pipe = Console(file=io.StringIO(), force_terminal=False)
    with landing_progress(pipe) as progress:
        progress.plan(4, 4_000_000)
        progress.done(1_000_000)
    assert isinstance(pipe.file, io.StringIO)
    assert pipe.file.getvalue() == ""


@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_neither_a_bar_nor_a_spinner_stands_between_json_lines(log_format: str) -> None:
    script = (
        "import sys\n"
        "from bronze.progress import landing_progress\n"
        "from lakehouse.console import err\n"
        "from lakehouse.logs import configure_logs, remark\n"
        "configure_logs(sys.argv[1])\n"
        "with err.status('starting Spark'):\n"
        "    pass\n"
        "with landing_progress(err) as progress:\n"
        "    progress.plan(4, 4_000_000)\n"
        "    progress.done(1_000_000)\n"
        "remark('more are there')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, log_format],
        env=os.environ | {"FORCE_COLOR": "1", "TERM": "xterm"},  # a terminal, as rich sees it
        capture_output=True,
        text=True,
        check=True,
    )
    if log_format == "json":
        (line,) = map(json.loads, done.stderr.splitlines())
        assert (line["level"], line["message"]) == ("warning", "more are there")
    else:
        for shown in ("starting Spark", "landing 1/4", "more are there"):
            assert shown in done.stderr
