"""Reading archive files on the executors: Spark wiring of `bronze.reading`.

Two passes over the same bytes. The first says how each file's reading ends, a row a file, so that
the driver can plan; the second gives the rows of the good files. The second checks that the bytes
are still those of the first.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from bronze.archive import parse_key
from bronze.contracts import KLINES, REJECTED_LINES
from bronze.reading import FileReading, download_failed, read_archive_file
from lakehouse.contracts import TableContract
from lakehouse.errors import ArchiveError

# Rows handed to Spark at once: many small files make one batch, a large file makes its own.
_BATCH_ROWS = 65_536

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


def file_facts(
    spark: SparkSession, root: str, files: Sequence[tuple[str, str | None]], require_checksum: bool
) -> pa.Table:
    """Read every file once and say how that ended, one row for each.

    Args:
        spark: The session.
        root: Folder of the archive, as the executors see it.
        files: (source_file, published SHA-256 or None).
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


def klines_of(spark: SparkSession, root: str, files: Sequence[tuple[str, str | None]]) -> DataFrame:
    """The rows of good files, with the columns of bronze.klines.

    Args:
        spark: The session.
        root: Folder of the archive, as the executors see it.
        files: (source_file, SHA-256 that its bytes must have).

    Raises:
        ArchiveError: On the executor, when a file's bytes have changed since.
    """
    return _lines_of(spark, root, files, KLINES, rejected=False)


def rejected_lines_of(
    spark: SparkSession, root: str, files: Sequence[tuple[str, str | None]]
) -> DataFrame:
    """The lines of files that do not parse, with the columns of bronze.rejected_lines."""
    return _lines_of(spark, root, files, REJECTED_LINES, rejected=True)


def _lines_of(
    spark: SparkSession,
    root: str,
    files: Sequence[tuple[str, str | None]],
    contract: TableContract,
    *,
    rejected: bool,
) -> DataFrame:
    names = list(contract.column_names)

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting: list[pa.Table] = []
        for batch in batches:
            for reading in _readings(root, batch, require_checksum=True):
                if reading.sha256 != reading.published_sha256:
                    raise ArchiveError(
                        f"{reading.key.source_file} changed while it was loaded: run again"
                    )
                lines = reading.rejected if rejected else reading.klines
                waiting.append(_with_key(lines, reading).select(names))
                if sum(table.num_rows for table in waiting) >= _BATCH_ROWS:
                    yield from _joined(waiting)
                    waiting = []
        if waiting:
            yield from _joined(waiting)

    schema = ", ".join(f"{column.name} {column.type}" for column in contract.columns)
    return _plan(spark, files).mapInArrow(read, schema)


def _plan(spark: SparkSession, files: Sequence[tuple[str, str | None]]) -> DataFrame:
    table = pa.table(
        {
            "source_file": pa.array([name for name, _ in files], pa.string()),
            "sha256": pa.array([sha256 for _, sha256 in files], pa.string()),
        }
    )
    return spark.createDataFrame(table)


def _readings(root: str, batch: pa.RecordBatch, require_checksum: bool) -> Iterator[FileReading]:
    for row in batch.to_pylist():
        key = parse_key(row["source_file"])
        if key is None:
            raise ArchiveError(f"{row['source_file']} is not the key of a candle file")
        try:
            content = Path(root, key.source_file).read_bytes()
        except OSError as error:
            yield download_failed(key, row["sha256"], f"it cannot be read: {error.strerror}")
            continue
        yield read_archive_file(key, content, row["sha256"], require_checksum)


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


def _joined(tables: list[pa.Table]) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = pa.concat_tables(tables).combine_chunks().to_batches()
    return batches
