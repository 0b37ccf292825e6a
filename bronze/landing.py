"""Planned files of an http archive into the landing folder, several at once.

Files are queued while others are still being listed, and each ends in the account: it was there
already, it was downloaded, or it failed with its reason. The landing folder has the archive's
layout, so that it is an archive itself.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

from bronze.archive import FileFailure, ListedFile
from bronze.download import land_file, part_name
from bronze.http import BrokenOff, Http, RequestFailed
from bronze.landed import LandedFolder, RemoteFile
from bronze.progress import LandingProgress
from lakehouse.errors import EnvironmentProblem

log = logging.getLogger(__name__)

# So many files one after the other that could not be had are no matter of the files: each has been
# tried for minutes, and a hundred thousand more would take days.
_FAILURES_IN_A_ROW = 50

# How long the watch on the stop outlives the landing at the most; the stop itself wakes it.
_WATCH_SECONDS = 1.0

# Left free on the disk of the landing folder.
_RESERVE_BYTES = 500_000_000

# A file takes whole ones of the disk: half a million ZIPs and CHECKSUMs take 3 GB more than listed.
_BLOCK_BYTES = 4096


class LandingStopped(EnvironmentProblem):
    """The landing was broken off: by a full disk, or by whoever started it."""


@dataclass
class LandingAccount:
    """What became of every planned file; each is in one of the three.

    Attributes:
        kept: Files that were there already, as the archive lists them.
        landed: Files that were downloaded, or found to be the published ones.
        failed: Files that could not be had, or not with their checksum; each has its `failure`.
    """

    kept: list[ListedFile] = field(default_factory=list)
    landed: list[ListedFile] = field(default_factory=list)
    failed: list[ListedFile] = field(default_factory=list)

    @property
    def bytes_landed(self) -> int:
        """Size of the landed ones."""
        return sum(file.size_bytes for file in self.landed)

    def after(self, earlier: LandingAccount) -> LandingAccount:
        """This account, of the later landing of a run, in which its earlier one has a share.

        What that one landed is there already for this one, and has been landed by the run.
        """
        before = {file.key.source_file for file in earlier.landed}
        there = [file for file in self.kept if file.key.source_file not in before]
        landed = [file for file in self.kept if file.key.source_file in before]
        return LandingAccount(there, [*landed, *self.landed], self.failed)

    @property
    def files(self) -> list[ListedFile]:
        """All planned files."""
        return [*self.kept, *self.landed, *self.failed]


class Landing:
    """Downloads by a pool of threads while the block lasts; at its end all of them are done.

    Args:
        http: The connections.
        archive_url: Address that holds `data/`.
        root: The landing folder.
        transfers: Downloads at once.
        progress: Told of each file.
        stop: Set it to break the downloads off.
    """

    def __init__(
        self,
        http: Http,
        archive_url: str,
        root: Path,
        transfers: int,
        progress: LandingProgress,
        stop: threading.Event,
    ) -> None:
        self._http, self._archive_url, self._root = http, archive_url, root
        self._progress, self._stop = progress, stop
        self._queue: SimpleQueue[tuple[LandedFolder, RemoteFile] | None] = SimpleQueue()
        self._folders: list[LandedFolder] = []
        self._lock = threading.Lock()
        self._transfers = transfers
        self._pool = ThreadPoolExecutor(transfers, thread_name_prefix="landing")
        self._workers: list[Future[None]] = []
        self._failure: LandingStopped | None = None
        self._failures_in_a_row = 0
        self._is_over = False
        self._outstanding_bytes = 0
        self.account = LandingAccount()

    def __enter__(self) -> Landing:
        # A transfer may wait for the network while the stop is set: its connection is cut.
        threading.Thread(target=self._watch, name="landing-stop", daemon=True).start()
        self._workers = [self._pool.submit(self._work) for _ in range(self._transfers)]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._stop.set()
        for _ in self._workers:
            self._queue.put(None)
        try:
            self._pool.shutdown(wait=True)
        except KeyboardInterrupt:
            self._stop.set()
            self._pool.shutdown(wait=True)
            raise
        finally:
            self._is_over = True
            for folder in self._folders:
                try:
                    folder.save()
                except OSError as unwritten:
                    self._cannot_write(folder.folder, unwritten)
        for worker in self._workers:
            worker.result()
        if error is None or self._failure is not None:
            self._checkpoint()

    def add(self, files: Sequence[RemoteFile], damaged: Set[str] = frozenset()) -> None:
        """Plan the files of one folder of the archive: those that are not there are queued.

        Args:
            files: The files.
            damaged: Source files that are to be compared with their checksums though they are
                there.

        Raises:
            LandingStopped: The disk has no room for what is planned so far or cannot be written, or
            the server fails for every file.
        """
        self._checkpoint()
        if not files:
            return
        place = (self._root / files[0].key.source_file).parent
        try:
            self._plan(place, files, damaged)
        except OSError as error:
            self._cannot_write(place, error)
            self._checkpoint()

    def _plan(self, place: Path, files: Sequence[RemoteFile], damaged: Set[str]) -> None:
        folder = LandedFolder(place)
        due: list[RemoteFile] = []
        for remote in files:
            landed = folder.current(remote)
            if landed is None or remote.key.source_file in damaged:
                due.append(remote)
            else:
                there = ListedFile(remote.key, landed.size_bytes, landed.published_sha256)
                with self._lock:
                    self.account.kept.append(there)
        if not due:
            return
        place.mkdir(parents=True, exist_ok=True)
        folder.remove_parts({part_name(remote.key.file_name, remote.etag) for remote in due})
        self._progress.plan(len(due), sum(remote.size_bytes for remote in due))
        with self._lock:
            self._outstanding_bytes += sum(map(_on_disk, due))
        self._require_room()
        folder.expect(len(due))
        with self._lock:
            self._folders.append(folder)
        for remote in due:
            self._queue.put((folder, remote))

    def _watch(self) -> None:
        """Cut the connections as soon as the stop is set."""
        while not self._stop.wait(_WATCH_SECONDS):
            if self._is_over:
                return
        self._http.break_off()

    def _work(self) -> None:
        for folder, remote in iter(self._queue.get, None):
            if self._stop.is_set():
                return
            try:
                self._land(folder, remote)
            except (LandingStopped, BrokenOff):
                return
            except OSError as error:
                self._cannot_write(folder.folder, error)
                return
            except BaseException:
                self._stop.set()
                raise

    def _land(self, folder: LandedFolder, remote: RemoteFile) -> None:
        outdated = folder.is_outdated(remote)
        try:
            landed = land_file(
                self._http,
                self._archive_url,
                folder.folder / remote.key.file_name,
                remote,
                self._checkpoint,
                outdated=outdated,
            )
        except RequestFailed as error:
            log.warning("not landed: %s", error)
            folder.unsettled(remote, outdated=outdated)
            with self._lock:
                failure = FileFailure("download_failed", str(error))
                self.account.failed.append(ListedFile(remote.key, remote.size_bytes, None, failure))
                # A server that says that it has no such file does answer.
                self._failures_in_a_row = 0 if error.missing else self._failures_in_a_row + 1
            if self._failures_in_a_row >= _FAILURES_IN_A_ROW:
                self._break_off(
                    f"{self._archive_url} has failed for {_FAILURES_IN_A_ROW} files in a row, the "
                    f"last time with {error}: try later, a new run goes on from here"
                )
        else:
            file = landed.file
            if landed.is_settled:
                folder.settled(remote, file)
            else:
                folder.unsettled(remote, outdated=landed.is_outdated)
            with self._lock:
                self._failures_in_a_row = 0
                ended = self.account.failed if landed.failure else self.account.landed
                ended.append(
                    ListedFile(remote.key, file.size_bytes, file.published_sha256, landed.failure)
                )
        with self._lock:
            self._outstanding_bytes -= _on_disk(remote)
        self._progress.done(remote.size_bytes)

    def _cannot_write(self, folder: Path, error: OSError) -> None:
        self._break_off(
            f"{folder} cannot be written ({error.strerror or error}): make room there or set "
            "archive.landing to another folder; a new run goes on from here"
        )

    def _break_off(self, why: str) -> None:
        with self._lock:
            self._failure = self._failure or LandingStopped(why)
        self._stop.set()

    def _checkpoint(self) -> None:
        if self._stop.is_set():
            raise self._failure or LandingStopped(
                "the landing was broken off: a new run goes on from here"
            )

    def _require_room(self) -> None:
        free = shutil.disk_usage(self._root).free
        missing = self._outstanding_bytes + _RESERVE_BYTES - free
        if missing > 0:
            self._break_off(
                f"{self._root.absolute()} lacks {missing / 1e6:,.1f} MB for the files planned so "
                f"far and the {_RESERVE_BYTES / 1e6:,.0f} MB that are left free: make room there, "
                "set archive.landing to a larger disk, or ask for less with the other archive and "
                "universe settings"
            )
        self._checkpoint()


def _on_disk(remote: RemoteFile) -> int:
    """What a ZIP takes of the disk, with its CHECKSUM beside it."""
    return (-(-remote.size_bytes // _BLOCK_BYTES) + 1) * _BLOCK_BYTES


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Have the landing folder alone: two runs at once would write the same files.

    The system frees the lock when a run ends, however it ends.
    """
    root.mkdir(parents=True, exist_ok=True)
    handle = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another run that lands files in %s", root)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            log.warning("%s knows no locks (%s): start no second run on it", root, error)
        yield
    finally:
        os.close(handle)
