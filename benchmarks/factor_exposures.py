"""How long the factor model's regressions take, beside the plain ways to do them.

    python benchmarks/factor_exposures.py kernel                 one coin and 100 coins, one core
    python benchmarks/factor_exposures.py real ARCHIVE           7 real coins x a month, in Delta
    python benchmarks/factor_exposures.py synthetic COINSxDAYS … made-up candles, in Delta

`kernel` runs all of them in turns, 5 rounds, and takes medians; polars-ols is left out unless it is
installed. `real` and `synthetic` time the tasks factor_returns and factor_exposures alone, on two
cores, each size in a warehouse of its own and all in one session, after a first small market.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for everyone, BLAS too
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import polars as pl
from memory import PeakMemory
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
    month = made_up(1, 43_200)
    one = returns[0]
    contenders: dict[str, tuple[Callable[[], None], int]] = {
        "plain loop, 1 coin": (lambda: plain_loop(factors[:, :1_940], one[:1_940]), 501),
        "statsmodels, 1 coin": (lambda: by_statsmodels(factors[:, :5_000], one[:5_000]), 3_561),
        "candlelake, 1 coin": (lambda: ours(*month), 41_761),
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
    elementwise, blas = peaks()
    print(f"Gflop/s: numpy elementwise {elementwise:.1f}, BLAS dgemm {blas:.1f}")


def flops(k: int) -> int:
    """Of a shared window: Gram sums, Cholesky factor, condition number."""
    gram = k * (k + 1) // 2 * 6
    cholesky = sum((k - j) * (2 * j + 1) for j in range(k)) + k
    inverse = sum(2 * (i - j) for i in range(k) for j in range(i)) + k * (k + 1)
    return gram + cholesky + inverse + 3 * k + 2


def flops_of_a_coin(k: int) -> int:
    """X'y and y'y sums, two triangular solutions, residual and R²."""
    return 6 * (k + 1) + 2 * k * (k - 1) + 6 * k + 12


def peaks() -> tuple[float, float]:
    """Gflop/s of this core: numpy's elementwise at its best, and BLAS multiplying matrices."""
    ones = [np.ones(n) for n in (2_000, 4_000, 8_000, 16_000)]
    elementwise = max(v.size / best_of(partial(np.multiply, v, v, out=v)) for v in ones)
    a = np.random.default_rng(1).random((1_000, 1_000))
    return elementwise / 1e9, 2 * len(a) ** 3 / best_of(lambda: a @ a) / 1e9


def best_of(run: Callable[[], object]) -> float:
    """Seconds of the quickest of many calls."""
    times = []
    ends = time.perf_counter() + 1
    while time.perf_counter() < ends:
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


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


def end_to_end(settings: Settings, label: str) -> None:
    """Time the model's tasks from silver's candles to gold's exposures; prints a table's row."""
    from gold.factor_contracts import FACTOR_EXPOSURES
    from lakehouse.tables import Lake

    seconds = []
    memory = PeakMemory()
    with spark_session(settings.spark) as spark:
        memory.start()
        for task in (factor_returns, factor_exposures):
            started = time.perf_counter()
            task.run(spark, settings, "benchmark", "")
            seconds.append(time.perf_counter() - started)
        memory.stop()
        rows = Lake(spark, settings.warehouse).read_own(FACTOR_EXPOSURES).count()
    files = Path(settings.warehouse, "gold", "factor_exposures").rglob("*.parquet")
    size = sum(file.stat().st_size for file in files) / 1e6
    took = " | ".join(f"{each:.1f}" for each in (*seconds, sum(seconds)))
    print(f"| {label} | {rows:,} | {took} | {rows / sum(seconds):,.0f} | {memory} | {size:,.0f} |")


def market_settings(folder: str) -> Settings:
    """The sample's settings for February 2026 on two cores, in a warehouse of its own."""
    months = ["factors.start=2026-02", "factors.end=2026-02", f"warehouse={folder}/lake"]
    return load_settings(ROOT / "conf/sample.yaml", [*months, "spark.master=local[2]"])


def real(archive: str) -> None:
    """All minute candles of an archive's February 2026."""
    from bronze.tasks import ingest_archive
    from silver.tasks import clean_candles

    with tempfile.TemporaryDirectory() as folder:
        settings = market_settings(folder)
        loaded = settings.with_candles_of("factors")
        where = loaded.archive.model_copy(update={"url": archive})
        loaded = loaded.model_copy(update={"archive": where})
        with spark_session(settings.spark) as spark:
            for task in (ingest_archive, clean_candles):
                task.run(spark, loaded, "benchmark", "")
        end_to_end(settings, "7 real coins x 28 days")


def synthetic(coins: int, days: int) -> None:
    """A made-up market of this size."""
    with tempfile.TemporaryDirectory() as folder:
        settings = market_settings(folder)
        synthetic_candles(settings, coins, days)
        end_to_end(settings, f"{coins} synthetic coins x {days} days")


def main() -> None:
    """Run one of the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["kernel", "real", "synthetic"])
    parser.add_argument("given", nargs="*")
    asked = parser.parse_args()
    if asked.what == "kernel":
        kernel()
        return
    print(
        "| market | rows | returns, s | exposures, s | both, s | rows/s | memory, MB | files, MB |"
    )
    with spark_session(market_settings("unused").spark):
        synthetic(10, 5)
        for each in asked.given:
            if asked.what == "real":
                real(each)
            else:
                synthetic(*map(int, each.split("x")))


if __name__ == "__main__":
    main()
