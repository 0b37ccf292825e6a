"""Tables as they stood: a lake that reads given Delta versions and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lakehouse.contracts import TableContract
from lakehouse.errors import TableError
from lakehouse.tables import Lake

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

# What Spark and Delta say when a version's files or its log are no longer kept.
_GONE = (
    "DELTA_TRUNCATED_TRANSACTION_LOG",
    "DELTA_LOG_FILE_NOT_FOUND",
    "DELTA_VERSION_NOT_FOUND",
    "TIME_TRAVEL_BEYOND_DELETED_FILE_RETENTION",
    "FILE_NOT_EXIST",
)


class PinnedLake(Lake):
    """Reads the tables of one warehouse at given versions, and writes none."""

    def __init__(
        self,
        spark: SparkSession,
        warehouse: str,
        catalog: str | None,
        versions: Mapping[str, int],
    ) -> None:
        super().__init__(spark, warehouse, catalog)
        self.read_versions = dict(versions)

    def version(self, contract: TableContract) -> int:
        """The given version.

        Raises:
            TableError: None is given.
        """
        if contract.full_name not in self.read_versions:
            raise TableError(f"{contract.full_name} is none of the tables whose version is known")
        return self.read_versions[contract.full_name]

    def read_own(self, contract: TableContract, version: int | None = None) -> DataFrame:
        """The given version, or another by name.

        Raises:
            TableError: Neither is given.
        """
        return super().read_own(contract, self.version(contract) if version is None else version)

    def version_unchanged(self, contract: TableContract) -> int:
        """The given version."""
        return self.version(contract)

    def _rows_without_spark(
        self, contract: TableContract, equal: Mapping[str, str]
    ) -> pa.Table | None:
        return None  # they would be the newest

    def create(self, contract: TableContract) -> bool:
        """Compare the table with its contract.

        Raises:
            TableError: It is not there, or has other columns.
        """
        if not self.exists(contract):
            raise TableError(
                f"{contract.full_name} is not there any more: a table of the past cannot be made"
            )
        return super().create(contract)

    def _write(self, contract: TableContract, frame: DataFrame, where: str | None) -> int:
        raise TableError(f"{contract.full_name}: a table of the past cannot be written")


def version_is_gone(error: BaseException) -> bool:
    """Whether a read failed because the version's files or its log are no longer kept."""
    return any(sign in str(error) for sign in _GONE)
