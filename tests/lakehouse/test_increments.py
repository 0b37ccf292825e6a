"""What a task learns of its earlier runs, of runs on other rows, and of one that was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from lakehouse.contracts import Column, TableContract
from lakehouse.errors import NotEnoughData
from lakehouse.increments import untouched
from lakehouse.settings import Settings
from lakehouse.sql import equals
from lakehouse.tables import Lake
from lakehouse.tasks import Task, TaskContext, TaskOutcome
from tests.pipelines import changed_settings, context_of, do, interpreted, run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PRICES = TableContract(
    "gold",
    "prices",
    "A price of each market",
    (
        Column("market", "STRING", "Its market", nullable=False),
        Column("price", "DOUBLE", "The price", nullable=False),
    ),
    ("market",),
    ("market",),
)


def write(context: TaskContext) -> TaskOutcome:
    """The market's price; without one for the months of 2020."""
    market = context.settings.archive.market
    rows = context.lake.frame(PRICES, [{"market": market, "price": 1.0}])
    context.lake.replace(PRICES, rows, equals({"market": market}))
    if context.settings.archive.start == "2020-01":
        raise NotEnoughData("it has failed")
    return TaskOutcome("written")


WRITE = Task("write", "W.", write)


def test_rows_are_untouched_while_only_runs_on_other_rows_have_written(
    spark: SparkSession, settings: Settings
) -> None:
    um, spot = of(settings, "um"), of(settings, "spot")
    lake = Lake(spark, settings.warehouse)
    with interpreted(spark):
        run(spark, um, "um-1", WRITE)
        run(spark, spot, "spot-1", WRITE)
        with pytest.raises(NotEnoughData):
            run(spark, changed_settings(spot, archive={"start": "2020-01"}), "spot-2", WRITE)
        assert lake.version(PRICES) == 3
        assert are_untouched(spark, um)
        # The failed run may have left rows of the spot market that no run stands for.
        assert not are_untouched(spark, spot)

        do(spark, um, WRITE, "um-2")  # killed: it leaves no row of itself
        run(spark, spot, "spot-3", WRITE)
        assert are_untouched(spark, spot)
        # That a later run on other rows has succeeded says nothing of the killed one.
        assert not are_untouched(spark, um)


def of(settings: Settings, market: Literal["um", "spot"]) -> Settings:
    return changed_settings(settings, archive={"market": market})


def are_untouched(spark: SparkSession, settings: Settings) -> bool:
    scope = equals({"market": settings.archive.market})
    return untouched(context_of(spark, settings, WRITE.name, "asked"), scope, [PRICES])
