"""One file of an http archive into the landing folder, whole and verified, or a reason why not.

A ZIP is written under a temporary name that carries its edition, so that a broken transfer of the
same edition goes on where it stopped, also in a later run, and another edition never does.
"""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import requests

from bronze.archive import CHECKSUM_MAX_BYTES, CHECKSUM_SUFFIX, parse_checksum
from bronze.http import BrokenTransfer, Http, RequestFailed, has_known_end
from bronze.landed import PART_SUFFIX, LandedFile, RemoteFile, write_whole

# What a broken transfer loses at the most of what had come.
_CHUNK_BYTES = 16 * 1024

# Called after each chunk; raises to break the transfer off.
Checkpoint = Callable[[], None]


def object_url(base: str, key: str) -> str:
    """Address of an object; what is not ASCII stands as percent-encoded UTF-8."""
    return f"{base.rstrip('/')}/{quote(key)}"


def part_name(name: str, etag: str) -> str:
    """Temporary name of a ZIP's edition; an edition that is not told has one that never lasts."""
    digest = hashlib.sha256(etag.encode()).hexdigest()[:16] if _is_strong(etag) else "unknown"
    return f".{name}.{digest}{PART_SUFFIX}"


def land_file(
    http: Http,
    archive_url: str,
    target: Path,
    remote: RemoteFile,
    checkpoint: Checkpoint,
    *,
    outdated: bool,
) -> tuple[LandedFile, bool]:
    """Bring one ZIP and its CHECKSUM into the landing folder.

    A ZIP that is there already and has the published checksum is kept, unless it is outdated. One
    that comes without that checksum is downloaded afresh once, with its CHECKSUM.

    Args:
        http: The connections.
        archive_url: Address that holds `data/`.
        target: Where the ZIP belongs; its folder must exist.
        remote: What the archive lists.
        checkpoint: Called after each chunk.
        outdated: Whether a ZIP that is there is known to be of another edition.

    Returns:
        The landed file, and whether it has its published checksum or has none. One that differs
        stands as it is published, for the reader to refuse.

    Raises:
        RequestFailed: The ZIP or its checksum cannot be had.
    """
    url = object_url(archive_url, remote.key.source_file)

    def landed(published: str | None) -> LandedFile:
        size = target.stat().st_size
        return LandedFile(remote.edition, remote.checksum_edition, size, published)

    published = _land_checksum(http, url, target)
    if published is not None and not outdated and _sha256(target) == published:
        return landed(published), True
    part = _download(http, url, target, remote, checkpoint)
    if published is not None and _sha256(part) != published:
        part.unlink()
        published = _land_checksum(http, url, target)
        part = _download(http, url, target, remote, checkpoint)
    verified = published is None or _sha256(part) == published
    part.replace(target)
    return landed(published), verified


def _land_checksum(http: Http, url: str, target: Path) -> str | None:
    """Fetch and keep the CHECKSUM file; None if there is none or it is malformed."""
    path = target.with_name(target.name + CHECKSUM_SUFFIX)

    def attempt() -> tuple[bytes, str | None]:
        with http.answer(url + CHECKSUM_SUFFIX) as response:
            content = response.content[:CHECKSUM_MAX_BYTES]
        published = parse_checksum(content.decode("utf-8", "replace"), target.name)
        if published is None and not has_known_end(response):
            raise BrokenTransfer(f"{response.url}: the body may be cut off")
        return content, published

    try:
        content, published = http.retried(attempt)
    except RequestFailed as error:
        if not error.missing:
            raise
        path.unlink(missing_ok=True)
        return None
    write_whole(path, content)
    return published


def _download(
    http: Http, url: str, target: Path, remote: RemoteFile, checkpoint: Checkpoint
) -> Path:
    """Fetch the ZIP into its part file and return that, whole and on the disk."""
    etag = remote.etag

    def attempt() -> Path:
        nonlocal etag
        part = target.with_name(part_name(target.name, etag))
        start = part.stat().st_size if _is_strong(etag) and part.exists() else 0
        if start and (etag, start) == (remote.etag, remote.size_bytes):
            return part
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
                _write(response, part, mode, checkpoint)
                told = has_known_end(response)
        except RequestFailed as error:
            if not start:
                raise
            # What cannot be gone on with may still be had from its start.
            part.unlink(missing_ok=True)
            raise BrokenTransfer(str(error)) from error
        if not told and part.stat().st_size < remote.size_bytes:
            raise BrokenTransfer(f"{url}: the body ends after {part.stat().st_size:,} bytes")
        return part

    return http.retried(attempt)


def _refuse_other_range(response: requests.Response, start: int, etag: str) -> None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != start or response.headers.get("ETag", etag) != etag:
        raise RequestFailed(f"{response.url}: answers with another range than it was asked for")


def _write(response: requests.Response, part: Path, mode: str, checkpoint: Checkpoint) -> None:
    with part.open(mode) as file:
        for chunk in response.iter_content(_CHUNK_BYTES):
            file.write(chunk)
            checkpoint()
        file.flush()
        os.fsync(file.fileno())


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
