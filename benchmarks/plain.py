"""The peer of the medallion benchmark: the same arithmetic with polars and numpy alone.

No verification, no tables, no provenance: ZIPs to candles in memory, then metrics, correlations
and the static index. What it takes is the floor under what the tables cost.
"""

import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import polars as pl

COLUMNS = {
    "open_time": pl.Int64,
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
    "close_time": pl.Int64,
    "quote_volume": pl.Float64,
    "trades": pl.Int64,
    "taker_buy_base": pl.Float64,
    "taker_buy_quote": pl.Float64,
    "ignore": pl.Float64,
}
BARS_PER_YEAR = 2190
THRESHOLD, TOP_N, MIN_RETURNS = 0.85, 20, 50


def candles(root: Path) -> pl.DataFrame:
    """All 4h perpetuals of the archive."""
    frames = []
    for path in sorted(root.glob("data/futures/um/monthly/klines/*/4h/*.zip")):
        with zipfile.ZipFile(path) as archive:
            body = archive.read(archive.namelist()[0])
        frame = pl.read_csv(
            body, new_columns=list(COLUMNS), schema_overrides=list(COLUMNS.values())
        )
        frames.append(frame.with_columns(symbol=pl.lit(path.parts[-3])))
    return pl.concat(frames).sort("symbol", "open_time")


def static_index(bars: pl.DataFrame) -> list[str]:
    """Members of the static index."""
    returns = bars.select(
        "symbol", "open_time", r=pl.col("close").log().diff().over("symbol")
    ).drop_nulls()
    metrics = (
        returns.group_by("symbol")
        .agg(n=pl.len(), mean=pl.col("r").mean(), std=pl.col("r").std())
        .with_columns(sharpe=pl.col("mean") / pl.col("std") * BARS_PER_YEAR**0.5)
        .sort("symbol")
    )
    matrix = returns.pivot("symbol", index="open_time", values="r").fill_null(0.0)
    rho = np.corrcoef(matrix.select(metrics["symbol"].to_list()).to_numpy().T)
    sharpe = metrics["sharpe"].to_numpy()
    out = metrics["n"].to_numpy() <= MIN_RETURNS
    for first, second in zip(*np.nonzero(np.triu(np.abs(rho) > THRESHOLD, 1)), strict=True):
        if not out[first] and not out[second]:
            out[first if sharpe[first] < sharpe[second] else second] = True
    ranked = [i for i in np.argsort(-sharpe, kind="stable") if not out[i]]
    return [metrics["symbol"][int(i)] for i in ranked[:TOP_N]]


if __name__ == "__main__":
    started = time.monotonic()
    bars = candles(Path(sys.argv[1]))
    loaded = time.monotonic()
    members = static_index(bars)
    done = time.monotonic()
    print(f"{bars.height:,} candles in {loaded - started:.1f} s, index in {done - loaded:.1f} s")
    print(" ".join(members))
