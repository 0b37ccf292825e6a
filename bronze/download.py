"""One file of an http archive into the landing folder, whole and verified, or a reason why not.

A ZIP is written under a temporary name that carries its edition, so that a broken transfer of the
same edition goes on where it stopped, also in a later run, and another edition never does.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import requests

from bronze.archive import (
    CHECKSUM_MAX_BYTES,
    CHECKSUM_SUFFIX,
    FileFailure,
    mismatch,
    parse_checksum,
)
from bronze.http import BrokenTransfer, Http, RequestFailed, has_known_end
from bronze.landed import PART_SUFFIX, LandedFile, RemoteFile, write_whole

log = logging.getLogger(__name__)

# A ZIP may have been published anew since it was listed, but a body without an end must not fill
# the disk: so many times the listed size and so many bytes are the most that is taken.
_GROWTH = 2
_GROWTH_BYTES = 1_000_000

# Called after each chunk; raises to break the transfer off.
Checkpoint = Callable[[], None]


def object_url(base: str, key: str) -> str:
    """Address of an object; what is not ASCII stands as percent-encoded UTF-8."""
    return f"{base.rstrip('/')}/{quote(key)}"


def part_name(name: str, etag: str) -> str:
    """Temporary name of a ZIP's edition; an edition that is not told has one that never lasts."""
    digest = hashlib.sha256(etag.encode()).hexdigest()[:16] if _is_strong(etag) else "unknown"
    return f".{name}.{digest}{PART_SUFFIX}"


@dataclass(frozen=True, slots=True)
class Landed:
    """How the landing of one file ended.

    Attributes:
        file: The ZIP that is there now, with the checksum that is published now.
        is_settled: It has that checksum, or none is listed, and nothing came from a cache that is
            older than the listing. What is not settled must be looked at again.
        is_outdated: The ZIP is known to be of another edition than is listed.
        failure: Why another ZIP, which the archive has now, was not taken for it.
    """

    file: LandedFile
    is_settled: bool
    is_outdated: bool
    failure: FileFailure | None


def land_file(
    http: Http,
    archive_url: str,
    target: Path,
    remote: RemoteFile,
    checkpoint: Checkpoint,
    *,
    outdated: bool,
) -> Landed:
    """Bring one ZIP and its CHECKSUM into the landing folder, the CHECKSUM last.

    A ZIP that is there already and has the published checksum is kept, unless it is outdated. One
    that comes without that checksum is downloaded afresh once, with its CHECKSUM. If it still
    differs it stands as it is published, for the reader to refuse; but a ZIP that is there and
    has the checksum beside it is not given up for it, and the file ends with a failure.

    Args:
        http: The connections.
        archive_url: Address that holds `data/`.
        target: Where the ZIP belongs; its folder must exist.
        remote: What the archive lists.
        checkpoint: Called after each chunk.
        outdated: Whether a ZIP that is there is known to be of another edition.

    Raises:
        RequestFailed: The ZIP or its checksum cannot be had; what was there is as it was.
    """
    url = object_url(archive_url, remote.key.source_file)
    checksum, etag, failure = _checksum(http, url, target.name), remote.etag, None
    if checksum.published is not None and not outdated and _sha256(target) == checksum.published:
        is_good = True
        _put(checksum, target)
    else:
        part, etag = _download(http, url, target, remote, checkpoint)
        if checksum.published is not None and _sha256(part) != checksum.published:
            part.unlink()
            checksum = _checksum(http, url, target.name)
            part, etag = _download(http, url, target, remote, checkpoint)
        # A listed CHECKSUM that is not there, or is none, is an answer that may be wrong.
        is_unsigned = checksum.published is None and not remote.checksum_edition
        is_good = is_unsigned or _sha256(part) == checksum.published
        if is_good or not _is_verified(target):
            _take(part, target)
            _put(checksum, target)
            outdated = _is_other(etag, remote.etag)
        else:
            failure = _refusal(part, checksum)
            part.unlink()
    is_stale = _is_other(etag, remote.etag) or _is_other(checksum.etag, remote.checksum_etag)
    if is_stale:
        log.warning("%s: another edition than the listing names, looked at again next time", url)
    size = target.stat().st_size
    landed = LandedFile(remote.edition, remote.checksum_edition, size, checksum.published)
    return Landed(landed, is_good and not is_stale, outdated, failure)


@dataclass(frozen=True)
class _Checksum:
    """A CHECKSUM as it came: its bytes, None if there is none; what it says; its entity tag."""

    content: bytes | None
    published: str | None
    etag: str


