"""The log of a Delta table in a folder of this machine: its versions, and what made each.

Asking Delta (`DESCRIBE HISTORY`) starts a job of Spark, half a second after every commit. The files
are those of https://github.com/delta-io/delta/blob/master/PROTOCOL.md: version N is `N.json`, in
which `commitInfo` is what `DESCRIBE HISTORY` shows of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LOG = "_delta_log"
_COMMIT = re.compile(r"[0-9]{20}\.json")
_CHECKPOINT = re.compile(r"([0-9]{20})\.checkpoint\.parquet")
_INFO = "commitInfo"


@dataclass(frozen=True)
class Commit:
    """One version of a table.

    Attributes:
        version: Its number.
        operation: What made it, as Delta names it: `WRITE`, `OPTIMIZE`.
        user_metadata: What the writer put into it.
        metrics: Counts of the operation, as text, under Delta's names.
    """

    version: int
    operation: str | None
    user_metadata: str | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)


def versions_in(folder: Path) -> list[int]:
    """Versions that a table's log has a file of, unsorted; none if there is no table.

    Delta deletes old ones that a later checkpoint has made superfluous, so never the newest.
    """
    files = (folder / _LOG).glob("*.json")
    return [int(file.stem) for file in files if _COMMIT.fullmatch(file.name)]


def newest_checkpoint(folder: Path) -> int:
    """The newest version whose whole state is one file of the log, `checkpoint_file`; else -1."""
    found = map(_CHECKPOINT.fullmatch, (file.name for file in (folder / _LOG).glob("*.parquet")))
    return max((int(name[1]) for name in found if name), default=-1)


def commit_file(folder: Path, version: int) -> Path:
    """What a version changed, an action in each line."""
    return folder / _LOG / f"{version:020}.json"


def checkpoint_file(folder: Path, version: int) -> Path:
    """All that holds in a version, an action in each row."""
    return folder / _LOG / f"{version:020}.checkpoint.parquet"


def newest_commits(folder: Path, number: int) -> list[Commit]:
    """The newest commits of a table, newest first; fewer where the log was cleaned up."""
    found = []
    for version in sorted(versions_in(folder), reverse=True)[:number]:
        try:
            found.append(_commit(folder, version))
        except FileNotFoundError:  # cleaned up since
            break
    return found


def _commit(folder: Path, version: int) -> Commit:
    with commit_file(folder, version).open(encoding="utf-8") as lines:
        # Usually the first line of many.
        actions = (json.loads(line) for line in lines if f'"{_INFO}"' in line)
        info: dict[str, Any] = next((action[_INFO] for action in actions if _INFO in action), {})
    return Commit(
        version,
        info.get("operation"),
        info.get("userMetadata"),
        info.get("operationMetrics") or {},
    )
