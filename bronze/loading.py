"""Reading archive files on the executors: Spark wiring of `bronze.reading`.

Files that are new go through once: `whole_files` gives the rows of those of which every line
parses, each verified before its first row is given, and what the ledger says of them. What it
leaves out, and what replaces older rows, is read twice: `file_facts` says how each file's reading
ends, so that the driver can plan, then `klines_of` gives the rows and checks that the bytes are
still those of the first reading.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from bronze.archive import ArchiveKey, key_of
from bronze.contracts import KLINES, REJECTED_LINES
from bronze.lines import KLINES_SCHEMA, IntArray, WholeLines, parse_whole, time_unit
from bronze.object_store import read_source
from bronze.reading import FileReading, download_failed, read_archive_file, whole_body
from lakehouse.arrow import frame_of
from lakehouse.contracts import TableContract
from lakehouse.errors import ArchiveError, WriteConflict

# Rows handed to Spark at once.
_BATCH_ROWS = 65_536
# CSV bytes parsed at once: below that, starting the parser costs more than parsing.
_PARSED_BYTES = 4 * 1024 * 1024
# Files are handed out in parcels of about equal bytes, so that any even share of the parcels is an
# even share of the work, on however many cores.
_PARCEL_BYTES = 256 * 1024
_MAX_PARCELS = 512

_PARCELS = pa.schema(
    [
        (
            "files",
            pa.list_(
                pa.struct(
                    [("number", pa.int32()), ("source_file", pa.string()), ("sha256", pa.string())]
                )
            ),
        )
    ]
)
_FACTS_SCHEMA = pa.schema(
    [
        ("source_file", pa.string()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("published_sha256", pa.string()),
        ("rows", pa.int64()),
        ("rejected_lines", pa.int64()),
        ("has_header", pa.bool_()),
        ("time_unit", pa.string()),
    ]
)
_FACTS_DDL = (
    "source_file string, status string, error string, size_bytes bigint, sha256 string, "
    "published_sha256 string, rows bigint, rejected_lines bigint, has_header boolean, "
    "time_unit string"
)
# What an executor says, of which the driver sees the text alone.
_CHANGED = "changed while it was loaded: run again"
# Which file a row is of stands as its number: its name would weigh more than all the rest.
_NUMBERED_SCHEMA = pa.schema([("number", pa.int32()), *KLINES_SCHEMA])


@dataclass(frozen=True)
class FileToRead:
    """A source file to be read.

    Attributes:
        source_file: Its key.
        sha256: Checksum that its bytes must have; None if none is known.
        size_bytes: Size of the ZIP, by which the work is shared out.
    """

    source_file: str
    sha256: str | None
    size_bytes: int


def file_facts(
    spark: SparkSession, root: str, files: Sequence[FileToRead], require_checksum: bool
) -> pa.Table:
    """Read every file once and say how that ended, one row for each.

    Args:
        spark: The session.
        root: Folder or URI of the archive, as the executors see it.
        files: The files, each with its published checksum.
        require_checksum: Whether a file without a published checksum is refused.

    Returns:
        source_file, status, error, size_bytes, sha256, published_sha256, rows, rejected_lines,
        has_header, time_unit.
    """

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            facts = [facts_of(reading) for reading in _readings(root, batch, require_checksum)]
            yield pa.RecordBatch.from_pylist(facts, _FACTS_SCHEMA)

    return _plan(spark, files).mapInArrow(read, _FACTS_DDL).toArrow()


@dataclass(frozen=True)
class WholeFiles:
    """The rows of those files that are good in every line, and what to know of these files.

    Attributes:
        klines: With the columns of bronze.klines. A file gives all of its rows, or none when its
            bytes are not those of its checksum, it is no good ZIP, or a line of it does not parse;
            nothing is raised for it.
    """

    klines: DataFrame
    _keys: Sequence[ArchiveKey]
    _observed: Observation

    def facts(self) -> dict[str, dict[str, object]] | None:
        """Source file -> rows, has_header and time_unit of what was appended of `klines`.

        To be asked once an append is done: the facts have come with its rows, and no row is read
        again for them. Of a replacement Spark observes nothing, so it must not be asked. None if
        the session does not tell.
        """
        told = self._observed.get.get("facts")
        if told is None:
            return None
        facts = json.loads(f"[{told}]")
        return {self._keys[fact.pop("number")].source_file: fact for fact in facts}


def whole_files(spark: SparkSession, root: str, files: Sequence[FileToRead]) -> WholeFiles:
    """Read files once, each verified before its first row is given.

    Args:
        spark: The session.
        root: Folder or URI of the archive, as the executors see it.
        files: The files, each with its published checksum.
    """

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for numbers, bodies in _together(_whole_bodies(root, batches)):
            for some, whole in _parsed(numbers, bodies):
                yield from with_facts(some, whole).to_batches(max_chunksize=_BATCH_ROWS)

    keys = [key_of(file.source_file) for file in files]
    named = pa.table(
        {
            "number": pa.array(np.arange(len(keys), dtype=np.int32)),
            **{
                name: [getattr(key, name) for key in keys]
                for name in ("source_file", "market", "interval", "symbol", "month")
            },
        }
    )
    names = F.broadcast(frame_of(spark, named))
    rows = _plan(spark, files).mapInArrow(read, f"{_ddl(_NUMBERED_SCHEMA)}, facts string")
    observed = Observation()
    # One text: Spark 4.0 hands a list over as an object of the JVM.
    told = F.array_join(F.collect_list("facts"), ",").alias("facts")
    klines = (
        rows.observe(observed, told).join(names, "number", "inner").select(*KLINES.column_names)
    )
    return WholeFiles(klines, keys, observed)


def klines_of(spark: SparkSession, root: str, files: Sequence[FileToRead]) -> DataFrame:
    """The rows of good files, with the columns of bronze.klines.

    Args:
        spark: The session.
        root: Folder or URI of the archive, as the executors see it.
        files: The files, each with the checksum of its first reading.

    Raises:
        ArchiveError: On the executor, when a file's bytes have changed since (`planned_again`).
    """
    return _lines_of(spark, root, files, KLINES, rejected=False)


def rejected_lines_of(spark: SparkSession, root: str, files: Sequence[FileToRead]) -> DataFrame:
    """The lines of files that do not parse, with the columns of bronze.rejected_lines."""
    return _lines_of(spark, root, files, REJECTED_LINES, rejected=True)


@contextmanager
def planned_again() -> Iterator[None]:
    """A block in which frames of this module are written.

    Raises:
        WriteConflict: A file has changed since it was first read: the task must plan again.
    """
    try:
        yield
    except Exception as error:  # py4j's own of a classic session's writer
        found = re.search(rf"\S+ {_CHANGED}", str(error))
        if found is None:
            raise
        raise WriteConflict(found[0]) from error


def _lines_of(
    spark: SparkSession,
    root: str,
    files: Sequence[FileToRead],
    contract: TableContract,
    *,
    rejected: bool,
) -> DataFrame:
    names = list(contract.column_names)

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for reading in _readings(root, batch, require_checksum=True):
                if reading.sha256 != reading.published_sha256:
                    raise ArchiveError(f"{reading.key.source_file} {_CHANGED}")
                lines = reading.rejected if rejected else reading.klines
                yield from _with_key(lines, reading).select(names).to_batches()

    schema = ", ".join(f"{column.name} {column.type}" for column in contract.columns)
    return _plan(spark, files).mapInArrow(read, schema)


def _plan(spark: SparkSession, files: Sequence[FileToRead]) -> DataFrame:
    """One row for each parcel of files, in the order given."""
    parcels: list[list[dict[str, object]]] = [[]]
    total = sum(file.size_bytes for file in files)
    share = max(_PARCEL_BYTES, total // _MAX_PARCELS)
    weight = 0
    for number, file in enumerate(files):
        parcels[-1].append(
            {"number": number, "source_file": file.source_file, "sha256": file.sha256}
        )
        weight += file.size_bytes
        if weight >= share:
            parcels.append([])
            weight = 0
    return frame_of(spark, pa.table({"files": [p for p in parcels if p]}, schema=_PARCELS))


def _files_in(batch: pa.RecordBatch) -> Iterator[tuple[int, ArchiveKey, str | None]]:
    for parcel in batch.column("files").to_pylist():
        for file in parcel:
            yield file["number"], key_of(file["source_file"]), file["sha256"]


def _whole_bodies(root: str, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, bytes]]:
    """The number and the CSV of each file that can be read and verified."""
    for batch in batches:
        for number, key, sha256 in _files_in(batch):
            try:
                content = read_source(root, key.source_file)
            except OSError:
                continue
            body = None if sha256 is None else whole_body(key, content, sha256)
            if body is not None:
                yield number, body


def _together(bodies: Iterable[tuple[int, bytes]]) -> Iterator[tuple[list[int], list[bytes]]]:
    """Bodies in lots that are worth a parser's start."""
    numbers: list[int] = []
    waiting: list[bytes] = []
    size = 0
    for number, body in bodies:
        numbers.append(number)
        waiting.append(body)
        size += len(body)
        if size >= _PARSED_BYTES:
            yield numbers, waiting
            numbers, waiting, size = [], [], 0
    if waiting:
        yield numbers, waiting


