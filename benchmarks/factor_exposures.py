"""How long the factor model's regressions take, beside the plain ways to do them.

    python benchmarks/factor_exposures.py kernel                 one coin and 100 coins, one core
    python benchmarks/factor_exposures.py real ARCHIVE           7 real coins x a month, in Delta
    python benchmarks/factor_exposures.py synthetic COINS DAYS   made-up candles, in Delta

`kernel` runs all of them in turns, 5 rounds, and takes medians; polars-ols is left out unless it is
installed. `real` and `synthetic` time the tasks factor_returns and factor_exposures alone.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for everyone, BLAS too
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import polars as pl
from statsmodels.regression.rolling import RollingOLS

from gold.returns import FloatArray
from gold.rolling_ridge import rolling_ridge
from gold.tasks import factor_exposures, factor_returns
from lakehouse.session import spark_session
from lakehouse.settings import Settings, load_settings

WINDOW, RIDGE, ROUNDS = 1440, 1e-6, 5
ROOT = Path(__file__).parents[1]


def made_up(coins: int, bars: int) -> tuple[FloatArray, FloatArray]:
    """(10, bars) factors of full rank and (coins, bars) returns; synthetic."""
    rng = np.random.default_rng(42)
    common = rng.normal(0, 1e-3, bars)
    factors = common + rng.normal(0, 5e-4, (10, bars))
    returns = rng.normal(1, 0.3, (coins, 1)) * common + rng.normal(0, 1e-3, (coins, bars))
    return factors, returns


def plain_loop(factors: FloatArray, y: FloatArray) -> None:
    """The formula as it is written, a window at a time."""
    x = np.column_stack([np.ones(y.size), factors.T])
    for end in range(WINDOW, y.size + 1):
        part, of = x[end - WINDOW : end], y[end - WINDOW : end]
        b = np.linalg.inv(part.T @ part + RIDGE * np.eye(11)) @ (part.T @ of)
        residual = of - part @ b
        1 - (residual @ residual) / ((of - of.mean()) ** 2).sum()


def by_statsmodels(factors: FloatArray, y: FloatArray) -> None:
    """RollingOLS with its statistics, in thousandths: in units it finds no full rank."""
    x = np.column_stack([np.ones(y.size), factors.T * 1e3])
    fit = RollingOLS(y * 1e3, x, window=WINDOW).fit()
    _ = fit.params, fit.rsquared, fit.rsquared_adj


def by_polars_ols(factors: FloatArray, y: FloatArray) -> None:
    """Rolling ridge coefficients by the polars plugin."""
    import polars_ols  # noqa: F401 - registers the namespace

    frame = pl.DataFrame({"y": y, **{f"x{i}": row for i, row in enumerate(factors)}})
    names = [pl.col(f"x{i}") for i in range(len(factors))]
    rolled = pl.col("y").least_squares.rolling_ols(  # type: ignore[attr-defined]
        *names, window_size=WINDOW, mode="coefficients", add_intercept=True, alpha=RIDGE
    )
    frame.select(rolled)


def ours(factors: FloatArray, returns: FloatArray) -> None:
    """The kernel: coefficients, R², adjusted R², bars and condition numbers."""
    rolling_ridge(factors, returns, 0, WINDOW, RIDGE)


def kernel() -> None:
    """Print microseconds a coin-window and what that is beside statsmodels."""
    factors, returns = made_up(100, 11_520)
    one = returns[0]
    # As many windows as each does in about a second.
    contenders: dict[str, tuple[Callable[[], None], int]] = {
        "plain loop, 1 coin": (lambda: plain_loop(factors[:, :1_940], one[:1_940]), 501),
        "statsmodels, 1 coin": (lambda: by_statsmodels(factors[:, :5_000], one[:5_000]), 3_561),
        "candlelake, 1 coin": (lambda: ours(factors, returns[:1]), 10_081),
        "candlelake, 100 coins": (lambda: ours(factors, returns), 1_008_100),
    }
    if find_spec("polars_ols"):
        polars: Callable[[], None] = lambda: by_polars_ols(factors, one)  # noqa: E731
        contenders["polars-ols, 1 coin"] = (polars, 10_081)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, (run, windows) in contenders.items():
            # Processor time: the wall clock of a shared machine says what others do.
            started = time.process_time()
            run()
            times[name].append((time.process_time() - started) / windows * 1e6)
    base = statistics.median(times["statsmodels, 1 coin"])
    print("| way | µs a coin-window, median | range | x statsmodels |")
    print("| --- | ---: | ---: | ---: |")
    for name, found in times.items():
        median = statistics.median(found)
        spread = f"{min(found):.3g} to {max(found):.3g}"
        print(f"| {name} | {median:.3g} | {spread} | {base / median:,.1f} |")
    print(f"\nflops a window: {flops(11)}; a coin-window: {flops_of_a_coin(11)}")
    print(f"multiply-add of vectors in the first cache: {peak():.2f} Gflop/s")


def flops(k: int) -> int:
    """Of a shared window: Gram sums, Cholesky factor, condition number."""
    gram = k * (k + 1) // 2 * 5
    cholesky = sum((k - j) * 2 * j + (k - j) + 1 for j in range(k))
    inverse = sum(1 + sum(2 * (k - p - 1) + 2 for p in range(j + 1, k)) for j in range(k))
    return gram + cholesky + inverse + k * (k + 1)


def flops_of_a_coin(k: int) -> int:
    """X'y and y'y sums, two triangular solutions, residual and R²."""
    return 5 * (k + 1) + 2 * k * k + 4 * k + 12


def peak() -> float:
    """What numpy reaches at most on this machine: vectors of 8 kB, over and over."""
    a, b, out = np.ones(1_000), np.ones(1_000), np.ones(1_000)
    started = time.process_time()
    for _ in range(100_000):
        np.multiply(a, b, out=out)
    return 1e8 / (time.process_time() - started) / 1e9


def synthetic_candles(settings: Settings, coins: int, days: int) -> None:
    """Fill silver.candles with made-up minutes; labelled synthetic by their symbols."""
    from pyspark.sql import functions as F

    from lakehouse.tables import Lake
    from silver.contracts import CANDLES, LISTINGS

    with spark_session(settings.spark) as spark:
        lake = Lake(spark, settings.warehouse)
        lake.read_own(CANDLES), lake.read_own(LISTINGS)
        bars = days * 1_440
        start = 20_454 * 86_400  # 2026-01-01
        row = spark.range(bars).crossJoin(
            spark.range(coins).select(F.format_string("SYN%03dUSDT", "id").alias("symbol"))
        )
        time_ = F.timestamp_seconds(F.lit(start) + F.col("id") * 60)
        noise = (F.xxhash64("symbol", "id") % 2_001) / 1e6
        common = (F.xxhash64("id") % 1_001) / 1e6
        scale = 0.5 + F.abs(F.xxhash64("symbol") % 100) / 100
        candles = row.select(
            F.lit("um").alias("market"),
            F.lit("1m").alias("interval"),
            "symbol",
            time_.alias("open_time"),
            F.lit(100.0).alias("open"),
            F.lit(120.0).alias("high"),
            F.lit(80.0).alias("low"),
            (100 * (1 + common * scale + noise)).alias("close"),
            *(
                F.lit(1.0).alias(n)
                for n in ("volume", "quote_volume", "taker_buy_base", "taker_buy_quote")
            ),
            (F.abs(F.xxhash64("symbol") % 90) + F.abs(F.xxhash64("id", "symbol") % 9)).alias(
                "trades"
            ),
            F.lit(False).alias("is_filled"),
            F.lit(1).alias("segment"),
            F.lit(None).cast("array<string>").alias("warnings"),
            F.lit("synthetic").alias("source_file"),
            F.lit(1).cast("bigint").alias("line"),
            F.date_format(time_, "yyyy-MM").alias("month"),
        )
        lake.append(CANDLES, candles)
        listed = (
            lake.read_own(CANDLES)
            .groupBy("market", "interval", "symbol")
            .agg(
                F.min("open_time").alias("first_open_time"),
                F.max("open_time").alias("last_open_time"),
                F.count("*").alias("bars"),
            )
            .withColumns({"filled_bars": F.lit(0).cast("bigint"), "status": F.lit("trading")})
        )
        lake.append(LISTINGS, listed)


def end_to_end(settings: Settings) -> None:
    """Time the model's tasks from silver's candles to gold's exposures."""
    from gold.factor_contracts import FACTOR_EXPOSURES
    from lakehouse.tables import Lake

    with spark_session(settings.spark) as spark:
        for task in (factor_returns, factor_exposures):
            started = time.perf_counter()
            done = task.run(spark, settings, "benchmark", "")
            print(f"{task.name}: {time.perf_counter() - started:.1f} s; {done.message}")
        rows = Lake(spark, settings.warehouse).read_own(FACTOR_EXPOSURES).count()
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"{rows:,} rows; the largest process: {workers:.2f} GB")


def main() -> None:
    """Run one of the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["kernel", "real", "synthetic"])
    parser.add_argument("sizes", nargs="*")
    given = parser.parse_args()
    if given.what == "kernel":
        kernel()
        return
    with tempfile.TemporaryDirectory() as folder:
        months = ["factors.start=2026-02", "factors.end=2026-02", f"warehouse={folder}/lake"]
        settings = load_settings(ROOT / "conf/sample.yaml", [*months, "spark.master=local[2]"])
        if given.what == "real":
            from bronze.tasks import ingest_archive
            from silver.tasks import clean_candles

            archive = {"url": given.sizes[0]}
            settings = settings.with_candles_of("factors")
            settings = settings.model_copy(
                update={"archive": settings.archive.model_copy(update=archive)}
            )
            with spark_session(settings.spark) as spark:
                for task in (ingest_archive, clean_candles):
                    task.run(spark, settings, "benchmark", "")
        else:
            synthetic_candles(settings, *map(int, given.sizes))
        end_to_end(settings)


if __name__ == "__main__":
    main()
