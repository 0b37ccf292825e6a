"""An archive in an object store, `s3a://…` or `abfss://…`: listed by the driver, read anywhere.

Arrow's own file systems read it, with the credentials of the process: the variables
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` and `AWS_ENDPOINT_URL`, or the machine's
role. Spark's settings (`spark.hadoop.fs.s3a.…`) hold for the tables alone.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path, PurePosixPath

import pyarrow as pa
from pyarrow import fs

from bronze.archive import (
    CHECKSUM_MAX_BYTES,
    CHECKSUM_SUFFIX,
    Cadence,
    FolderListing,
    ListedFile,
    Market,
    files_prefix,
    klines_prefix,
    parse_checksum,
    parse_key,
    printable,
)
from lakehouse.errors import ArchiveError
from lakehouse.intervals import Interval
from lakehouse.places import is_uri


def list_objects(
    url: str, market: Market, interval: Interval, cadence: Cadence, at_once: int
) -> FolderListing:
    """List the source files of one market, interval and cadence, as `list_folder` does.

    Args:
        url: What lies above `data/`.
        market: `spot` or `um`.
        interval: Of the candles.
        cadence: `monthly` or `daily`.
        at_once: Checksums that are read at once.

    Raises:
        ArchiveError: The store cannot be listed, or is none that Arrow knows.
    """
    store, base = _store(url)
    try:
        found = store.get_file_info(
            fs.FileSelector(
                f"{base}/{klines_prefix(market, cadence)}", recursive=True, allow_not_found=True
            )
        )
    except OSError as error:
        raise ArchiveError(f"archive.url {url} cannot be listed: {error}") from error
    sizes = {
        each.path.removeprefix(f"{base}/"): each.size
        for each in found
        if each.type == fs.FileType.File
    }
    names = [
        name
        for name in sizes
        if name.lower().endswith(".zip") and _is_of(name, market, cadence, interval)
    ]
    keys = {name: parse_key(name) for name in names}
    unexpected = sorted(printable(name) for name, key in keys.items() if key is None)

    def published(name: str) -> str | None:
        if name + CHECKSUM_SUFFIX not in sizes:
            return None
        try:
            with store.open_input_stream(f"{base}/{name}{CHECKSUM_SUFFIX}") as file:
                text = file.read(CHECKSUM_MAX_BYTES).decode("utf-8", "replace")
        except OSError:
            # As good as missing: the file then ends as `missing_checksum` and the others go on.
            return None
        return parse_checksum(text, PurePosixPath(name).name)

    good = sorted(name for name, key in keys.items() if key is not None)
    with ThreadPoolExecutor(at_once) as pool:
        checksums = dict(zip(good, pool.map(published, good), strict=True))
    files = [
        ListedFile(key, sizes[name], checksums[name])
        for name, key in sorted(keys.items())
        if key is not None
    ]
    return FolderListing(tuple(files), tuple(unexpected))


def read_source(root: str, source_file: str) -> bytes:
    """The content of a source file of a folder or an object store.

    Raises:
        OSError: It cannot be read.
    """
    if not is_uri(root):
        return Path(root, source_file).read_bytes()
    store, base = _store(root)
    with store.open_input_file(f"{base}/{source_file}") as file:
        content: bytes = file.read()
    return content


def _is_of(name: str, market: Market, cadence: Cadence, interval: Interval) -> bool:
    symbol = name.removeprefix(klines_prefix(market, cadence)).partition("/")[0]
    return name.startswith(files_prefix(market, cadence, symbol, interval))


@cache
def _store(url: str) -> tuple[fs.FileSystem, str]:
    """Arrow's file system of an address, and the path in it."""
    scheme, _, rest = url.rstrip("/").partition("://")
    try:
        # Hadoop calls s3a what everyone else calls s3.
        store, base = fs.FileSystem.from_uri(f"{'s3' if scheme == 's3a' else scheme}://{rest}")
    except (pa.ArrowInvalid, OSError) as error:
        raise ArchiveError(
            f"archive.url {url} must be a folder that holds data/, on disk or in a store "
            f"(s3a, abfss), or its http(s) address: {error}"
        ) from error
    return store, base
