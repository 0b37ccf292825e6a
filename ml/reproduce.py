"""A recorded model run, fitted again from the Delta versions, settings and seed of its record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from lakehouse.code_version import code_version
from lakehouse.contracts import TableContract
from lakehouse.errors import ReproductionError, in_one_line
from lakehouse.reproduction import Reproduction
from lakehouse.session import spark_session
from lakehouse.settings import Settings
from lakehouse.tasks import TaskContext
from lakehouse.time_travel import PinnedLake, version_is_gone
from ml.comparison import compare
from ml.gbt_evaluation import gbt_result
from ml.kmeans import kmeans_result
from ml.libraries import libraries
from ml.pca import pca_result
from ml.pca_windows import MARKET_INTEGRATION
from ml.recorded import RecordedRun, find_run
from ml.results import ModelResult
from ml.tracking import table_place

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

RESULTS: Mapping[str, Callable[[TaskContext], ModelResult]] = {
    "gbt": gbt_result,
    "kmeans": kmeans_result,
    "pca": pca_result,
}
"""Task -> its fit."""

BESIDE: Mapping[str, frozenset[str]] = {
    "pca": frozenset({MARKET_INTEGRATION}),
}
"""Task -> series that its run logs and that are none of the fit."""

# Where a run was made says nothing about what it gave.
_OF_PLACE = ("warehouse", "catalog", "mlflow", "report", "spark")


def reproduce(settings: Settings, reference: str) -> Reproduction:
    """Fit a recorded run again, in a session of its own, and compare.

    Args:
        settings: Name the store, the warehouse and the session; all else is as recorded.
        reference: `models:/NAME@champion`, `models:/NAME/VERSION`, or the id of a run.

    Raises:
        ModelNotFound: The store has no such run or model.
        ReproductionError: The record cannot be fitted again here; the message says why.
    """
    recorded = find_run(settings.mlflow.tracking_uri, reference, RESULTS)
    as_recorded = recorded_settings(recorded, settings)
    with spark_session(settings.spark) as spark:
        context = recorded_context(spark, as_recorded, recorded)
        result = fit_again(context, recorded)
        warnings = warnings_of(recorded, context)  # a client of Spark Connect asks the server
    return Reproduction(
        title=f"{recorded.task}: run {recorded.mlflow_run_id}",
        notes=_notes(recorded),
        warnings=warnings,
        comparisons=compare(
            recorded.metrics, recorded.output, result, BESIDE.get(recorded.task, frozenset())
        ),
    )


def recorded_settings(recorded: RecordedRun, current: Settings) -> Settings:
    """The settings of the record, in the place of the current ones.

    Raises:
        ReproductionError: They have other keys than this version knows.
    """
    try:
        settings = Settings.model_validate_json(recorded.settings)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ReproductionError(
            f"run {recorded.mlflow_run_id} was made with settings that this version does not know "
            f"({key}): install candlelake {recorded.code_version}"
        ) from error
    return settings.model_copy(update={name: getattr(current, name) for name in _OF_PLACE})


def recorded_context(spark: SparkSession, settings: Settings, recorded: RecordedRun) -> TaskContext:
    """A context whose lake reads the recorded versions and nothing else.

    Raises:
        ReproductionError: The run read the tables of another warehouse.
    """
    versions = {table.name: table.version for table in recorded.tables}
    lake = PinnedLake(spark, settings.warehouse, settings.catalog, versions)
    for table in recorded.tables:
        layer, _, name = table.name.partition(".")
        contract = TableContract(layer, name, comment="", columns=(), key=())
        (here,) = table_place(lake, contract).values()
        if here != table.place:
            raise ReproductionError(
                f"run {recorded.mlflow_run_id} read {table.name} in {table.place}, and this "
                f"warehouse has it in {here}: name that warehouse with --set warehouse=…"
            )
    return TaskContext(
        spark=spark,
        settings=settings,
        lake=lake,
        run_id="reproduce",
        job="",
        task=recorded.task,
        now=datetime.now(UTC),
        code_version=code_version("ml"),
        settings_digest=settings.digest(),
    )


def fit_again(context: TaskContext, recorded: RecordedRun) -> ModelResult:
    """The fit of a record.

    Raises:
        ReproductionError: A version that it read is no longer kept.
    """
    try:
        return RESULTS[recorded.task](context)
    except Exception as error:
        if not version_is_gone(error):
            raise
        log.debug("%s", in_one_line(error))
        tables = ", ".join(f"{table.name} at version {table.version}" for table in recorded.tables)
        raise ReproductionError(
            f"run {recorded.mlflow_run_id} read {tables}, which is no longer kept (by VACUUM, or "
            "past the table's retention): it cannot be had again"
        ) from error


def warnings_of(recorded: RecordedRun, context: TaskContext) -> list[str]:
    """What may make the values of a record differ from those had again: other code or libraries."""
    here = libraries(context)
    made_by = [
        (f"code {recorded.code_version}", context.code_version),
        (recorded.libraries or here, here),  # a record may name none
    ]
    return [
        f"the run was made by {then}, and this is {now}: a difference may come from that"
        for then, now in made_by
        if then.removeprefix("code ") != now
    ]


def _notes(recorded: RecordedRun) -> list[str]:
    notes = [f"{table.name} at version {table.version}" for table in recorded.tables]
    beside = sorted(BESIDE.get(recorded.task, frozenset()) & recorded.metrics.keys())
    if beside:
        notes.append(f"not compared, as they are no figures of the fit: {', '.join(beside)}")
    return notes
