"""The task `maintain_tables`: few files, old ones deleted, and a year of every table's past.

No row changes, and a task that found its tables as it left them finds them so afterwards. Delta
keeps the statistics that let a reader skip files with each file that it writes, so there are none
to be computed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from lakehouse.errors import TableError
from lakehouse.tables import TableSize
from lakehouse.tasks import TaskContext, TaskOutcome, task

log = logging.getLogger(__name__)


@task("maintain_tables", "Compact the files of every table, and delete those past its retention.")
def maintain_tables(context: TaskContext) -> TaskOutcome:
    """Set each table's retention, compact its files and delete what no kept version needs.

    Raises:
        TableError: The warehouse holds no table.
        WriteConflict: Another run writes the same table; the tables before it are done.
    """
    names = context.lake.tables()
    if not names:
        raise TableError(f"no tables in {context.settings.warehouse}: run the job medallion first")
    days = context.settings.maintenance.retention_days
    sizes: dict[str, tuple[TableSize, TableSize]] = {}
    for name in names:
        sizes[name] = context.lake.maintain(name, days)
        log.info("%s: %s", name, _change(*sizes[name]))
    before, after = (_together(side) for side in zip(*sizes.values(), strict=True))
    return TaskOutcome(
        f"{len(names)} tables: {_change(before, after)}",
        {name: _change(*both) for name, both in sizes.items()},
        unchanged=not context.lake.written_versions,
    )


def _together(sizes: Iterable[TableSize]) -> TableSize:
    sizes = tuple(sizes)
    return TableSize(sum(size.files for size in sizes), sum(size.size_bytes for size in sizes))


def _change(before: TableSize, after: TableSize) -> str:
    """`12 files, 3.4 MB -> 1 file, 2.1 MB`, or one of them when they are the same."""
    told = [
        f"{size.files:,} file{'' if size.files == 1 else 's'}, {size.size_bytes / 1e6:,.2f} MB"
        for size in (before, after)
    ]
    return " -> ".join(dict.fromkeys(told))
