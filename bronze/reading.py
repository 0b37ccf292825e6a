"""One source file's bytes in, a verified result out: bad input ends as a status, never raises.

The order is the promise: the SHA-256 is compared with the published one before a byte is parsed,
then the ZIP is unpacked (`bronze.unpack`), then its lines are parsed (`bronze.lines`).
"""

import hashlib
from dataclasses import dataclass, field

import pyarrow as pa

from bronze.archive import ArchiveKey, FileFailure, mismatch
from bronze.contracts import FileStatus, TimeUnit
from bronze.lines import (
    KLINES_SCHEMA,
    REJECTED_SCHEMA,
    ParsedLines,
    parse_lines,
    time_unit,
)
from bronze.unpack import FileRefused, unpack


@dataclass(frozen=True)
class FileReading:
    """How reading one source file ended; a row of `bronze.archive_files` and its lines.

    Attributes:
        key: What the file's name says.
        status: `ingested`, or why not.
        published_sha256: Checksum published beside it; None if it has none.
        error: One line on why it was not ingested; None if it was.
        size_bytes: Size of the ZIP; None if it could not be had.
        sha256: SHA-256 of the ZIP; None if it could not be had.
        has_header: Whether line 1 is a header; None if the lines were never reached.
        time_unit: Unit of the file's times; None unless ingested.
        klines: `bronze.lines.KLINES_SCHEMA`; empty unless ingested.
        rejected: `bronze.lines.REJECTED_SCHEMA`; not empty also where no line at all parses.
    """

    key: ArchiveKey
    status: FileStatus
    published_sha256: str | None
    error: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    has_header: bool | None = None
    time_unit: TimeUnit | None = None
    klines: pa.Table = field(default_factory=KLINES_SCHEMA.empty_table, repr=False)
    rejected: pa.Table = field(default_factory=REJECTED_SCHEMA.empty_table, repr=False)

    @property
    def rows(self) -> int:
        """Number of lines that parse."""
        return int(self.klines.num_rows)

    @property
    def rejected_lines(self) -> int:
        """Number of lines that do not parse."""
        return int(self.rejected.num_rows)


def read_archive_file(
    key: ArchiveKey, content: bytes, published_sha256: str | None, require_checksum: bool
) -> FileReading:
    """Verify and parse one source file.

    Args:
        key: What the file's name says; its ZIP must hold the member of the same name.
        content: The ZIP's bytes.
        published_sha256: Checksum published beside it, 64 hex digits in lower case, or None.
        require_checksum: Whether a file without a published checksum is refused. A published one
            is compared in any case.

    Returns:
        The reading. Its status says what is wrong with a bad file; nothing is raised for it.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    size_bytes = len(content)
    try:
        body = _verified(key, content, sha256, published_sha256, require_checksum)
    except FileRefused as refusal:
        return FileReading(key, refusal.status, published_sha256, str(refusal), size_bytes, sha256)
    lines = parse_lines(body)
    if lines.klines.num_rows == 0:
        return FileReading(
            key,
            "unexpected_content",
            published_sha256,
            _why_no_candle(lines),
            size_bytes,
            sha256,
            lines.has_header,
            rejected=lines.rejected,
        )
    return FileReading(
        key,
        "ingested",
        published_sha256,
        None,
        size_bytes,
        sha256,
        lines.has_header,
        time_unit(lines.klines["open_time"].to_numpy()),
        lines.klines,
        lines.rejected,
    )


def whole_body(key: ArchiveKey, content: bytes, published_sha256: str) -> bytes | None:
    """The CSV of a file whose bytes have the published checksum; None if it is refused."""
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        return _verified(key, content, sha256, published_sha256, require_checksum=True)
    except FileRefused:
        return None


def download_failed(key: ArchiveKey, published_sha256: str | None, error: str) -> FileReading:
    """The reading of a file whose bytes could not be had; `error` says why, in one line."""
    return not_had(key, published_sha256, FileFailure("download_failed", error))


def not_had(key: ArchiveKey, published_sha256: str | None, failure: FileFailure) -> FileReading:
    """The reading of a file of which the landing says that it failed."""
    return FileReading(
        key, failure.status, published_sha256, failure.why, failure.size_bytes, failure.sha256
    )


def _verified(
    key: ArchiveKey,
    content: bytes,
    sha256: str,
    published_sha256: str | None,
    require_checksum: bool,
) -> bytes:
    if published_sha256 is None:
        if require_checksum:
            raise FileRefused(
                "missing_checksum",
                "no valid checksum is published beside it (archive.require_checksum=false "
                "ingests it all the same)",
            )
    elif sha256 != published_sha256:
        raise FileRefused("checksum_mismatch", mismatch(sha256, published_sha256))
    return unpack(content, key.member_name)


def _why_no_candle(lines: ParsedLines) -> str:
    if lines.rejected.num_rows:
        first = lines.rejected.slice(0, 1).to_pylist()[0]
        return f"no line parses; line {first['line']}: {first['reason']}"
    return "a header and no candle" if lines.has_header else "the member is empty"