def _checksum(http: Http, url: str, name: str) -> _Checksum:
    """Fetch the CHECKSUM of a ZIP; it publishes None if there is none or it is malformed."""

    def attempt() -> _Checksum:
        content = b""
        with http.answer(url + CHECKSUM_SUFFIX) as response:
            for chunk in http.pieces(response):
                content += chunk
                if len(content) > CHECKSUM_MAX_BYTES:
                    break
        content = content[:CHECKSUM_MAX_BYTES]
        published = parse_checksum(content.decode("utf-8", "replace"), name)
        if published is None and not has_known_end(response):
            raise BrokenTransfer(f"{response.url}: the body may be cut off")
        return _Checksum(content, published, response.headers.get("ETag", ""))

    try:
        return http.retried(attempt)
    except RequestFailed as error:
        if not error.missing:
            raise
        return _Checksum(None, None, "")


def _put(checksum: _Checksum, target: Path) -> None:
    path = target.with_name(target.name + CHECKSUM_SUFFIX)
    if checksum.content is None:
        path.unlink(missing_ok=True)
    else:
        write_whole(path, checksum.content)


def _refusal(part: Path, checksum: _Checksum) -> FileFailure | None:
    """What the ledger says of a ZIP that is not taken; without a checksum the reader says it."""
    sha256 = _sha256(part)
    if sha256 is None or checksum.published is None:
        return None
    why = mismatch(sha256, checksum.published)
    return FileFailure("checksum_mismatch", why, part.stat().st_size, sha256)


def _take(part: Path, target: Path) -> None:
    """Give a whole ZIP its name, once all of it is on the disk: also what an earlier run wrote.

    The folder is not synced: a crash may undo the renaming, and the ZIP is then downloaded again.
    """
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)


def _is_verified(target: Path) -> bool:
    """Whether a ZIP is there and has the checksum that stands beside it."""
    try:
        text = target.with_name(target.name + CHECKSUM_SUFFIX).read_text("utf-8", "replace")
    except FileNotFoundError:
        return False
    published = parse_checksum(text, target.name)
    return published is not None and _sha256(target) == published


def _download(
    http: Http, url: str, target: Path, remote: RemoteFile, checkpoint: Checkpoint
) -> tuple[Path, str]:
    """Fetch the ZIP into its part file; returns that, whole, and its entity tag."""
    etag = remote.etag
    limit = _GROWTH * remote.size_bytes + _GROWTH_BYTES

    def attempt() -> tuple[Path, str]:
        nonlocal etag
        part = target.with_name(part_name(target.name, etag))
        start = part.stat().st_size if _is_strong(etag) and part.exists() else 0
        if start and (etag, start) == (remote.etag, remote.size_bytes):
            return part, etag
        headers = {"Range": f"bytes={start}-", "If-Range": etag} if start else {}
        try:
            with http.answer(url, headers=headers) as response:
                if response.status_code == requests.codes.partial_content:
                    _refuse_other_range(response, start, etag)
                    mode = "ab"
                else:
                    etag, mode = response.headers.get("ETag", ""), "wb"
                    part.unlink(missing_ok=True)
                    part = target.with_name(part_name(target.name, etag))
                _write(http, response, part, mode, checkpoint, limit)
                told = has_known_end(response)
        except RequestFailed as error:
            if not start:
                raise
            # What cannot be gone on with may still be had from its start.
            part.unlink(missing_ok=True)
            raise BrokenTransfer(str(error)) from error
        if not told and part.stat().st_size < remote.size_bytes:
            raise BrokenTransfer(f"{url}: the body ends after {part.stat().st_size:,} bytes")
        return part, etag

    return http.retried(attempt)


def _refuse_other_range(response: requests.Response, start: int, etag: str) -> None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != start or response.headers.get("ETag", etag) != etag:
        raise RequestFailed(f"{response.url}: answers with another range than it was asked for")


def _write(
    http: Http,
    response: requests.Response,
    part: Path,
    mode: str,
    checkpoint: Checkpoint,
    limit: int,
) -> None:
    with part.open(mode) as file:
        for chunk in http.pieces(response):
            file.write(chunk)
            checkpoint()
            if file.tell() > limit:
                part.unlink()
                raise RequestFailed(f"{response.url}: its body is far larger than is listed")
        checkpoint()  # a body that was broken off looks as if it had ended


def _is_other(etag: str, listed: str) -> bool:
    """Whether what came is surely not what is listed; tags that are not told prove nothing."""
    return _is_strong(etag) and _is_strong(listed) and etag != listed


def _is_strong(etag: str) -> bool:
    """Whether equal tags mean equal bytes."""
    return bool(etag) and not etag.startswith("W/")


def _sha256(path: Path) -> str | None:
    """SHA-256 of a file, hex; None if it is not there."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
