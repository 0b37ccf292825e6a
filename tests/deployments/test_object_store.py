"""The archive and the tables in an S3-compatible store: the same rows as on this machine's disk.

By hand, `pytest -m object_store tests/deployments`: it downloads a server and 700 MB of jars.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from tests.deployments.places import LOCAL, place
from tests.digests import table_digests
from tests.servers import HOST, free_port, server

pytestmark = pytest.mark.object_store

KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
}
# As docs/object-storage.md has them.
PACKAGE = "org.apache.hadoop:hadoop-aws:3.5.0"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fs.FileSystem]:
    """A server with the buckets `archive` and `lake`."""
    port = free_port()
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "tool", "run", "--from", "moto[server]", "moto_server"]
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": f"http://{HOST}:{port}"}.items():
        monkeypatch.setenv(name, value)
    with server([*command, "-H", HOST, "-p", port], tmp_path / "server", "s3", port):
        options = f"endpoint_override={HOST}:{port}&scheme=http&allow_bucket_creation=true"
        filesystem, _ = fs.FileSystem.from_uri(f"s3://archive?{options}")
        for bucket in ("archive", "lake"):
            filesystem.create_dir(bucket)
        yield filesystem


def test_archive_and_tables_in_an_object_store(store: fs.FileSystem, tmp_path: Path) -> None:
    local, there = place(tmp_path / "local"), place(tmp_path / "there")
    medallion = ["run", "medallion"]
    local.call(medallion, LOCAL)
    fs.copy_files(str(there.folder / "archive"), "archive/mirror", destination_filesystem=store)
    also = {
        "warehouse": "s3a://lake/tables",
        "archive.url": "s3a://archive/mirror",
        "spark.conf.spark.jars.packages": PACKAGE,
        "spark.conf.spark.hadoop.fs.s3a.path.style.access": "true",
    }
    there.call(medallion, {**LOCAL, **also})
    assert not (there.folder / "lake").exists()
    # Its digest is taken of a copy on this machine.
    fs.copy_files("lake/tables", str(tmp_path / "copy"), source_filesystem=store)
    layers = ("bronze", "silver", "gold", "ml")
    assert table_digests(tmp_path / "copy", layers) == local.digests()
