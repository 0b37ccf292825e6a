"""Source files whose content was replaced, and how many rows that changed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pyspark.errors import PySparkException

from bronze.contracts import ARCHIVE_FILES, KLINES
from bronze.differences import Difference, Replacement, differences
from lakehouse.settings import Settings
from lakehouse.sql import equals
from lakehouse.tables import Lake
from lakehouse.time_travel import version_is_gone

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

_SCHEMA = (
    "source_file string, replaced_at timestamp, replaced_by string, former_sha256 string, "
    "former_version bigint, former_rows bigint, removed bigint, added bigint, changed bigint"
)


def republished_files(spark: SparkSession, settings: Settings) -> DataFrame:
    """Every replaced content of the market and interval, the oldest first.

    Returns:
        source_file; replaced_at (UTC); replaced_by (`republished`, or the monthly file that took
        the place of a daily one); former_sha256; former_version (of bronze.klines, which still
        has the rows); former_rows; and the bars that were removed, added and changed, by time
        travel; NULL, and a warning, where a version is no longer kept.
    """
    lake = Lake(spark, settings.warehouse, settings.catalog)
    ledger = lake.read_own(ARCHIVE_FILES).where(equals(settings.scope))
    rows = ledger.where("former IS NOT NULL").toArrow().to_pylist()
    now = lake.version(KLINES)
    told = [(row, n, _replacement(row, n, now)) for row in rows for n in range(len(row["former"]))]
    told.sort(key=lambda each: (each[0]["former"][each[1]]["replaced_at"], each[0]["source_file"]))
    kept = _kept_versions(lake, [each for _, _, each in told])
    known = [each for _, _, each in told if {each.former_version, each.version} <= kept]
    of_known: dict[Replacement, Difference] = dict(
        zip(known, differences(lake, known), strict=True)
    )
    return spark.createDataFrame(
        [
            (
                row["source_file"],
                row["former"][n]["replaced_at"],
                row["superseded_by"]
                if _is_last(row, n) and row["superseded_by"]
                else "republished",
                row["former"][n]["sha256"],
                row["former"][n]["version"],
                row["former"][n]["rows"],
                *_figures(of_known.get(replacement)),
            )
            for row, n, replacement in told
        ],
        _SCHEMA,
    )


def _kept_versions(lake: Lake, replacements: Iterable[Replacement]) -> set[int]:
    """Those versions of bronze.klines that can still be read; a warning names the others."""
    versions = {v for each in replacements for v in (each.former_version, each.version)}
    gone = []
    for version in sorted(versions):
        try:
            lake.read_own(KLINES, version).limit(1).toArrow()
        except PySparkException as error:
            if not version_is_gone(error):
                raise
            gone.append(version)
    if gone:
        names = ", ".join(map(str, gone))
        log.warning("no longer kept of bronze.klines: versions %s; what they had is unknown", names)
    return versions.difference(gone)


def _figures(difference: Difference | None) -> tuple[int | None, int | None, int | None]:
    if difference is None:
        return None, None, None
    return difference.removed, difference.added, difference.changed


def _replacement(row: Mapping[str, Any], n: int, now: int) -> Replacement:
    """The replacement of a file's n-th content: by its next one, or by what bronze holds now."""
    name, former = row["source_file"], row["former"]
    if not _is_last(row, n):
        return Replacement(name, former[n]["version"], name, former[n + 1]["version"])
    return Replacement(name, former[n]["version"], row["superseded_by"] or name, now)


def _is_last(row: Mapping[str, Any], n: int) -> bool:
    return n == len(row["former"]) - 1
