"""A small made-up factor model: hourly returns, exposures of four coins, and an index of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gold.contracts import INDEX_DECISIONS, INDEX_WEIGHTS
from gold.factor_contracts import FACTOR_EXPOSURES, FACTOR_RETURNS
from gold.factor_names import BUCKET_FACTORS, LONG_SHORT_FACTORS, MARKET_RETURN, beta_name
from lakehouse.contracts import TableContract
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from silver.contracts import LISTINGS
from tests.pipelines import as_arrow, changed_settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MARKET, INTERVAL, WINDOW = "um", "1h", 30
YEAR = 8760.0
START = pd.Timestamp("2026-01-30", tz="UTC")
HOUR = pd.Timedelta(hours=1)
DAY = pd.Timedelta(days=1)
MOST_DAYS = 6
COINS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")
USED = (MARKET_RETURN, *BUCKET_FACTORS)
INDEX = "smart_monthly"
# Determined before the first day, for February, and a date at which nobody was eligible.
WEIGHTS = {
    START - DAY: {"AUSDT": 0.75, "GONEUSDT": 0.25},
    pd.Timestamp("2026-02-01", tz="UTC"): {"BUSDT": 0.5, "CUSDT": 0.25, "AUSDT": 0.25},
    pd.Timestamp("2026-02-03", tz="UTC"): {},
}


def factor_settings(settings: Settings) -> Settings:
    """The settings of this model."""
    return changed_settings(
        settings,
        archive={"market": MARKET},
        factors={
            "interval": INTERVAL,
            "window": WINDOW,
            "buckets": "trailing",
            "stress": {MARKET_RETURN: -0.2},
        },
    )


def factor_returns(days: int, run_id: str = "run-1") -> pd.DataFrame:
    """Returns of the market and the buckets; the first day has no buckets yet."""
    rng = np.random.default_rng(11)
    bars = 24 * MOST_DAYS
    common = rng.normal(0, 0.01, bars)
    frame = pd.DataFrame({name: common + rng.normal(0, 0.004, bars) for name in USED})
    for name in LONG_SHORT_FACTORS:
        sort = name.removesuffix("_high_minus_low")
        frame[name] = frame[f"{sort}_high"] - frame[f"{sort}_low"]
    frame.loc[:23, [*BUCKET_FACTORS, *LONG_SHORT_FACTORS]] = None
    frame = frame.assign(open_time=START + np.arange(bars) * HOUR, coins=4)
    return _stamped(frame[: 24 * days], run_id)


def exposures(days: int, run_id: str = "run-1", used: Sequence[str] = USED) -> pd.DataFrame:
    """Exposures of the coins from the third day on; D stops at the fourth day's noon."""
    parts = []
    for place, symbol in enumerate(COINS):
        rng = np.random.default_rng(place)
        times = START + np.arange(24 * MOST_DAYS) * HOUR
        frame = pd.DataFrame(
            {beta_name(name): rng.normal(0.2, 0.5, times.size) for name in used}
        ).assign(
            symbol=symbol,
            open_time=times,
            constant=0.0,
            r2=0.6,
            adj_r2=0.59,
            bars=WINDOW,
            residual_variance=rng.uniform(1e-6, 1e-4, times.size),
            condition_number=10.0,
        )
        end = START + min(3.5 if symbol == "DUSDT" else days, days) * DAY
        parts.append(frame[(times >= START + 2 * DAY) & (times < end)])
    frame = pd.concat(parts, ignore_index=True)
    unused = {*BUCKET_FACTORS, *LONG_SHORT_FACTORS} - {*used}
    return _stamped(frame.assign(**{beta_name(n): np.nan for n in unused}), run_id)


def index_rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Weights of the index, and its decisions: one at each date."""
    stamp: dict[str, Any] = {"index_name": INDEX, "market": MARKET, "interval": "4h"}
    stamp |= {"run_id": "run-1"}
    ranked = {"rank": 1, "sharpe": 1.0, "annual_volatility": 1.0}
    weights = [
        {"as_of": as_of, "symbol": symbol, "weight": weight, **ranked, **stamp}
        for as_of, members in WEIGHTS.items()
        for symbol, weight in members.items()
    ]
    why = {"symbol": "AUSDT", "decision": "ineligible", "rule": "history", "detail": ""}
    return pd.DataFrame(weights), pd.DataFrame(
        [{"as_of": as_of, **why, **stamp} for as_of in WEIGHTS]
    )


def write(spark: SparkSession, lake: Lake, contract: TableContract, frame: pd.DataFrame) -> None:
    """Add rows to a table."""
    rows = spark.createDataFrame(as_arrow(contract, frame))
    if "read_versions" in contract.column_names:
        rows = rows.selectExpr("*", "CAST(map() AS MAP<STRING, BIGINT>) AS read_versions")
    lake.append(contract, rows)


def write_market(
    spark: SparkSession,
    lake: Lake,
    days: Iterable[int],
    run_id: str,
    used: Sequence[str] = USED,
) -> None:
    """Add some days, counted from 0, of factor returns and exposures to the factors in use."""
    wanted = [START + day * DAY for day in days]
    for contract, frame in (
        (FACTOR_RETURNS, factor_returns(max(days) + 1, run_id)),
        (FACTOR_EXPOSURES, exposures(max(days) + 1, run_id, used)),
    ):
        write(spark, lake, contract, frame[frame["open_time"].dt.floor("D").isin(wanted)])


def write_index(spark: SparkSession, lake: Lake) -> None:
    """Add the index."""
    weights, decisions = index_rows()
    write(spark, lake, INDEX_WEIGHTS, weights)
    write(spark, lake, INDEX_DECISIONS, decisions)


def write_listings(lake: Lake) -> None:
    """Add the coins' listings; one of the index's coins has no minute candles."""
    at = START.to_pydatetime()
    known = {"first_open_time": at, "last_open_time": at, "bars": 1, "filled_bars": 0}
    stamp = {"market": MARKET, "interval": "4h", "status": "trading"}
    rows = [{"symbol": symbol, **known, **stamp} for symbol in (*COINS, "GONEUSDT")]
    lake.append(LISTINGS, lake.frame(LISTINGS, rows))


def _stamped(frame: pd.DataFrame, run_id: str) -> pd.DataFrame:
    return frame.assign(
        market=MARKET,
        interval=INTERVAL,
        buckets="trailing",
        month=frame["open_time"].dt.strftime("%Y-%m"),
        run_id=run_id,
    )
