from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lakehouse import creation, tables
from lakehouse.arrow import frame_of
from lakehouse.contracts import Column, TableContract
from lakehouse.delta_log import newest_commits
from lakehouse.errors import TableError, WriteConflict
from lakehouse.session import threads
from lakehouse.tables import Lake, register_tables, require_tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakehouse.settings import Settings

BARS = TableContract(
    layer="gold",
    name="bars",
    comment='It\'s a "test" with a \\',
    columns=(
        Column("id", "BIGINT", "The row's name", nullable=False),
        Column("month", "STRING", "Its month", nullable=False),
        Column("at", "TIMESTAMP", "UTC"),
        Column("price", "DOUBLE", "Its price"),
        Column("tags", "ARRAY<STRING>", "Some texts"),
        Column("versions", "MAP<STRING, BIGINT>", "Some numbers by name"),
    ),
    key=("id",),
    partitioned_by=("month",),
    checks={"price_positive": "price > 0", "not_the_word": "month <> 'it''s'"},
)
AT = datetime(2025, 1, 31, 23, 30, tzinfo=UTC)

Row = dict[str, Any]


def row(number: int, month: str = "2025-01", price: float | None = 1.5, **changes: object) -> Row:
    whole = {"id": number, "month": month, "at": AT, "price": price}
    return {**whole, "tags": ["a", "b'c"], "versions": {"silver.candles": 3}, **changes}


def bare(number: int, month: str = "2025-01") -> Row:
    """A row with NULL wherever the contract allows it."""
    return row(number, month, at=None, tags=None, versions=None)


def rows_in(lake: Lake, version: int | None = None) -> list[Row]:
    found = lake.read_own(BARS, version).toArrow().to_pylist()
    for each in found:
        each["versions"] = each["versions"] and dict(each["versions"])
    return sorted(found, key=lambda each: int(each["id"]))


def refused(write: Callable[[], object]) -> str:
    with pytest.raises(Exception, match="DELTA_") as caught:
        write()
    return str(caught.value)


def test_writes_and_reads_are_versions_of_a_table_that_others_can_read(
    spark: SparkSession, lake: Lake, settings: Settings
) -> None:
    folder = Path(settings.warehouse, "gold", "bars")
    assert not lake.exists(BARS)
    assert not folder.exists()  # asking does not create it

    assert lake.append(BARS, lake.frame(BARS, [row(1), bare(2), row(3, "2025-02")])) == 1
    assert lake.exists(BARS)
    assert rows_in(lake) == [row(1), bare(2), row(3, "2025-02")]

    # A task reads what it read first, whatever others write in between.
    reader = Lake(spark, settings.warehouse)
    assert reader.read(BARS).count() == 3
    january = lake.frame(BARS, [bare(4), row(1, price=2.0)]).select(*reversed(BARS.column_names))
    assert lake.replace(BARS, january, where="month = '2025-01'") == 2
    assert {each["id"] for each in reader.read(BARS).toArrow().to_pylist()} == {1, 2, 3}
    assert reader.read_versions == {"gold.bars": 1}
    assert reader.version(BARS) == 2
    assert lake.read(BARS).count() == 3

    # The same replacement again changes the version and no row.
    after = rows_in(lake)
    assert after == [row(1, price=2.0), row(3, "2025-02"), bare(4)]
    assert lake.replace(BARS, january, where="month = '2025-01'") == 3
    assert rows_in(lake) == after
    assert lake.written_versions == {"gold.bars": 3}
    assert lake.read_versions == {"gold.bars": 2}  # what was read, not what was looked up
    assert reader.written_versions == {}

    # Every version can be had again.
    old = spark.sql(f"SELECT id FROM {lake.name(BARS)} VERSION AS OF 0")
    assert old.count() == 0
    assert [each["id"] for each in rows_in(lake, version=1)] == [1, 2, 3]

    # By other engines too: delta-rs, and Polars on top of it.
    assert DeltaTable(str(folder)).version() == 3
    found = pl.read_delta(str(folder)).sort("id").select("id", "month", "at", "price", "tags")
    assert found.rows() == [
        tuple(each[name] for name in ("id", "month", "at", "price", "tags")) for each in after
    ]
    assert pl.read_delta(str(folder), version=0).is_empty()
    assert {path.name for path in folder.iterdir()} >= {"month=2025-01", "month=2025-02"}


