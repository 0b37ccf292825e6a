"""Turns that processes take, with real ones."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event

import pytest

from lakehouse import locks
from lakehouse.errors import EnvironmentProblem, JobError
from lakehouse.interruption import interrupt
from lakehouse.locks import alone, by_one_process, going_on

Lock = Callable[[str, str], AbstractContextManager[None]]

HOLDER = """
import sys
from lakehouse import locks
with getattr(locks, sys.argv[1])(sys.argv[2], "work"):
    print("in", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(lock: Lock, warehouse: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-c", HOLDER, lock.__name__, str(warehouse)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        try:
            yield process
        finally:
            process.kill()


class Waiting(logging.Handler):
    """Sees the line that says for what is waited."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Event()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.seen.set()


@pytest.fixture
def waiting(caplog: pytest.LogCaptureFixture) -> Iterator[Waiting]:
    caplog.set_level(logging.INFO)
    handler = Waiting()
    locks.log.addHandler(handler)
    yield handler
    locks.log.removeHandler(handler)


def taken(lock: Lock, warehouse: Path) -> bool:
    with lock(str(warehouse), "work"):
        return True


@pytest.mark.parametrize("lock", [alone, by_one_process])
def test_a_process_waits_for_another_and_goes_on_when_that_is_killed(
    lock: Lock, tmp_path: Path, waiting: Waiting
) -> None:
    with held_elsewhere(lock, tmp_path) as process, ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(taken, lock, tmp_path)
        assert waiting.seen.wait(60)
        assert not waiter.done()
        assert taken(lock, tmp_path / "another warehouse")
        process.kill()
        assert waiter.result(60)
    assert waiting.lines == [f"waiting for another run's work in {tmp_path}"]
    assert taken(lock, tmp_path)


@pytest.mark.parametrize("lock", [alone, by_one_process])
def test_who_waits_can_be_stopped(lock: Lock, tmp_path: Path, waiting: Waiting) -> None:
    with held_elsewhere(lock, tmp_path), ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(taken, lock, tmp_path)
        assert waiting.seen.wait(60)
        interrupt()
        with pytest.raises(EnvironmentProblem, match="stopped while it waited"):
            waiter.result(60)
    assert taken(lock, tmp_path)


def test_threads_share_what_their_process_holds_but_not_what_one_does_alone(
    tmp_path: Path, waiting: Waiting
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with by_one_process(str(tmp_path), "work"):
            assert pool.submit(taken, by_one_process, tmp_path).result(60)
        with alone(str(tmp_path), "work"):
            waiter = pool.submit(taken, alone, tmp_path)
            assert waiting.seen.wait(60)
            assert not waiter.done()
        assert waiter.result(60)


def test_a_run_is_seen_to_go_on_until_its_process_has_ended(tmp_path: Path) -> None:
    with held_elsewhere(going_on, tmp_path) as process:
        with pytest.raises(JobError, match="run work is going on: wait until it has ended"):
            taken(going_on, tmp_path)
        with going_on(str(tmp_path), "another"):
            pass
        process.kill()
        process.wait()
        assert taken(going_on, tmp_path)
    assert list((tmp_path / "_locks").iterdir()) == []


def test_a_run_that_ends_while_another_opens_its_file_leaves_it_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, ended = locks._take, going_on(str(tmp_path), "work")
    ended.__enter__()

    def once_the_other_has_ended(handle: int, run_id: str) -> None:
        monkeypatch.setattr(locks, "_take", take)
        ended.__exit__(None, None, None)  # the open file is nobody's now, and has no name
        take(handle, run_id)

    monkeypatch.setattr(locks, "_take", once_the_other_has_ended)
    with going_on(str(tmp_path), "work") as is_seen:
        assert is_seen
        with pytest.raises(JobError, match="is going on"):
            taken(going_on, tmp_path)
    assert taken(going_on, tmp_path)


def test_a_run_whose_file_cannot_be_locked_is_not_seen(tmp_path: Path, waiting: Waiting) -> None:
    (tmp_path / "_locks").touch()
    with going_on(str(tmp_path), "work") as is_seen:
        assert not is_seen
    assert "cannot be locked" in waiting.lines[0]


def test_a_place_that_cannot_be_locked_is_said_and_used(tmp_path: Path, waiting: Waiting) -> None:
    (tmp_path / "_locks").touch()
    assert taken(alone, tmp_path)
    assert waiting.lines == [
        f"{tmp_path}/_locks/work cannot be locked (File exists): let one process at a time write"
    ]
