"""How far the landing is: a bar on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as SpeedColumn

log = logging.getLogger(__name__)

_LOG_EVERY_SECONDS = 15
_MB = 1e6


class LandingProgress:
    """Counts planned and finished files and bytes; its methods may be called by any thread.

    Args:
        show: Shows files done, files planned, bytes done and bytes planned on a terminal; None
            logs instead.
        clock: Seconds of a monotonic clock.
    """

    def __init__(
        self,
        show: Callable[[int, int, int, int], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._show = show
        self._clock = clock
        self._started = self._logged = clock()
        self._lock = threading.Lock()
        self._files = self._planned_files = 0
        self._bytes = self._planned_bytes = 0

    def plan(self, files: int, size_bytes: int) -> None:
        """So many more files are to be downloaded."""
        with self._lock:
            self._planned_files += files
            self._planned_bytes += size_bytes
            self._tell()

    def done(self, size_bytes: int) -> None:
        """One of them is done with, landed or failed."""
        with self._lock:
            self._files += 1
            self._bytes += size_bytes
            self._tell()

    @property
    def outstanding_bytes(self) -> int:
        """What is still to be downloaded of what is planned so far."""
        return self._planned_bytes - self._bytes

    def line(self) -> str:
        """Files, bytes, rate, and the time left at that rate for what is planned so far."""
        seconds = self._clock() - self._started
        rate = self._bytes / seconds if seconds > 0 else 0.0
        left = f", {self.outstanding_bytes / rate / 60:,.1f} min left" if rate > 0 else ""
        return (
            f"{self._files:,} of {self._planned_files:,} files done, {self._bytes / _MB:,.1f} of "
            f"{self._planned_bytes / _MB:,.1f} MB, {rate / _MB:,.1f} MB/s{left}"
        )

    def _tell(self) -> None:
        if self._show is not None:
            self._show(self._files, self._planned_files, self._bytes, self._planned_bytes)
        elif self._clock() - self._logged >= _LOG_EVERY_SECONDS:
            self._logged = self._clock()
            log.info("%s", self.line())


@contextmanager
def landing_progress(console: Console) -> Iterator[LandingProgress]:
    """Progress for one landing: a bar if the console is a terminal that shows anything."""
    if not console.is_terminal or console.quiet:
        yield LandingProgress()
        return
    columns = (
        TextColumn("landing {task.fields[files]}"),
        BarColumn(),
        DownloadColumn(),
        SpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("landing", files="…")

        def show(files: int, planned_files: int, done: int, planned: int) -> None:
            bar.update(task, completed=done, total=planned, files=f"{files:,}/{planned_files:,}")

        yield LandingProgress(show)
