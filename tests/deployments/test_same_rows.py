"""One small archive through all tasks on every engine: the same rows, to the last bit."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployments.places import JOBS, LOCAL, place
from tests.servers import RUN_SECONDS, Cluster, connect_server, standalone_cluster
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


def test_the_jobs_make_every_table(local: dict[str, str]) -> None:
    assert len(local) > 25
    assert {"gold.factor_returns", "gold.factor_exposures"} < local.keys()
    # Digests of nothing are the same everywhere.
    assert not [name for name, digest in local.items() if digest.startswith("0 rows")]


def test_spark_submit_on_a_standalone_cluster(
    cluster: Cluster, wheel: Path, local: dict[str, str], tmp_path: Path
) -> None:
    hidden = [str(cluster.python), "-c", "import pyspark, numpy, lakehouse"]
    refused = subprocess.run(
        hidden, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=RUN_SECONDS
    )
    assert "No module named 'lakehouse'" in refused.stderr

    here = place(tmp_path)
    options = here.options({"spark.master": "null"})
    commands = (["ingest_archive"], *(["run", job] for job in JOBS))
    for command in commands:
        done = cluster.submit(wheel, [*command, *options], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert here.digests() == local
    one, other = cluster.apps()
    assert one == other, "each of them had executors of both workers"
    assert len(one) == len(commands)


def test_spark_connect(local: dict[str, str], tmp_path: Path) -> None:
    here = place(tmp_path / "client")
    with connect_server(tmp_path / "server", {"spark.driver.memory": "1g"}) as address:
        here.run({"spark.remote": address})
        assert here.digests() == local
        # Fitted again on the server, a model is that of its record to the last bit.
        for model in ("pca", "kmeans", "gbt"):
            champion = f"models:/candlelake-{model}-um-4h@champion"
            here.call(["reproduce", champion], {"spark.remote": address})
