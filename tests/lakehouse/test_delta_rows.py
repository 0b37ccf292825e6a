"""A table that is read without Spark has the rows that Spark reads; any other is left to Spark."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.contracts import Column, TableContract
from lakehouse.delta_log import newest_checkpoint
from lakehouse.delta_rows import rows_in
from lakehouse.errors import TableError
from lakehouse.sql import literal
from lakehouse.tables import Lake
from lakehouse.time_travel import PinnedLake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakehouse.settings import Settings

FILES = TableContract(
    layer="bronze",
    name="files",
    comment="Rows of two kinds",
    columns=(
        Column("kind", "STRING", "A partition", nullable=False),
        Column("id", "BIGINT", "The row's name", nullable=False),
        Column("size", "BIGINT", "Some number"),
        Column("is_new", "BOOLEAN", "Yes or no"),
        Column("at", "TIMESTAMP", "UTC"),
        Column("former", "ARRAY<STRUCT<sha256: STRING, at: TIMESTAMP>>", "What was there"),
        Column("part", "STRING", "Another partition"),
    ),
    key=("id",),
    partitioned_by=("kind", "part"),
    checks={"size_positive": "size IS NULL OR size > 0"},
)
FILES_WITH_MORE = replace(FILES, columns=(*FILES.columns, Column("more", "INT", "More")))
AT = datetime(2025, 1, 31, 23, 30, 0, 123456, tzinfo=UTC)
# Texts that a folder's name, or a URL, would spell otherwise.
ODD = "a b%2F:'é"

Row = dict[str, Any]


def row(number: int, kind: str = "um", part: str | None = "x", **changes: object) -> Row:
    former = [{"sha256": f"{number}", "at": AT}, {"sha256": None, "at": None}]
    whole: Row = {"id": number, "kind": kind, "part": part, "size": 1, "is_new": True, "at": AT}
    return {**whole, "former": former, **changes}


def bare(number: int, kind: str = "um", part: str | None = "x") -> Row:
    return row(number, kind, part, size=None, is_new=None, at=None, former=None)


@pytest.fixture
def folder(settings: Settings) -> Path:
    return Path(settings.warehouse, FILES.layer, FILES.name)


def here(folder: Path, contract: TableContract = FILES, **equal: str) -> list[Row] | None:
    """What is read without Spark."""
    found = rows_in(folder, contract, equal)
    return None if found is None else in_order(found)


def in_order(table: pa.Table) -> list[Row]:
    assert tuple(table.column_names) == FILES.column_names
    rows: list[Row] = table.to_pylist()
    return sorted(rows, key=lambda each: int(each["id"]))


def test_after_every_kind_of_commit_the_rows_are_those_that_spark_reads(
    spark: SparkSession, lake: Lake, folder: Path
) -> None:
    def put(*rows: Row, where: str | None = None) -> None:
        frame = lake.frame(FILES, rows)
        if where is None:
            lake.append(FILES, frame)
        else:
            lake.replace(FILES, frame, where)

    commits = [
        lambda: put(row(1), bare(2), row(3, ODD, ODD), row(4, "spot", None)),
        lambda: put(row(5), row(6, ODD)),
        lambda: put(row(7), where="kind = 'um' AND id IN (1, 5, 7)"),
        lambda: put(where=f"kind = {literal(ODD)} AND id = 6"),
        lambda: put(row(1), row(9, "spot", "y")),
        lambda: spark.sql(f"OPTIMIZE {lake.name(FILES)}").collect(),
        lambda: spark.sql(f"DELETE FROM {lake.name(FILES)} WHERE id = 7").collect(),
        lambda: spark.sql(f"UPDATE {lake.name(FILES)} SET size = 8 WHERE id = 1").collect(),
        lambda: spark.sql(f"RESTORE {lake.name(FILES)} TO VERSION AS OF 6").collect(),
        *(lambda n=n: put(row(n), bare(-n, "spot")) for n in range(20, 23)),
        lambda: put(row(90), where="kind = 'um' AND id IN (20, 21, 90)"),
    ]
    told = []
    for commit in commits:
        commit()
        table = lake.read_own(FILES)
        for kind in ("spot", ODD, "um"):
            told = in_order(table.where(table.kind == kind).toArrow())
            assert here(folder, kind=kind) == (told or None)
            assert in_order(lake.rows(FILES, {"kind": kind})) == told
        both = {"kind": "um", "part": "x"}
        assert here(folder, **both) == in_order(table.where("kind = 'um' AND part = 'x'").toArrow())
    assert newest_checkpoint(folder) == 10
    assert lake.version(FILES) == 13
    assert lake.read_versions == {}
    for version in range(10):  # as a log that is cleaned up
        (folder / "_delta_log" / f"{version:020}.json").unlink()
    assert here(folder, kind="um") == told
    assert told


def test_a_query_is_made_only_where_it_is_needed(
    lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch, remote: str | None
) -> None:
    lake.append(FILES, lake.frame(FILES, [row(1), row(2, "spot")]))
    reads: list[str] = []
    read_own = lake.read_own

    def counted(contract: TableContract) -> object:
        reads.append(contract.full_name)
        return read_own(contract)

    monkeypatch.setattr(lake, "read_own", counted)
    assert in_order(lake.rows(FILES, {"kind": "um"})) == [row(1)]
    assert len(reads) == (1 if remote else 0)  # a server's log is not looked into
    assert in_order(lake.rows(FILES, {"kind": "nothing"})) == []
    assert len(reads) == (2 if remote else 1)


def test_a_log_that_is_not_all_there_is_left_to_spark(lake: Lake, folder: Path) -> None:
    assert here(folder, kind="um") is None
    for number in range(3):
        lake.append(FILES, lake.frame(FILES, [row(number)]))
    told = here(folder, kind="um")
    assert told is not None
    first = folder / "_delta_log" / f"{0:020}.json"
    text = first.read_text()
    first.unlink()
    assert here(folder, kind="um") is None
    first.write_text(text)
    assert here(folder, kind="um") == told
    next(folder.glob("kind=um/part=x/*.parquet")).unlink()
    assert here(folder, kind="um") is None


@pytest.mark.parametrize(
    "properties",
    [
        "'delta.enableDeletionVectors' = 'true'",
        "'delta.columnMapping.mode' = 'name', 'delta.minReaderVersion' = '2', "
        "'delta.minWriterVersion' = '5'",
    ],
)
def test_a_table_that_wants_a_newer_reader_is_left_to_spark(
    spark: SparkSession, lake: Lake, folder: Path, properties: str
) -> None:
    lake.append(FILES, lake.frame(FILES, [row(1), row(2), row(3, "spot")]))
    assert here(folder, kind="um") == [row(1), row(2)]
    spark.sql(f"ALTER TABLE {lake.name(FILES)} SET TBLPROPERTIES ({properties})")
    spark.sql(f"DELETE FROM {lake.name(FILES)} WHERE id = 2")
    assert here(folder, kind="um") is None
    assert in_order(lake.rows(FILES, {"kind": "um"})) == [row(1)]


def test_a_table_of_an_older_release_is_brought_up_to_date_by_spark(
    lake: Lake, folder: Path
) -> None:
    columns = tuple(each for each in FILES.columns if each.name != "is_new")
    older = replace(FILES, columns=columns, partitioned_by=("kind",))
    values = {name: value for name, value in row(1).items() if name != "is_new"}
    lake.append(older, lake.frame(older, [values]))
    newer = replace(FILES, partitioned_by=("kind",), added=("is_new",))
    assert here(folder, newer, kind="um") is None
    assert in_order(lake.rows(newer, {"kind": "um"})) == [row(1, is_new=None)]
    assert here(folder, newer, kind="um") is None  # the file that was there lacks the column
    lake.append(newer, lake.frame(newer, [row(2, "spot")]))
    assert here(folder, newer, kind="spot") == [row(2, "spot")]
    with pytest.raises(TableError, match="has other columns"):
        lake.rows(FILES_WITH_MORE, {"kind": "um"})


@pytest.mark.parametrize(
    ("column", "type_"),
    [("size", "INT"), ("at", "STRING"), ("former", "ARRAY<STRUCT<sha256: STRING, on: TIMESTAMP>>")],
)
def test_drift_of_a_type_is_an_error_as_in_any_read(
    spark: SparkSession, lake: Lake, folder: Path, column: str, type_: str
) -> None:
    drifted = [replace(each, type=type_) if each.name == column else each for each in FILES.columns]
    other = replace(FILES, columns=tuple(drifted))
    lake.append(other, lake.frame(other, [{**bare(1), column: None}]))
    assert here(folder, kind="um") is None
    with pytest.raises(TableError, match="has other columns"):
        Lake(spark, str(folder.parents[1])).rows(FILES, {"kind": "um"})


def test_a_file_whose_times_are_encoded_otherwise_is_left_to_spark(
    spark: SparkSession, lake: Lake, folder: Path
) -> None:
    lake.append(FILES, lake.frame(FILES, [row(1)]))
    key = "spark.sql.parquet.outputTimestampType"
    usual = spark.conf.get(key)
    assert usual is not None
    spark.conf.set(key, "INT96")
    try:
        lake.append(FILES, lake.frame(FILES, [row(2, "spot"), row(3)]))
    finally:
        spark.conf.set(key, usual)
    assert here(folder, kind="um") is None
    assert here(folder, kind="spot") is None
    assert in_order(lake.rows(FILES, {"kind": "um"})) == [row(1), row(3)]
    assert in_order(lake.rows(FILES, {"kind": "spot"})) == [row(2, "spot")]


def test_a_file_may_have_its_partitions_values_in_every_row(
    spark: SparkSession, lake: Lake, folder: Path
) -> None:
    lake.append(FILES, lake.frame(FILES, [row(1)]))
    key = "delta.writePartitionColumnsToParquet"
    spark.sql(f"ALTER TABLE {lake.name(FILES)} SET TBLPROPERTIES ('{key}' = 'true')")
    lake.append(FILES, lake.frame(FILES, [row(2), row(3, "spot")]))
    written = {len(pq.ParquetFile(path).schema_arrow) for path in folder.rglob("part-*.parquet")}
    assert len(written) == 2
    assert here(folder, kind="um") == [row(1), row(2)]


def test_a_file_of_another_writer_is_read_or_left_to_spark(lake: Lake, folder: Path) -> None:
    lake.append(FILES, lake.frame(FILES, [row(1)]))
    path = next(folder.rglob("part-*.parquet"))
    kept = pq.ParquetFile(path).read()
    stricter = pa.schema([field.with_nullable(field.name != "id") for field in kept.schema])
    pq.write_table(kept.cast(stricter), path)
    assert here(folder, kind="um") == [row(1)]
    lake.append(FILES, lake.frame(FILES, [row(2)]))
    assert here(folder, kind="um") is None


def test_a_partition_of_numbers_is_left_to_spark(lake: Lake, folder: Path) -> None:
    numbered = replace(FILES, partitioned_by=("id", "kind"))
    lake.append(numbered, lake.frame(numbered, [row(1), row(2, "spot")]))
    assert here(folder, kind="um") is None
    assert in_order(lake.rows(numbered, {"kind": "um"})) == [row(1)]


def test_a_lake_of_the_past_reads_no_newer_rows(
    spark: SparkSession, lake: Lake, settings: Settings
) -> None:
    version = lake.append(FILES, lake.frame(FILES, [row(1)]))
    lake.append(FILES, lake.frame(FILES, [row(2)]))
    past = PinnedLake(spark, settings.warehouse, None, {FILES.full_name: version})
    assert in_order(past.rows(FILES, {"kind": "um"})) == [row(1)]
