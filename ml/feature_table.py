"""The task `gbt_features`: silver.candles -> ml.features, so that fits read plain Delta columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import functions as F

from gold.statistics import scoped_candles
from lakehouse.errors import NotEnoughData
from lakehouse.sql import equals
from lakehouse.tasks import TaskContext, TaskOutcome
from ml.contracts import FEATURES
from ml.features import FEATURE_NAMES, TARGET, gbt_features

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_VALUES = (*FEATURE_NAMES, TARGET)
_FEATURES_DDL = "symbol string, open_us bigint, " + ", ".join(f"{name} double" for name in _VALUES)


def run_gbt_features(context: TaskContext) -> TaskOutcome:
    """Write ml.features of the run's market and interval anew.

    Raises:
        NotEnoughData: There are no candles, or none with all features.
    """
    candles = scoped_candles(context).select("symbol", "open_us", "close", "segment")
    features = candles.groupBy("symbol").applyInArrow(features_of_symbol, _FEATURES_DDL)
    scope = context.settings.scope
    rows = features.withColumns(
        {
            "market": F.lit(scope["market"]),
            "interval": F.lit(scope["interval"]),
            "open_time": F.timestamp_micros("open_us"),
            "run_id": F.lit(context.run_id),
        }
    ).drop("open_us")
    context.lake.replace(FEATURES, rows, equals(scope))
    written = in_scope(context.lake.read_own(FEATURES), context)
    total, usable = written.count(), complete(written).count()
    if not usable:
        raise NotEnoughData(
            f"none of the {total:,} {scope['interval']} candles of market {scope['market']} has "
            "30 bars behind it: widen archive.start to archive.end and run ingest_archive and "
            "clean_candles"
        )
    return TaskOutcome(f"{total:,} rows, {usable:,} with all features and the target")


def in_scope(features: DataFrame, context: TaskContext) -> DataFrame:
    """Rows of the run's market and interval."""
    return features.where(equals(context.settings.scope))


def complete(features: DataFrame) -> DataFrame:
    """Rows with every feature and the target."""
    return features.dropna(subset=list(_VALUES))


def newest(features: DataFrame) -> DataFrame:
    """Rows of the market's newest bar that have every feature; their target is not known yet."""
    bar = features.agg(F.max("open_time").alias("open_time"))
    return features.join(bar, "open_time", "inner").dropna(subset=list(FEATURE_NAMES))


def features_of_symbol(candles: pa.Table) -> pa.Table:
    """Features of one symbol's candles, in any order of rows, as Arrow hands them over."""
    ordered = candles.sort_by("open_us")
    features = gbt_features(ordered["close"].to_numpy(), ordered["segment"].to_numpy())
    values = {name: pa.array(getattr(features, name), from_pandas=True) for name in _VALUES}
    return pa.table({"symbol": ordered["symbol"], "open_us": ordered["open_us"], **values})
