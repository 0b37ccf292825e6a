"""A small market for the factor model, and the model of it in one process, table by table."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from gold.factor_names import BUCKET_FACTORS, MARKET_RETURN
from gold.factor_rows import MOMENTUM_HALO, bucket_rows, day_rows, exposure_rows, return_rows
from lakehouse.settings import FactorSettings, Settings
from lakehouse.tables import Lake
from silver.contracts import CANDLES, LISTINGS
from tests.pipelines import as_arrow

# 15-minute bars from 2026-01-27 on: the market crosses a month.
PER_DAY, FIRST_DAY, DAYS = 96, 20_480, 12
STEP_US = 900_000_000
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT", "EUSDT", "FUSDT", "GUSDT")
SCOPE = {"market": "um", "interval": "15m"}
FACTORS = (MARKET_RETURN, *BUCKET_FACTORS)

SETTINGS = FactorSettings(
    interval="15m",
    start=None,
    end=None,
    buckets="trailing",
    schedule="daily",
    lookback_days=4,
    portfolios="buckets",
    window=192,
    min_bars=100,
    ridge=1e-6,
)


def candles(seed: int = 1, days: int = DAYS) -> pd.DataFrame:
    """Columns symbol, bar, open, close, trades: one listed late, one with holes, one that ends."""
    rng = np.random.default_rng(seed)
    bars = DAYS * PER_DAY
    common = rng.normal(0, 2e-3, bars)
    frames = []
    for i, symbol in enumerate(SYMBOLS):
        returns = (0.5 + 0.2 * i) * common + rng.normal(0, 1e-3 * (1 + i % 3), bars)
        close = 100 * np.exp(np.cumsum(returns))
        open_ = np.concatenate([[100.0], close[:-1]]) * rng.lognormal(0, 1e-4, bars)
        trades = rng.poisson(20 + 10 * ((3 * i) % 7), bars)
        frame = pd.DataFrame(
            {"symbol": symbol, "bar": np.arange(bars), "open": open_, "close": close}
        ).assign(trades=trades)
        kept = np.ones(bars, dtype=np.bool_)
        if symbol == "BUSDT":
            kept[: 9 * PER_DAY + 7] = False
        if symbol == "DUSDT":
            kept[[5, 870, 871, 1000]] = False
        if symbol == "GUSDT":
            kept[11 * PER_DAY :] = False
        frames.append(frame[kept])
    whole = pd.concat(frames, ignore_index=True)
    whole["bar"] += FIRST_DAY * PER_DAY
    return whole[whole["bar"] < (FIRST_DAY + days) * PER_DAY].reset_index(drop=True)


def scrambled_from(frame: pd.DataFrame, bar: int, seed: int) -> pd.DataFrame:
    """The same candles up to a bar; from it on noise, with some bars gone."""
    rng = np.random.default_rng(seed)
    late = frame["bar"].to_numpy() >= bar
    noisy = frame.copy()
    for name in ("open", "close"):
        noisy.loc[late, name] = rng.lognormal(0, 3, late.sum())
    noisy.loc[late, "trades"] = rng.integers(0, 10**6, late.sum())
    return noisy[~late | (rng.random(late.size) < 0.8)].reset_index(drop=True)


@dataclass(frozen=True)
class Model:
    """Rows of the three tables but for their stamps; as_of_us of the buckets is a day's number."""

    buckets: pa.Table
    returns: pa.Table
    exposures: pa.Table


def model(frame: pd.DataFrame, settings: FactorSettings = SETTINGS) -> Model:
    """What the tasks do with trailing buckets, without Spark and a day at a time."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    bar = frame["bar"].to_numpy()
    days = range(int(bar.min()) // PER_DAY, int(bar.max()) // PER_DAY + 1)

    def between(start: int, stop: int) -> pa.Table:
        return table.filter(pa.array((bar >= start) & (bar < stop)))

    sums = pa.concat_tables(
        day_rows(
            between(day * PER_DAY - MOMENTUM_HALO, (day + 1) * PER_DAY),
            range(day, day + 1),
            PER_DAY,
        )
        for day in days
    )
    formed = [
        day
        for day in range(days.start + 1, days.stop + 1)
        if settings.schedule == "daily" or datetime.fromtimestamp(day * 86_400, UTC).day == 1
    ]
    dates = [(day, day - settings.lookback_days, day - 1) for day in formed]
    buckets = bucket_rows(sums, dates, trading=True)
    as_of = buckets["as_of_us"].to_numpy()
    returns = pa.concat_tables(
        return_rows(
            between(day * PER_DAY, (day + 1) * PER_DAY),
            buckets.filter(pa.array(as_of == max((d for d in formed if d <= day), default=0))),
            day * PER_DAY,
            PER_DAY,
        )
        for day in days
    )
    bars = range(int(bar.min()), int(bar.max()) + 1)
    return Model(buckets, returns, exposure_rows(table, returns, FACTORS, bars, settings))


def write_silver(lake: Lake, frame: pd.DataFrame) -> None:
    """These candles as silver has them, and a filled bar in each hole that DUSDT has."""
    silver = frame.assign(is_filled=False, source_file="f", line=1)
    dusdt = silver[silver["symbol"] == "DUSDT"].set_index("bar")
    holes = sorted(set(range(dusdt.index.min(), dusdt.index.max())) - set(dusdt.index))
    filled = dusdt.reindex(holes).assign(symbol="DUSDT", is_filled=True, trades=0)
    filled = filled.fillna({"open": 1.0, "close": 1.0}).rename_axis("bar").reset_index()
    filled = filled.assign(source_file=None, line=None)
    silver = pd.concat([silver, filled], ignore_index=True).assign(**SCOPE)
    silver["open_time"] = pd.to_datetime(silver["bar"] * STEP_US, unit="us", utc=True)
    silver["month"] = silver["open_time"].dt.strftime("%Y-%m")
    silver["high"] = silver[["open", "close"]].max(axis=1)
    silver["low"] = silver[["open", "close"]].min(axis=1)
    for name in ("volume", "quote_volume", "taker_buy_base", "taker_buy_quote"):
        silver[name] = 1.0
    silver = silver.assign(segment=1, warnings=None)
    silver["line"] = silver["line"].astype("Int64")
    listed = frame.groupby("symbol")["bar"].agg(["min", "max", "count"]).reset_index()
    listings = listed.assign(**SCOPE, filled_bars=0, status="trading", bars=listed["count"])
    for column, bar in (("first_open_time", "min"), ("last_open_time", "max")):
        listings[column] = pd.to_datetime(listings[bar] * STEP_US, unit="us", utc=True)
    spark = lake.read_own(CANDLES).sparkSession
    for contract, found in ((CANDLES, silver), (LISTINGS, listings)):
        rows = spark.createDataFrame(as_arrow(contract, found))
        lake.replace(contract, rows, "interval = '15m'")


def with_factors(settings: Settings, folder: Path, **changed: object) -> Settings:
    factors = SETTINGS.model_copy(update=changed)
    warehouse = str(folder / "lake")
    return settings.model_copy(update={"factors": factors, "warehouse": warehouse})
