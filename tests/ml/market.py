"""A small made-up market, and what it gives when computed with pandas alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gold.contracts import ASSET_METRICS
from lakehouse.contracts import TableContract
from silver.contracts import CANDLES, LISTINGS
from tests.pipelines import as_arrow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

START = pd.Timestamp("2024-10-01", tz="UTC")
BAR = pd.Timedelta(hours=4)
BARS = 360
END = START + BAR * BARS
SYMBOLS = [f"{letter}USDT" for letter in "ABCDEFGH"]
LATE, BROKEN = "CUSDT", "EUSDT"
AS_OF = datetime(2025, 1, 1, tzinfo=UTC)


def closes(seed: int = 7, bars: int = BARS) -> pd.DataFrame:
    """symbol, open_time, close and segment; one symbol starts late, one has a hole of 40 bars."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 0.01, bars)
    frames = []
    for place, symbol in enumerate(SYMBOLS):
        returns = common * (0.5 + place / 4) + rng.normal(0, 0.01, bars)
        frame = pd.DataFrame(
            {
                "symbol": symbol,
                "open_time": START + BAR * np.arange(bars),
                "close": 100 * np.exp(np.cumsum(returns)),
                "segment": 1,
            }
        )
        if symbol == LATE:
            frame = frame.iloc[100:]
        if symbol == BROKEN:
            frame.loc[200:, "segment"] = 2
            frame = frame.drop(index=range(160, 200))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def log_returns(candles: pd.DataFrame) -> pd.Series:
    """Log return of each row of `closes`."""
    before = candles.groupby(["symbol", "segment"])["close"].shift()
    return pd.Series(np.log(candles["close"] / before))


def returns_matrix(candles: pd.DataFrame) -> np.ndarray:
    """Bars at which any symbol has a return x symbols, a missing return being 0."""
    wide = candles.assign(r=log_returns(candles)).pivot(
        index="open_time", columns="symbol", values="r"
    )
    return wide.dropna(how="all").fillna(0.0).to_numpy()


def features(candles: pd.DataFrame) -> pd.DataFrame:
    """The features and the target of `closes`, with its columns before them."""

    def of_segment(bars: pd.DataFrame) -> pd.DataFrame:
        r = np.log(bars["close"] / bars["close"].shift())
        means = [bars["close"].rolling(window).mean() for window in (7, 30)]
        return bars.assign(
            ret_lag1=r,
            ret_lag2=r.shift(1),
            ret_lag3=r.shift(2),
            ma_ratio=means[0] / means[1],
            volatility_7=r.rolling(7).std(),
            target=r.shift(-1),
        )

    parts = [of_segment(bars) for _, bars in candles.groupby(["symbol", "segment"])]
    return pd.concat(parts).sort_values(["symbol", "open_time"], ignore_index=True)


def metrics() -> pd.DataFrame:
    """Rows of gold.asset_metrics in three groups far apart, and one symbol without a Sharpe."""
    rng = np.random.default_rng(3)
    rows = []
    for group, (annual_return, volatility) in enumerate([(2.0, 0.8), (-1.0, 2.0), (0.2, 0.3)]):
        for member in range(4):
            shift = rng.normal(0, 0.02, 2)
            rows.append(
                (f"{'MZA'[group]}{member}USDT", annual_return + shift[0], volatility + shift[1])
            )
    frame = pd.DataFrame(rows, columns=["symbol", "annual_return", "annual_volatility"])
    frame["sharpe"] = frame["annual_return"] / frame["annual_volatility"]
    frame.loc[len(frame)] = ["NEWUSDT", np.nan, np.nan, np.nan]
    return frame.sort_values("symbol", ignore_index=True)


def candle_rows(spark: SparkSession, candles: pd.DataFrame) -> DataFrame:
    """Rows of silver.candles with these closes."""
    filled = candles.assign(
        market="um",
        interval="4h",
        **dict.fromkeys(("open", "high", "low"), candles["close"]),
        **dict.fromkeys(("volume", "quote_volume", "taker_buy_base", "taker_buy_quote"), 1.0),
        trades=1,
        is_filled=False,
        warnings=None,
        source_file="data/made-up.zip",
        line=1,
        month=candles["open_time"].dt.strftime("%Y-%m"),
    )
    return _frame(spark, CANDLES, filled)


def listing_rows(spark: SparkSession, candles: pd.DataFrame) -> DataFrame:
    """Rows of silver.listings of these candles."""
    opens = candles.groupby("symbol")["open_time"]
    listed = pd.DataFrame({"first_open_time": opens.min(), "last_open_time": opens.max()})
    filled = listed.reset_index().assign(
        market="um", interval="4h", bars=opens.size().to_numpy(), filled_bars=0, status="trading"
    )
    return _frame(spark, LISTINGS, filled)


def metric_rows(spark: SparkSession, measured: pd.DataFrame, as_of: datetime = AS_OF) -> DataFrame:
    """Rows of gold.asset_metrics with these measures."""
    filled = measured.assign(
        market="um",
        interval="4h",
        as_of=as_of,
        lookback_days=None,
        bars=100,
        returns=99,
        max_drawdown=-0.5,
        median_daily_quote_volume=1.0,
        run_id="run-0",
    )
    return _frame(spark, ASSET_METRICS, filled)


def _frame(spark: SparkSession, contract: TableContract, rows: pd.DataFrame) -> DataFrame:
    return spark.createDataFrame(as_arrow(contract, rows))
