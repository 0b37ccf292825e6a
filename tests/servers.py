"""Spark's own servers as separate processes on 127.0.0.1, from the pip-installed Spark."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lakehouse.packages import resolving_alone
from lakehouse.session import DELTA_PACKAGE

ROOT = Path(__file__).parents[1]
SPARK_HOME = Path(sysconfig.get_path("purelib"), "pyspark")
HOST = "127.0.0.1"
DEADLINE_SECONDS = 600  # on a slow machine that downloads the packages first
POLL_SECONDS = 0.05
RUN_SECONDS = 1800  # of a whole job on a slow machine; one that hangs must end some day

# As docs/connect.md has them.
CONNECT_CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.databricks.delta.properties.defaults.writePartitionColumnsToParquet": "false",
}
# Of a small machine.
SMALL_CONF = {
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "32",
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
}


@dataclass(frozen=True)
class Cluster:
    """A standalone cluster.

    Attributes:
        master: Its address.
        python: Interpreter of its drivers and executors.
        folder: Where its logs and its workers' files lie.
    """

    master: str
    python: Path
    folder: Path

    def submit(
        self, wheel: Path, arguments: Sequence[str], cwd: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run `launch.py` by spark-submit, as docs/spark-submit.md has it, and wait for its end."""
        # In a folder of its own: Python looks for modules beside the script first.
        script = shutil.copy2(ROOT / "deploy" / "launch.py", self.folder)
        command = [SPARK_HOME / "bin" / "spark-submit", "--master", self.master]
        command += ["--packages", DELTA_PACKAGE, "--py-files", wheel]
        memory = {"spark.driver.memory": "1g", "spark.executor.memory": "1g"}
        command += _as_options(SMALL_CONF | memory)
        return subprocess.run(
            [str(part) for part in [*command, script, *arguments]],
            cwd=cwd,
            env=_environment(self.python),
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_SECONDS,
        )

    def apps(self) -> list[set[str]]:
        """Of each worker, the applications that it had an executor for."""
        return [{app.name for app in each.glob("app-*")} for each in self.folder.glob("work-*")]


@contextmanager
def standalone_cluster(folder: Path) -> Iterator[Cluster]:
    """A master and two workers, whose Python has the pinned packages and no Candlelake."""
    python = _python_without_candlelake(folder / "python")
    port = free_port()
    master = f"spark://{HOST}:{port}"
    with ExitStack() as running:

        def start(name: str, port: int, kind: str, *options: object) -> None:
            web = free_port()
            command = [SPARK_HOME / "bin" / "spark-class", f"org.apache.spark.deploy.{kind}"]
            command += ["--host", HOST, "--port", port, "--webui-port", web, *options]
            running.enter_context(server(command, folder, name, port, python))

        start("master", port, "master.Master")
        for number in (1, 2):
            share = ("--cores", 1, "--memory", "1g", "--work-dir", folder / f"work-{number}")
            start(f"worker-{number}", free_port(), "worker.Worker", *share, master)
        yield Cluster(master, python, folder)


@contextmanager
def connect_server(folder: Path, conf: Mapping[str, str]) -> Iterator[str]:
    """A Spark Connect server; gives its address.

    Args:
        folder: Its working directory, for its log and Spark's own warehouse.
        conf: Its configuration beside that of Delta.
    """
    port = free_port()
    given = {
        **CONNECT_CONF,
        **SMALL_CONF,
        "spark.sql.warehouse.dir": str(folder / "spark-warehouse"),
        "spark.connect.grpc.binding.address": HOST,
        "spark.connect.grpc.binding.port": str(port),
        **conf,
    }
    command = [SPARK_HOME / "bin" / "spark-submit", "--master", "local[2]"]
    command += ["--packages", DELTA_PACKAGE, *_as_options(given), "--class"]
    command += ["org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"]
    with ExitStack() as running:
        with resolving_alone():
            running.enter_context(server(command, folder, "connect", port))
        yield f"sc://{HOST}:{port}"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


@contextmanager
def server(
    command: Sequence[object],
    folder: Path,
    name: str,
    port: int,
    python: Path = Path(sys.executable),
) -> Iterator[None]:
    """Start a server, wait until it listens, and stop it with all its children at the end.

    Args:
        command: Program and arguments.
        folder: Its working directory, and that of its log.
        name: Of the log.
        port: Of 127.0.0.1, that it will listen on.
        python: Interpreter of Spark's own workers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=_environment(python),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(POLL_SECONDS)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex((HOST, port)) == 0


def _environment(python: Path) -> dict[str, str]:
    """Of a process whose Python is another than this one's."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {
        **own,
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_LOCAL_IP": HOST,
        "PYSPARK_PYTHON": str(python),
    }


def _python_without_candlelake(folder: Path) -> Path:
    """An environment with every package of this one but Candlelake; gives its interpreter."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "candlelake" not in path.name:
            (packages / path.name).symlink_to(path)
    return folder / "bin" / "python"


def _as_options(conf: Mapping[str, str]) -> list[str]:
    return [part for key, value in conf.items() for part in ("--conf", f"{key}={value}")]
