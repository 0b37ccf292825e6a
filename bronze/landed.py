"""What a landing folder holds of one symbol's files, and which editions of them these are.

Beside the ZIPs stands `.landed.json`, which says for each verified ZIP the edition that the archive
listed, the ZIP's size and the checksum that was published. A run whose listing names the same
editions asks the network for nothing. A ZIP that the file does not name, because a run was killed
before it was written, is compared with its published checksum and need not be downloaded again.
"""

import json
import logging
import os
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from bronze.archive import ArchiveKey

log = logging.getLogger(__name__)

RECORD_NAME = ".landed.json"
PART_SUFFIX = ".part"

# Files that a killed run has to compare again; each write takes a millisecond.
_SAVE_EVERY = 100


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A source file as an http archive lists it.

    Attributes:
        key: What its name says.
        size_bytes: Listed size of the ZIP.
        etag: Listed entity tag of the ZIP; empty if not told.
        edition: Text that changes whenever the ZIP is published anew.
        checksum_etag: Listed entity tag of its CHECKSUM; empty if not told.
        checksum_edition: Edition of its CHECKSUM; empty if none is listed.
    """

    key: ArchiveKey
    size_bytes: int
    etag: str
    edition: str
    checksum_etag: str
    checksum_edition: str


@dataclass(frozen=True, slots=True)
class LandedFile:
    """A verified ZIP in the landing folder.

    Attributes:
        edition: Listed edition of the ZIP when it was landed; empty if it is known to be of
            another one.
        checksum_edition: Listed edition of its CHECKSUM then.
        size_bytes: Size of the ZIP.
        published_sha256: Checksum that was published beside it; None if it has none.
    """

    edition: str
    checksum_edition: str
    size_bytes: int
    published_sha256: str | None


_OUTDATED = LandedFile(edition="", checksum_edition="", size_bytes=0, published_sha256=None)


class LandedFolder:
    """One symbol's folder below the landing folder; its methods may be called by any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._due = 0
        self._lock = threading.Lock()
        self._sizes = _sizes(folder)
        self._record = _read_record(folder / RECORD_NAME)
        self._unsaved = 0

    def current(self, remote: RemoteFile) -> LandedFile | None:
        """The landed file, if it is there, verified, and as the archive lists it."""
        name = remote.key.file_name
        landed = self._record.get(name)
        if landed is None or self._sizes.get(name) != landed.size_bytes:
            return None
        listed = (remote.edition, remote.checksum_edition)
        return landed if (landed.edition, landed.checksum_edition) == listed else None

    def is_outdated(self, remote: RemoteFile) -> bool:
        """Whether the ZIP is known to be of another edition than the archive lists."""
        landed = self._record.get(remote.key.file_name)
        return landed is not None and landed.edition != remote.edition

    def expect(self, files: int) -> None:
        """So many files are going to be done with."""
        with self._lock:
            self._due += files

    def settled(self, remote: RemoteFile, landed: LandedFile) -> None:
        """Note that a file is there and verified."""
        with self._lock:
            self._record[remote.key.file_name] = landed
            self._done()

    def unsettled(self, remote: RemoteFile, *, outdated: bool) -> None:
        """Note that a file must be looked at again.

        Args:
            remote: What the archive lists.
            outdated: Whether a ZIP that is there is known to be of another edition: a checksum
                that it matches, perhaps from a cache, or never published anew, says nothing then.
        """
        with self._lock:
            if not outdated:
                self._record.pop(remote.key.file_name, None)
            elif not self.is_outdated(remote):
                self._record[remote.key.file_name] = _OUTDATED
            self._done()

    def save(self) -> None:
        """Write what is not written yet."""
        with self._lock:
            if self._unsaved:
                self._write()

    def remove_parts(self, wanted: set[str]) -> None:
        """Remove what broken transfers left, but for the parts that can be gone on with."""
        for name in self._sizes:
            if name.endswith(PART_SUFFIX) and name not in wanted:
                (self.folder / name).unlink(missing_ok=True)

    def _done(self) -> None:
        self._due -= 1
        self._unsaved += 1
        if self._unsaved >= _SAVE_EVERY or not self._due:
            self._write()

    def _write(self) -> None:
        record = {name: asdict(landed) for name, landed in self._record.items()}
        text = json.dumps(record, ensure_ascii=False, indent=0)
        write_whole(self.folder / RECORD_NAME, text.encode())
        self._unsaved = 0


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is never seen half: a temporary name, fsync, rename."""
    part = path.with_name(f"{path.name}{PART_SUFFIX}")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _sizes(folder: Path) -> dict[str, int]:
    """Name -> size of what the folder holds."""
    sizes: dict[str, int] = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            sizes[entry.name] = entry.stat().st_size
    return sizes


def _read_record(path: Path) -> dict[str, LandedFile]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {name: LandedFile(**fields) for name, fields in record.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        # Without it every file is compared with its checksum: slower, and nothing is lost.
        log.warning("%s cannot be read (%s): its files are verified again", path, error)
        return {}
