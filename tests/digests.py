"""What a warehouse holds as one digest for each table, read by another engine than Spark."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from tests.support import RUN_COLUMNS

# Beside those that name the run or its clock: the registry counts versions by itself.
_LEFT_OUT = RUN_COLUMNS | {"model_version", "snapshot_time"}


def table_digests(warehouse: Path, layers: Iterable[str]) -> dict[str, str]:
    """Table -> digest of its rows, in whatever order they lie, with the exact bits of doubles."""
    folders = sorted(
        log.parent for layer in layers for log in warehouse.glob(f"{layer}/*/_delta_log")
    )
    return {f"{each.parent.name}.{each.name}": digest_of(rows_in(each)) for each in folders}


def rows_in(folder: Path) -> pa.Table:
    """A table's newest rows without what names the run."""
    rows = pa.table(DeltaTable(str(folder)).to_pyarrow_table())
    return rows.select(sorted(set(rows.column_names) - _LEFT_OUT))


def digest_of(rows: pa.Table) -> str:
    """The number of rows and a digest of them."""
    columns = [map(_exact, column.to_pylist()) for column in rows.columns]
    lines = sorted("\x1f".join(row) for row in zip(*columns, strict=True))
    digest = hashlib.sha256("\x1e".join([*rows.column_names, *lines]).encode())
    return f"{len(lines)} rows {digest.hexdigest()[:16]}"


def _exact(value: Any) -> str:
    return value.hex() if isinstance(value, float) else repr(value)