def test_a_folder_may_have_any_quote_in_its_name(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / 'o\'brien "x" `y` ü'
    lake = Lake(spark, str(folder))
    lake.append(BARS, lake.frame(BARS, [row(1), bare(2)]))
    assert lake.exists(BARS)
    assert rows_in(lake) == [row(1), bare(2)]
    assert DeltaTable(str(folder / "gold" / "bars")).version() == 1
    assert {path.name for path in tmp_path.iterdir()} == {folder.name}


def test_bad_rows_are_refused_by_delta_and_drift_by_the_lake(
    spark: SparkSession, lake: Lake, settings: Settings
) -> None:
    lake.append(BARS, lake.frame(BARS, [row(1)]))
    good = lake.frame(BARS, [row(2)])
    before = rows_in(lake)

    def write(*rows: Row) -> Callable[[], object]:
        return lambda: lake.append(BARS, lake.frame(BARS, rows))

    assert "month" in refused(write(row(2), row(3, month=None)))  # type: ignore[arg-type]
    assert "price_positive" in refused(write(row(2), row(3, price=0.0)))
    assert "price_positive" in refused(write(row(3, price=None)))  # a NULL is no yes
    assert "not_the_word" in refused(write(row(3, month="it's")))
    for drifted, named in (
        (good.drop("tags"), "missing columns ['tags'], unknown []"),
        (good.selectExpr("*", "1 AS extra"), "missing columns [], unknown ['extra']"),
        (good.withColumnRenamed("price", "Price"), "missing columns ['price'], unknown ['Price']"),
    ):
        with pytest.raises(TableError) as caught:
            lake.append(BARS, drifted)
        assert str(caught.value) == f"gold.bars: {named}"

    # A table of another version of the contract is left as it is.
    for other in (
        BARS.columns[:-1],
        (*BARS.columns, Column("extra", "INT", "More")),
        (*BARS.columns[:-1], Column("versions", "MAP<STRING, STRING>", "Texts")),
    ):
        changed = TableContract("gold", "bars", "Changed", other, ("id",), ("month",))
        with pytest.raises(TableError, match=r"gold\.bars in .* has other columns"):
            Lake(spark, settings.warehouse).read(changed)

    assert rows_in(lake) == before
    assert lake.version(BARS) == 1
    assert lake.written_versions == {"gold.bars": 1}


def test_a_frame_of_other_types_is_drift_too(lake: Lake) -> None:
    good = lake.frame(BARS, [row(1)])
    for name, changed in (("id", "1.7D"), ("price", "'1.5'"), ("at", "CAST(at AS DATE)")):
        kept = [column for column in BARS.column_names if column != name]
        with pytest.raises(TableError, match=name):
            lake.append(BARS, good.selectExpr(*kept, f"{changed} AS {name}"))


def test_an_empty_frame_is_no_error(lake: Lake) -> None:
    empty = lake.frame(BARS, [])
    lake.append(BARS, empty)
    lake.append(BARS, lake.frame(BARS, [row(1), row(2, "2025-02")]))
    newest = lake.append(BARS, empty)
    assert newest == lake.version(BARS)
    assert len(rows_in(lake, newest)) == 2
    newest = lake.replace(BARS, empty, where="month = '2025-02'")
    assert rows_in(lake, newest) == [row(1)]
    lake.replace(BARS, empty, where="month = '2025-02'")
    assert rows_in(lake) == [row(1)]


@pytest.mark.parametrize(("first", "mode"), [([row(7)], "Append"), ([], "Overwrite")])
def test_the_first_commit_is_an_append_unless_it_has_no_row(
    spark: SparkSession, lake: Lake, first: list[dict[str, object]], mode: str
) -> None:
    where = "month = '2025-01'"
    assert lake.replace(BARS, lake.frame(BARS, first), where) == tables.FIRST_VERSION
    assert lake.replace(BARS, lake.frame(BARS, [row(1)]), where) == 2
    assert rows_in(lake) == [row(1)]
    told = spark.sql(f"DESCRIBE HISTORY {lake.name(BARS)}").orderBy("version").collect()
    modes = [each["operationParameters"].get("mode") for each in told]
    assert modes == [None, mode, "Overwrite"]


def test_writers_at_the_same_time_lose_nothing(spark: SparkSession, settings: Settings) -> None:
    lakes = [Lake(spark, settings.warehouse) for _ in range(3)]
    frames = [lakes[0].frame(BARS, [row(number)]) for number in range(3)]
    same = lakes[0].frame(BARS, [row(7, "2025-07")])
    together = Barrier(3)  # of as many threads, none of which can have failed before it

    def append(number: int) -> int:
        together.wait()
        return lakes[number].append(BARS, frames[number])  # the first of them creates the table

    def replace(number: int) -> int | None:
        together.wait()
        try:
            return lakes[number].replace(BARS, same, where="month = '2025-07'")
        except WriteConflict:
            return None  # the task would be planned again

    with threads(spark, 3, "test") as pool:
        appended = list(pool.map(append, range(3)))
        replaced = list(pool.map(replace, range(3)))
    for lake, *versions in zip(lakes, appended, replaced, strict=True):
        assert lake.written_versions == {"gold.bars": versions[1] or versions[0]}
    assert rows_in(lakes[0]) == [row(0), row(1), row(2), row(7, "2025-07")]
    # Each that was not refused was told its own commit.
    versions = [version for version in replaced if version is not None]
    assert sorted(appended) == [1, 2, 3]
    assert sorted(versions) == list(range(4, 4 + len(versions)))
    assert lakes[0].version(BARS) == 3 + len(versions) >= 4


def test_a_table_that_another_task_is_creating_is_waited_for(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, late = (Lake(spark, str(tmp_path / name)) for name in ("other", "late"))
    other.create(BARS)
    commit = Path("gold", "bars", "_delta_log", "00000000000000000000.json")
    log = (tmp_path / "late" / commit).parent
    log.mkdir(parents=True)  # which Delta does first
    monkeypatch.setattr(creation, "_pause", lambda _: shutil.copy(tmp_path / "other" / commit, log))
    late.append(BARS, late.frame(BARS, [row(1)]))
    assert rows_in(late) == [row(1)]


def test_what_a_kill_at_a_tables_creation_left_is_made_anew(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(creation, "_pause", waits.append)
    folder = tmp_path / "gold" / "bars"
    (folder / "_delta_log").mkdir(parents=True)
    (folder / "part-0.parquet").touch()
    with pytest.raises(TableError, match=f"{folder} .* remove that folder and run again"):
        Lake(spark, str(tmp_path)).create(BARS)
    assert 5 < sum(waits) < 60
    (folder / "part-0.parquet").unlink()
    lake = Lake(spark, str(tmp_path))
    lake.append(BARS, lake.frame(BARS, [row(1)]))
    assert rows_in(lake) == [row(1)]


def test_what_others_changed_is_told_from_ones_own_and_by_partition(
    spark: SparkSession, settings: Settings
) -> None:
    mine, other = (Lake(spark, settings.warehouse) for _ in range(2))
    seen = mine.append(BARS, mine.frame(BARS, [row(1)]))
    assert seen == 1

    def changed(month: str) -> bool:
        return mine.changed_by_others(BARS, seen, f"month = '{month}'")

    mine.append(BARS, mine.frame(BARS, [row(2)]))
    assert not changed("2025-01")
    other.append(BARS, other.frame(BARS, [row(3, "2025-02")]))
    mine.append(BARS, mine.frame(BARS, [row(4, "2025-02")]))
    assert not changed("2025-01")
    assert changed("2025-02")


@pytest.mark.parametrize("is_folder", [True, False])
def test_of_those_that_find_a_table_without_rows_one_is_first_and_the_others_replace(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_folder: bool
) -> None:
    warehouse = str(tmp_path) if is_folder else tmp_path.as_uri()
    january = "month = '2025-01'"
    Lake(spark, warehouse).create(BARS)
    together = Barrier(2, timeout=300)

    def write(price: float) -> bool:
        lake = Lake(spark, warehouse)
        frame = lake.frame(BARS, [row(1, price=price), row(2, price=price)])
        together.wait()
        try:
            lake.replace(BARS, frame, where=january)
        except WriteConflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert any(pool.map(write, (1.0, 2.0)))
    lake = Lake(spark, warehouse)
    assert [each["id"] for each in rows_in(lake)] == [1, 2]
    assert len({each["price"] for each in rows_in(lake)}) == 1

    if is_folder:  # where others wait before they look
        return
    # A process that found no row yet comes after another's first commit.
    monkeypatch.setattr(Lake, "is_unwritten", lambda *_: True)
    before = lake.version(BARS)
    assert lake.replace(BARS, lake.frame(BARS, [row(3)]), where=january) == before + 1
    assert rows_in(lake) == [row(3)]


def test_every_warehouse_has_its_own_tables_behind_the_sql_names(
    spark: SparkSession, tmp_path: Path
) -> None:
    one, two = Lake(spark, str(tmp_path / "it's one")), Lake(spark, str(tmp_path / "two"))
    one.append(BARS, one.frame(BARS, [row(1)]))
    two.append(BARS, two.frame(BARS, [row(1), row(2)]))
    (tmp_path / "two" / "gold" / "no table").mkdir()
    (tmp_path / "two" / "notes" / "x" / "_delta_log").mkdir(parents=True)
    uri = (tmp_path / "two").as_uri()
    places = ((str(tmp_path / "it's one"), 1), (str(tmp_path / "two"), 2), (f"{uri}/", 2))
    for warehouse, count in places:
        names = register_tables(spark, warehouse, None)
        assert names == ["gold.bars"]
        assert spark.table("gold.bars").count() == count
        assert spark.sql("SELECT * FROM gold.bars VERSION AS OF 0").count() == 0
    spark.sql("DROP TABLE gold.bars")
    assert rows_in(two) == [row(1), row(2)]  # a name is gone, not the table
    assert register_tables(spark, f"{uri}/gold", None) == []


def test_arrow_rows_are_a_frame_even_if_there_is_none(spark: SparkSession) -> None:
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            ("at", pa.timestamp("us", "UTC")),
            ("parts", pa.list_(pa.struct({"name": pa.string(), "n": pa.int32()}))),
        ]
    )
    given = pa.Table.from_pylist([{"id": 1, "at": AT, "parts": [{"name": "a", "n": 2}]}], schema)
    for table in (given, given.slice(1)):
        frame = frame_of(spark, table)
        assert frame.toArrow().to_pylist() == table.to_pylist()
        assert [field.dataType.simpleString() for field in frame.schema] == [
            *("bigint", "timestamp", "array<struct<name:string,n:int>>"),
        ]


def test_a_catalog_keeps_the_names_and_people_their_views_beside_them(
    spark: SparkSession,
) -> None:
    mine = replace(BARS, name=f"bars_{uuid4().hex}")
    lake = Lake(spark, "anywhere", "spark_catalog")
    view = f"gold.view_of_{mine.name}"
    try:
        lake.append(mine, lake.frame(mine, [row(1)]))
        spark.sql(f"CREATE VIEW {view} AS SELECT 1 AS one")
        for names in (lake.tables(), register_tables(spark, "anywhere", "spark_catalog")):
            assert mine.full_name in names
            assert view not in names
        # As `candlelake history` and `candlelake sql` name it, whatever keeps the tables.
        assert spark.sql(f"DESCRIBE HISTORY {mine.full_name}").count() == 2
        assert lake.maintain(mine.full_name, None)[1].files == 1
    finally:
        spark.sql(f"DROP VIEW IF EXISTS {view}")
        spark.sql(f"DROP TABLE IF EXISTS spark_catalog.{mine.full_name}")


@pytest.mark.parametrize(
    ("catalog", "quoted"), [("lake_1", "lake_1"), ("my-lake", "`my-lake`"), ("2024", "`2024`")]
)
def test_a_catalog_may_have_any_name(spark: SparkSession, catalog: str, quoted: str) -> None:
    name = Lake(spark, "anywhere", catalog).name(BARS)
    assert name == f"{quoted}.gold.bars"
    # Spark reads three parts, and knows no such catalog.
    with pytest.raises(Exception, match=rf"NAMESPACE.* `{catalog}`\.`gold`\.`bars`"):
        spark.sql(f"SELECT * FROM {name}").collect()


def test_a_warehouse_may_be_a_uri(spark: SparkSession, tmp_path: Path) -> None:
    lake = Lake(spark, f"{tmp_path.as_uri()}/a lake/")
    assert not lake.exists(BARS)
    assert lake.create(BARS)
    assert lake.exists(BARS)
    assert not Lake(spark, f"{tmp_path.as_uri()}/a lake").create(BARS)
    lake.append(BARS, lake.frame(BARS, [row(1)]))
    assert rows_in(Lake(spark, str(tmp_path / "a lake"))) == [row(1)]


def test_a_warehouse_without_tables_is_said_early(tmp_path: Path) -> None:
    for name in ("nowhere", "gold", ""):
        (tmp_path / "gold" / "bars").mkdir(parents=True, exist_ok=True)
        with pytest.raises(TableError) as caught:
            require_tables(str(tmp_path / name))
        assert str(tmp_path / name) in str(caught.value)
        assert "candlelake run" in str(caught.value)
    require_tables("s3://bucket/lake")  # only Spark can look there
    (tmp_path / "gold" / "bars" / "_delta_log").mkdir()
    (tmp_path / "gold" / "bars" / "_delta_log" / f"{0:020}.json").touch()
    require_tables(str(tmp_path))


def test_the_log_says_what_delta_tells_of_it(
    spark: SparkSession, lake: Lake, settings: Settings
) -> None:
    folder = Path(settings.warehouse, BARS.layer, BARS.name)
    assert newest_commits(folder, 5) == []
    for n in range(12):  # the tenth writes a checkpoint
        assert lake.append(BARS, lake.frame(BARS, [row(n)])) == n + 1
        assert lake.version(BARS) == n + 1
    lake.replace(BARS, lake.frame(BARS, [row(1, price=9.0)]), where="id < 3")
    spark.sql(f"OPTIMIZE {lake.name(BARS)}")
    told = spark.sql(f"DESCRIBE HISTORY {lake.name(BARS)}").collect()
    assert [asdict(commit) for commit in newest_commits(folder, 100)] == [
        {
            "version": each["version"],
            "operation": each["operation"],
            "user_metadata": each["userMetadata"],
            "metrics": each["operationMetrics"] or {},
        }
        for each in told
    ]
    assert newest_commits(folder, 3) == newest_commits(folder, 100)[:3]
    log = folder / "_delta_log"
    assert list(log.glob("*.checkpoint.parquet"))
    (log / f"{12:020}.{17:020}.compacted.json").touch()
    (log / f"{17:020}.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json").touch()
    assert lake.version(BARS) == 14
    for n in range(9):  # as a log that is cleaned up
        (log / f"{n:020}.json").unlink()
    assert [each.version for each in newest_commits(folder, 100)] == [14, 13, 12, 11, 10, 9]
    assert lake.changes_since(BARS, 7) is None
    assert lake.changes_since(BARS, 8) == {9, 10, 11, 12, 13}


def test_a_commit_that_comes_while_changes_are_looked_up_is_one_of_them(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        lake.append(BARS, lake.frame(BARS, [row(n)]))
    newest, late = lake._newest, [1]
    monkeypatch.setattr(lake, "_newest", lambda table: newest(table) - (late.pop() if late else 0))
    assert lake.changes_since(BARS, 1) == {2, 3}
    assert not late
    assert lake.changes_since(BARS, 3) == set()


def test_a_table_that_was_made_by_a_query_has_rows_from_the_first(
    spark: SparkSession, lake: Lake
) -> None:
    query = lake.frame(BARS, [row(1)])
    query.write.format("delta").partitionBy("month").saveAsTable(lake.name(BARS))
    assert lake.version(BARS) == 0
    assert not lake.is_unwritten(BARS)
    lake.replace(BARS, lake.frame(BARS, [row(1, price=9.0)]), where="id = 1")
    assert rows_in(lake) == [row(1, price=9.0)]


def test_rows_written_are_those_of_its_commits_alone(lake: Lake) -> None:
    assert lake.rows_written == 0
    lake.append(BARS, lake.frame(BARS, [row(n) for n in range(5)]))
    assert lake.rows_written == 5
    lake.append(BARS, lake.frame(BARS, []))  # nothing is committed: the newest commit is another's
    assert lake.rows_written == 5
    lake.replace(BARS, lake.frame(BARS, [row(7, "2025-02")]), where="month = '2025-02'")
    assert lake.rows_written == 6
    lake.replace(BARS, lake.frame(BARS, []), where="month = '2025-02'")
    assert lake.rows_written == 6
    # Rows that share a file with a replaced one are written again by Delta, not by the task.
    lake.replace(BARS, lake.frame(BARS, [row(1, price=9.0), row(2)]), where="id IN (1, 2)")
    assert lake.rows_written == 8
    assert len(rows_in(lake)) == 5


def test_rows_read_are_those_of_the_versions_that_were_read(
    spark: SparkSession, lake: Lake, settings: Settings
) -> None:
    other = replace(BARS, name="others")
    lake.append(BARS, lake.frame(BARS, [row(n) for n in range(5)]))
    lake.append(other, lake.frame(other, [row(1)]))
    reader = Lake(spark, settings.warehouse)
    assert reader.rows_read() == 0
    reader.read(BARS).where("id = 3")
    reader.read_own(other)
    lake.append(BARS, lake.frame(BARS, [row(9)]))
    assert reader.rows_read() == 5
    reader.read(other)
    assert reader.rows_read() == 6


def test_a_table_of_an_older_release_gets_its_new_columns_and_checks(
    spark: SparkSession, lake: Lake, settings: Settings
) -> None:
    lake.append(BARS, lake.frame(BARS, [row(1), row(2)]))
    newer = replace(
        BARS,
        columns=(*BARS.columns[:2], Column("n", "INT", "A number"), *BARS.columns[2:]),
        checks={"price_positive": "price > -1", "n_odd": "n IS NULL OR n % 2 = 1"},
        added=("n",),
    )
    undeclared = replace(newer, columns=(*newer.columns, Column("m", "INT", "More")))
    with pytest.raises(TableError, match="has other columns"):
        Lake(spark, settings.warehouse).read(undeclared)
    assert rows_in(lake) == [row(1), row(2)]
    for _ in range(2):  # the second time it has them
        now = Lake(spark, settings.warehouse)
        now.append(newer, now.frame(newer, [{**row(3), "price": 0.0, "n": 1}]))
    assert "n_odd" in refused(lambda: now.append(newer, now.frame(newer, [{**row(3), "n": 2}])))
    found = now.read_own(newer).select("id", "n").toArrow().to_pylist()
    assert sorted((each["id"], each["n"]) for each in found if each["id"] < 3) == [
        (1, None),
        (2, None),
    ]
    assert len(found) == 4
    # An older release refuses the table instead of writing rows without the column.
    with pytest.raises(TableError, match="has other columns"):
        Lake(spark, settings.warehouse).append(BARS, lake.frame(BARS, [row(4)]))
