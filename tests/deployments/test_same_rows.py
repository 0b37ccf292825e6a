"""One small archive through all tasks on every engine: the same rows, to the last bit."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.digests import table_digests
from tests.servers import Cluster, connect_server, standalone_cluster

pytestmark = pytest.mark.deployment

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf" / "sample.yaml"
LAYERS = ("bronze", "silver", "gold", "ml")
COINS = ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "LINK")
MONTHS = ("2025-01", "2025-02", "2025-03")

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
    "ml.kmeans": "{clusters: 3, sweep: [2, 3], resamples: 5}",
    "ml.gbt": "{max_iter: 3, max_depth: 3, fold_days: 25, embargo_bars: 5}",
}


@dataclass(frozen=True)
class Place:
    """A working directory with an archive of its own, and so a warehouse."""

    folder: Path

    def options(self, **also: object) -> list[str]:
        """Arguments of a run that differ from those of another place in `also` alone."""
        given = OVERRIDES | {f"spark.{name}": value for name, value in also.items()}
        pairs = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
        return ["--conf", str(CONF), *pairs]

    def run(self, **also: object) -> None:
        """`candlelake run medallion` in a process of its own."""
        program = str(Path(sys.executable).with_name("candlelake"))
        done = subprocess.run(
            [program, "run", "medallion", *self.options(**also)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def digests(self) -> dict[str, str]:
        """Table -> digest."""
        return table_digests(self.folder / "lake", LAYERS)


def place(folder: Path) -> Place:
    for coin in COINS:
        for month in MONTHS:
            samples = ROOT / "samples" / "data/futures/um/monthly/klines" / f"{coin}USDT" / "4h"
            for file in samples.glob(f"*-{month}.zip*"):
                to = folder / "archive" / file.relative_to(ROOT / "samples")
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, to)
    return Place(folder)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Table -> digest of a run on this machine alone."""
    here = place(tmp_path_factory.mktemp("local"))
    here.run(master="local[2]", conf="{spark.driver.memory: 1g}")
    return here.digests()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standalone_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel under the name by which executors import it."""
    out = tmp_path_factory.mktemp("wheel")
    build = ["build", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable]
    command = [sys.executable, "-m", "uv", *build, "--quiet", "--out-dir", str(out), str(ROOT)]
    subprocess.run(command, check=True)
    (built,) = out.glob("*.whl")
    return built.rename(built.with_suffix(".zip"))


def test_a_run_makes_every_table_of_the_medallion(local: dict[str, str]) -> None:
    empty = {name for name, digest in local.items() if digest.startswith("0 rows")}
    assert len(local) > 20
    assert empty <= {"bronze.rejected_lines", "silver.rejected_candles", "silver.gaps"}


def test_spark_submit_on_a_standalone_cluster(
    cluster: Cluster, wheel: Path, local: dict[str, str], tmp_path: Path
) -> None:
    hidden = [str(cluster.python), "-c", "import pyspark, numpy, lakehouse"]
    refused = subprocess.run(hidden, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "No module named 'lakehouse'" in refused.stderr

    here = place(tmp_path)
    options = here.options(master="null")
    for arguments in (["ingest_archive", *options], ["run", "medallion", *options]):
        done = cluster.submit(wheel, arguments, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert here.digests() == local
    # Both workers had an executor for each of the two.
    assert len(list((cluster.folder / "work").glob("app-*/*/stderr"))) == 4


def test_spark_connect(local: dict[str, str], tmp_path: Path) -> None:
    here = place(tmp_path / "client")
    with connect_server(tmp_path / "server", {"spark.driver.memory": "1g"}) as address:
        here.run(remote=address)
    assert here.digests() == local
