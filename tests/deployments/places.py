"""A working directory with a small archive of real candles, and runs of the jobs in it."""

import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from tests.digests import table_digests
from tests.servers import RUN_SECONDS
from tests.support import as_csv, candle, month_of_candles, put_file

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf" / "sample.yaml"
LAYERS = ("bronze", "silver", "gold", "ml")
COINS = ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "LINK")
MONTHS = ("2025-01", "2025-02", "2025-03")
DAYS = ("2026-02-01", "2026-02-02", "2026-02-03")
"""Of minute candles, for the factor model."""
DIRTY = "DIRTYUSDT"
"""Made up: a bad line and a bad row in the first month, no file of the second."""
JOBS = ("medallion", "factor_model")

LOCAL = {"spark.master": "local[2]", "spark.conf": "{spark.driver.memory: 1g}"}
"""A run on this machine alone."""

# A small archive has few symbols, bars and folds.
OVERRIDES = {
    "archive.url": "archive",
    "archive.start": MONTHS[0],
    "archive.end": MONTHS[-1],
    "index.lookback_days": 30,
    "index.enter_volume": 0.0,
    "index.stay_volume": 0.0,
    "index.top_n": 5,
    "index.random_portfolios": 20,
    "ml.pca": "{components: 3, lookback_days: 30}",
    "ml.kmeans": "{clusters: 3, sweep: [3], resamples: 2}",
    "ml.gbt": "{max_iter: 3, max_depth: 3, fold_days: 40, embargo_bars: 5}",
}


@dataclass(frozen=True)
class Place:
    """A working directory with an archive of its own, and so a warehouse."""

    folder: Path

    def options(self, also: Mapping[str, object]) -> list[str]:
        """Arguments of a run that differ from those of another place in `also` alone."""
        given = {**OVERRIDES, **also}
        pairs = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
        return ["--conf", str(CONF), *pairs]

    def run(self, also: Mapping[str, object]) -> None:
        """All jobs, each in a process of its own."""
        for job in JOBS:
            self.call(["run", job], also)

    def call(self, command: Iterable[str], also: Mapping[str, object]) -> None:
        """`candlelake` in a process of its own."""
        program = str(Path(sys.executable).with_name("candlelake"))
        done = subprocess.run(
            [program, *command, *self.options(also)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def digests(self) -> dict[str, str]:
        """Table -> digest."""
        return table_digests(self.folder / "lake", LAYERS)


def place(folder: Path) -> Place:
    """A new one."""
    klines = ROOT / "samples" / "data/futures/um"
    months = [
        klines.glob(f"monthly/klines/{coin}USDT/4h/*-{month}.zip*")
        for coin in COINS
        for month in MONTHS
    ]
    days = [klines.glob(f"daily/klines/*/1m/*-{day}.zip*") for day in DAYS]
    for file in chain(*months, *days):
        to = folder / "archive" / file.relative_to(ROOT / "samples")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, to)
    _publish_dirty_candles(folder / "archive")
    return Place(folder)


def _publish_dirty_candles(archive: Path) -> None:
    """Give every table that keeps what is wrong something to keep; samples/ has nothing wrong."""
    first, _, last = MONTHS
    lines = month_of_candles(first)
    high_below_low = candle(
        datetime.fromisoformat(f"{first}-02").replace(tzinfo=UTC), 4, 100.0, high=98.0
    )
    put_file(archive, DIRTY, first, as_csv([*lines[:6], high_below_low, *lines[7:]]) + b"1,2,3\n")
    put_file(archive, DIRTY, last, as_csv(month_of_candles(last)))