def _parsed(numbers: list[int], bodies: list[bytes]) -> Iterator[tuple[list[int], WholeLines]]:
    """The lot parsed as one, or one by one without those that need a closer look."""
    whole = parse_whole(bodies)
    if whole is not None:
        yield numbers, whole
        return
    for number, body in zip(numbers, bodies, strict=True):
        alone = parse_whole([body])
        if alone is not None:
            yield [number], alone


def with_facts(numbers: list[int], whole: WholeLines) -> pa.Table:
    """Candles with the number of their file, and in a file's first row what to know of the file."""
    starts = np.cumsum(whole.counts) - whole.counts
    # Of one chunk each, and without a NULL.
    open_times, lines = (
        np.asarray(np.from_dlpack(whole.klines[name].chunk(0)), dtype=np.int64)
        for name in ("open_time", "line")
    )
    facts = [
        json.dumps(
            {
                "number": number,
                "rows": int(count),
                "has_header": bool(lines[start] == 2),
                "time_unit": time_unit(open_times[start : start + count]),
            }
        )
        for number, start, count in zip(numbers, starts, whole.counts, strict=True)
    ]
    of_row = np.repeat(np.array(numbers, dtype=np.int32), whole.counts)
    column = pa.Array.from_buffers(pa.int32(), of_row.size, [None, pa.py_buffer(of_row)])
    rows = whole.klines.add_column(0, "number", column)
    return rows.append_column("facts", _texts_at(starts, facts, of_row.size))


