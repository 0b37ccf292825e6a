"""One small archive through all tasks on every engine: the same rows, to the last bit."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployments.places import LOCAL, place
from tests.servers import Cluster, connect_server, standalone_cluster
from tests.wheels import build_wheel

pytestmark = pytest.mark.deployment


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Table -> digest of a run on this machine alone."""
    here = place(tmp_path_factory.mktemp("local"))
    here.run(LOCAL)
    return here.digests()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standalone_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel under the name by which executors import it."""
    built = build_wheel(tmp_path_factory.mktemp("wheel"))
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
    options = here.options({"spark.master": "null"})
    for arguments in (["ingest_archive", *options], ["run", "medallion", *options]):
        done = cluster.submit(wheel, arguments, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert here.digests() == local
    # Both workers had an executor for each of the two.
    assert len(list((cluster.folder / "work").glob("app-*/*/stderr"))) == 4


def test_spark_connect(local: dict[str, str], tmp_path: Path) -> None:
    here = place(tmp_path / "client")
    with connect_server(tmp_path / "server", {"spark.driver.memory": "1g"}) as address:
        here.run({"spark.remote": address})
    assert here.digests() == local
