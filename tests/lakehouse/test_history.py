from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.contracts import Column, TableContract
from lakehouse.history import Commit, commit_files, commits_in_folder, commits_of
from lakehouse.tables import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakehouse.settings import Settings

NUMBERS = TableContract("gold", "numbers", "Numbers", (Column("n", "INT", "One"),), ("n",))


def put_log(folder: Path, name: str, *actions: object) -> None:
    log = folder / "_delta_log"
    log.mkdir(exist_ok=True, parents=True)
    (log / name).write_text("".join(json.dumps(a, separators=(",", ":")) + "\n" for a in actions))


def test_the_files_tell_what_delta_tells(
    spark: SparkSession, lake: Lake, settings: Settings
) -> None:
    for number in range(3):
        lake.append(NUMBERS, lake.frame(NUMBERS, [{"n": number}]))
    lake.replace(NUMBERS, lake.frame(NUMBERS, [{"n": 2}, {"n": 2}]), where="n = 2")
    lake.replace(NUMBERS, lake.frame(NUMBERS, []), where="n = 2")
    name = lake.name(NUMBERS)
    spark.sql(f"OPTIMIZE {name}").collect()
    spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('delta.dataSkippingNumIndexedCols' = '1')")
    found = list(commits_in_folder(Path(settings.warehouse, "gold", "numbers")))
    assert found == list(commits_of(spark, name, 100))
    assert list(commits_of(spark, name, 2)) == found[:2]
    assert [commit.version for commit in found] == list(range(7, -1, -1))
    assert [commit.rows for commit in found[2:7]] == [0, 2, 1, 1, 1]


def test_only_commits_are_taken_for_commits(tmp_path: Path) -> None:
    assert commit_files(tmp_path) == []
    assert list(commits_in_folder(tmp_path)) == []
    told = {"operation": "WRITE", "userMetadata": "x", "operationMetrics": {"numOutputRows": "3"}}
    put_log(tmp_path, f"{9:020}.json", {"protocol": {}}, {"commitInfo": told}, {"add": {}})
    put_log(tmp_path, f"{10:020}.json", {"add": {}})
    put_log(tmp_path, f"{10:020}.checkpoint.a-b.json", {"commitInfo": told})
    put_log(tmp_path, f"{9:020}.{10:020}.compacted.json", {"commitInfo": told})
    assert list(commits_in_folder(tmp_path)) == [
        Commit(10, None, None),
        Commit(9, "WRITE", "x", {"numOutputRows": "3"}),
    ]
