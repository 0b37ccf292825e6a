import io
import logging

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
