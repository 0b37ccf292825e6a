"""Time and memory of the monthly index on a made-up market of any size.

    .venv/bin/python benchmarks/monthly_index.py --symbols 2000 --years 5

The candles are SYNTHETIC: seeded random walks with a common factor, some listed late, some ended.
Only the task `smart_index` is timed. Linux only: peaks of memory are read from /proc.
"""

import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
from memory import PeakMemory
from synthetic import store

from gold.tasks import smart_index
from lakehouse.session import spark_session
from lakehouse.settings import load_settings
from lakehouse.tables import Lake

ROOT = Path(__file__).parent.parent
START = 1_577_836_800_000_000  # 2020-01-01 UTC, microseconds
BAR = 4 * 3_600_000_000
SEED = 42


def symbols_name(number: int) -> str:
    """Name of a symbol; the first is Bitcoin's."""
    return "BTCUSDT" if number == 0 else f"SYN{number:04d}USDT"


def life(number: int, bars: int) -> tuple[int, int]:
    """First and last bar of a symbol: a third comes late, a tenth ends early."""
    lots = np.random.default_rng([SEED, number]).random(4)
    first = int(lots[0] * bars * 0.8) if number and lots[1] < 1 / 3 else 0
    last = bars - 1 if number == 0 or lots[2] > 0.1 else first + int(lots[3] * (bars - first - 1))
    return first, last


def candles_of(number: int, common: np.ndarray) -> pa.Table:
    """Columns of silver.candles that differ from row to row, of one symbol."""
    first, last = life(number, common.size)
    size = last - first + 1
    rng = np.random.default_rng([SEED, 1, number])
    own = rng.normal(0, 0.012, size)
    close = 100 * np.exp(np.cumsum((0.3 + rng.random()) * common[first : last + 1] + own))
    opens = np.concatenate([[100.0], close[:-1]])
    return pa.table(
        {
            "symbol": pa.repeat(symbols_name(number), size),
            "open_us": START + BAR * np.arange(first, last + 1),
            "open": opens,
            "high": np.maximum(opens, close),
            "low": np.minimum(opens, close),
            "close": close,
            "quote_volume": np.exp(rng.normal(16 + rng.normal(), 0.5, size)),
        }
    )


@click.command()
@click.option("--symbols", default=2000, show_default=True)
@click.option("--years", default=5, show_default=True)
def main(symbols: int, years: int) -> None:
    """Make the market, run the task, print."""
    place = Path(tempfile.mkdtemp())
    overrides = [f"warehouse={place}/lake", "index.mode=monthly"]
    settings = load_settings(ROOT / "conf" / "sample.yaml", overrides)
    with spark_session(settings.spark) as spark:
        lake = Lake(spark, settings.warehouse)
        rows = write_market(spark, lake, symbols, years * 365 * 6)
        memory = PeakMemory()
        memory.start()
        started = time.monotonic()
        done = smart_index.run(spark, settings, "benchmark", "benchmark")
        seconds = time.monotonic() - started
        memory.stop()
    print(f"{rows:,} candles of {symbols:,} synthetic symbols, {years} years of 4h")
    print(f"{done.message}")
    print(f"{seconds:.0f} s; most memory at once, MB: {memory}")
    shutil.rmtree(place)


def write_market(spark, lake: Lake, symbols: int, bars: int) -> int:  # noqa: ANN001  # Spark's type is imported late
    """Write silver.candles and silver.listings; returns the number of candles."""
    common = np.random.default_rng(SEED).normal(0, 0.008, bars)

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                yield from candles_of(number, common).to_batches()

    ddl = (
        "symbol string, open_us bigint, open double, high double, low double, close double, "
        "quote_volume double"
    )
    made = spark.range(0, symbols, 1, 8).mapInArrow(make, ddl)
    lives = [life(number, bars) for number in range(symbols)]
    table = pa.table(
        {
            "symbol": [symbols_name(number) for number in range(symbols)],
            "first": [START + BAR * first for first, _ in lives],
            "last": [START + BAR * last for _, last in lives],
            "bars": [last - first + 1 for first, last in lives],
        }
    )
    store(lake, made, spark.createDataFrame(table), "4h")
    return sum(last - first + 1 for first, last in lives)


if __name__ == "__main__":
    main()
