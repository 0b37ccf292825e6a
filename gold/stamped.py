"""Rows of gold tables with what they were made from: run and Delta versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.contracts import TableContract
from lakehouse.tasks import TaskContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_VERSIONS = "map<string,bigint>"


def replace_stamped(
    context: TaskContext,
    contract: TableContract,
    rows: DataFrame,
    stamp: Mapping[str, str],
    sources: tuple[TableContract, ...],
    where: str,
) -> None:
    """Stamp rows with their origin and put them in the place of earlier ones.

    Args:
        context: The task.
        contract: The table; it has the columns run_id and read_versions.
        rows: All its other columns but those of `stamp`.
        stamp: Columns that have one text in all rows.
        sources: Tables that the rows were made from, which the task has read.
        where: The rows that are replaced, as a SQL condition.
    """
    read = [(each.full_name, context.lake.read_versions[each.full_name]) for each in sources]
    versions = F.create_map(*(F.lit(part) for pair in read for part in pair))
    columns = {name: F.lit(value) for name, value in {**stamp, "run_id": context.run_id}.items()}
    context.lake.replace(
        contract, rows.withColumns({**columns, "read_versions": versions.cast(_VERSIONS)}), where
    )