def _texts_at(places: IntArray, texts: Sequence[str], size: int) -> pa.Array:
    """A column of so many rows with texts at these, in order, and NULL elsewhere."""
    told = [text.encode() for text in texts]
    ends = np.zeros(size + 1, dtype=np.int32)
    ends[places + 1] = list(map(len, told))
    valid = np.zeros(size, dtype=np.bool_)
    valid[places] = True
    bits = np.packbits(valid, bitorder="little")
    buffers = [bits, np.cumsum(ends, dtype=np.int32), b"".join(told)]
    return pa.Array.from_buffers(pa.string(), size, list(map(pa.py_buffer, buffers)))


def _readings(root: str, batch: pa.RecordBatch, require_checksum: bool) -> Iterator[FileReading]:
    for _, key, sha256 in _files_in(batch):
        try:
            content = read_source(root, key.source_file)
        except OSError as error:
            yield download_failed(key, sha256, f"it cannot be read: {error.strerror or error}")
            continue
        yield read_archive_file(key, content, sha256, require_checksum)


def facts_of(reading: FileReading) -> dict[str, object]:
    """A reading without its lines, with the columns of `file_facts`."""
    return {
        "source_file": reading.key.source_file,
        "status": reading.status,
        "error": reading.error,
        "size_bytes": reading.size_bytes,
        "sha256": reading.sha256,
        "published_sha256": reading.published_sha256,
        "rows": reading.rows,
        "rejected_lines": reading.rejected_lines,
        "has_header": reading.has_header,
        "time_unit": reading.time_unit,
    }


def _with_key(lines: pa.Table, reading: FileReading) -> pa.Table:
    key = reading.key
    for name in ("source_file", "market", "interval", "symbol", "month"):
        lines = lines.append_column(name, pa.repeat(getattr(key, name), lines.num_rows))
    return lines


def _ddl(schema: pa.Schema) -> str:
    types = {pa.int32(): "int", pa.int64(): "bigint", pa.float64(): "double"}
    return ", ".join(f"{field.name} {types[field.type]} NOT NULL" for field in schema)
