"""What Delta tells of a table's commits, newest first.

Of a table in a folder, its log is read as the files it is: a query for them takes as long as a
small commit, and a task asks after each of its commits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_COMMIT = re.compile(r"\d{20}\.json")


@dataclass(frozen=True)
class Commit:
    """A commit of a table.

    Attributes:
        version: The Delta version that it made.
        operation: What it did, such as `WRITE`; None if its writer does not say.
        token: What its writer called it by; None without.
        metrics: Counts of its files and rows; empty if its writer keeps none.
    """

    version: int
    operation: str | None
    token: str | None
    metrics: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int | None:
        """Rows written; not those copied because they share a file with others."""
        # Of a commit that only took rows away, Delta tells the files alone.
        rows = "0" if self.metrics.get("numFiles") == "0" else self.metrics.get("numOutputRows")
        return None if rows is None else int(rows) - int(self.metrics.get("numCopiedRows") or 0)


def commit_files(folder: Path) -> list[Path]:
    """The commits of a table's folder, oldest first; none if a run was killed as it made it."""
    return sorted(
        path for path in (folder / "_delta_log").glob("*.json") if _COMMIT.fullmatch(path.name)
    )


def commits_in_folder(folder: Path) -> Iterator[Commit]:
    """The commits that the log still has, read as far as they are asked for."""
    for path in reversed(commit_files(folder)):
        with path.open(encoding="utf-8") as lines:
            told = next((line for line in lines if line.startswith('{"commitInfo"')), "{}")
        yield _commit(int(path.stem), json.loads(told).get("commitInfo", {}))


def commits_of(spark: SparkSession, name: str, depth: int) -> Iterator[Commit]:
    """The newest commits of a table that is known by name."""
    for row in spark.sql(f"DESCRIBE HISTORY {name} LIMIT {depth}").collect():
        yield _commit(row["version"], row.asDict())


def _commit(version: int, told: Mapping[str, Any]) -> Commit:
    return Commit(
        version,
        told.get("operation"),
        told.get("userMetadata"),
        told.get("operationMetrics") or {},
    )
