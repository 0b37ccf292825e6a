"""The Spark session: made here on a laptop or a cluster, asked for on Connect and Databricks.

Nothing else in Candlelake knows which of them it runs on.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.errors import EnvironmentProblem, in_one_line
from lakehouse.interruption import interrupt
from lakehouse.java import require_java
from lakehouse.packages import resolving_alone
from lakehouse.ports import check_connect_server
from lakehouse.settings import SparkSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# 4.4.0 and not newer: the jar of 4.4.1 is not published for Spark 4.2 yet.
DELTA_RELEASE = "4.4.0"
DELTA_PACKAGE = f"io.delta:delta-spark_4.2_2.13:{DELTA_RELEASE}"
_PACKAGES = "spark.jars.packages"
_CLASS_PATH = "spark.driver.extraClassPath"
_DELTA_BY_PACKAGE = {_PACKAGES: DELTA_PACKAGE}
# What the package brings of Delta itself; the rest of it, Spark has already.
DELTA_JARS = (
    "delta-spark_4.2_2.13",
    "delta-storage",
    "delta-kernel-api",
    "delta-kernel-defaults",
    "delta-kernel-unitycatalog",
)

# Of a session made here; Databricks has its own of these.
_DELTA_CONF = {
    # Other engines read INT64 timestamps; Spark's default is the deprecated INT96.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # A partition's values stand in its path and in Delta's log: no row need repeat them.
    "spark.databricks.delta.properties.defaults.writePartitionColumnsToParquet": "false",
    "spark.log.level": "ERROR",
    # A VACUUM lists folders in so many tasks, however few there are; Spark's default is 10,000.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "32",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}

# What every session must agree on for the rows to be the same everywhere.
_SEMANTIC_CONF = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
}

# A small machine: few partitions, no web server, no progress bars between ours.
_LOCAL_CONF = {
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.catalogImplementation": "in-memory",
    # Tables are external; this keeps Spark from making a folder in the working directory.
    "spark.sql.warehouse.dir": str(Path(tempfile.gettempdir()) / "candlelake-spark-warehouse"),
    # Each written row would be compared with the whole condition once more, text by text: a minute
    # for the thousands of file names of one commit. Rows are made from those very names.
    "spark.databricks.delta.replaceWhere.constraintCheck.enabled": "false",
    # One file stays open for each month written, so rows need no sort before a write.
    "spark.sql.maxConcurrentOutputFileWriters": "64",
}


_LOG = Path(tempfile.gettempdir()) / f"candlelake-spark-{os.getpid()}.log"

# Where Spark keeps the jars of packages that it has resolved.
_IVY_JARS = Path("~/.ivy2.5.2/jars")


# The session that this module made, for the tasks that run within it in any thread.
_current: "SparkSession | None" = None


@contextmanager
def spark_session(settings: SparkSettings) -> Iterator["SparkSession"]:
    """Give a Spark session; one made here is stopped at the end.

    A session that is already active, as on Databricks or inside `candlelake run`, is used as it
    is and left running.

    Raises:
        EnvironmentProblem: pyspark or Java is missing, or the session does not start.
    """
    global _current  # Spark's own notion of an active session is per thread
    try:
        from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        raise EnvironmentProblem(
            "pyspark is not installed: install the wheel with its extra, candlelake[local]"
        ) from error
    if _current is not None:
        activate(_current)
        yield _current
        return
    active = SparkSession.getActiveSession()
    if active is not None or "DATABRICKS_RUNTIME_VERSION" in os.environ:
        session = active or SparkSession.builder.getOrCreate()
        _apply_semantics(session)
        yield session
        return
    _current = _start(settings)
    try:
        yield _current
    finally:
        _current.stop()
        _current = None
        _LOG.unlink(missing_ok=True)


def activate(session: "SparkSession") -> None:
    """Make a session the active one of the calling thread.

    Spark ML on Connect wants it, and so does a write into a table that is named by its folder: from
    a thread without it, Delta says that the table is there already. Spark has no public function
    for this: `inheritable_thread_target` does it in Spark 4.2, and does not in 4.0.
    """
    make_active = getattr(type(session), "_set_default_and_active_session", None)
    if make_active is not None:
        make_active(session)
    else:
        session.createDataFrame([], "n INT")  # a classic session becomes active by this


@contextmanager
def threads(session: "SparkSession", number: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """`number` threads beside the calling one, in which the session is active.

    The end of the block waits for them. Ctrl-C until then takes back what has not begun, and ends
    what waits for another process at that moment.
    """
    with ThreadPoolExecutor(number, name, initializer=activate, initargs=(session,)) as pool:
        try:
            yield pool
            pool.shutdown()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            interrupt()
            raise


def _start(settings: SparkSettings) -> "SparkSession":
    from pyspark.logger import PySparkLogger
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("candlelake")
    conf: dict[str, str] = {}
    if settings.remote:
        _require_server(settings.remote)
        builder = builder.remote(settings.remote)
    else:
        require_java()
        # Executors must run this interpreter, where the wheel is installed.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        given = dict(_DELTA_CONF)
        if settings.master:
            builder = builder.master(settings.master)
            is_local = settings.master.startswith("local")
            given |= {**_LOCAL_CONF, **_delta_jars()} if is_local else _DELTA_BY_PACKAGE
        conf = {**given, **settings.conf}
        # Both name Delta's jars, to which the settings may add others.
        for key, separator in ((_PACKAGES, ","), (_CLASS_PATH, os.pathsep)):
            if key in given and key in settings.conf:
                conf[key] = f"{given[key]}{separator}{settings.conf[key]}"
        for key, value in conf.items():
            builder = builder.config(key, value)
    logging.getLogger("py4j").setLevel(logging.ERROR)
    # Each error is raised; PySpark would log it as JSON beside that.
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(name).disabled = True
    try:
        alone = resolving_alone() if _PACKAGES in conf else nullcontext()
        with alone, _spark_log() as spark_log:
            session = builder.getOrCreate()
    except Exception as error:
        raise EnvironmentProblem(
            f"Spark did not start ({in_one_line(error)}): its log is {spark_log}, and `candlelake "
            "doctor` says what is missing"
        ) from error
    _apply_semantics(session)
    return session


def _require_server(remote: str) -> None:
    """Ask whether a Connect server is there: its client would try again for minutes, in silence."""
    check = check_connect_server(remote)
    if not check.ok:
        raise EnvironmentProblem(f"Spark Connect: {check.found}: {check.remedy}")


def _delta_jars() -> dict[str, str]:
    """Delta's jars from an earlier start where they are there, else by resolving the package.

    Kept jars on the class path save the 5 s that a resolution takes at every start.
    """
    kept = [_IVY_JARS.expanduser() / f"io.delta_{name}-{DELTA_RELEASE}.jar" for name in DELTA_JARS]
    if not all(jar.exists() for jar in kept):
        with resolving_alone():  # until another process, which may be at it, has put them there
            if not all(jar.exists() for jar in kept):
                return _DELTA_BY_PACKAGE
    return {_CLASS_PATH: os.pathsep.join(map(str, kept))}


@contextmanager
def _spark_log() -> Iterator[Path]:
    """Let a JVM that starts in the block write its standard error and output into a file.

    It tells of every package it resolves, of each failed attempt of a task and of what a VACUUM
    found; what matters of that is raised as an error, or asked for.
    """
    sys.stdout.flush()
    own = {stream: os.dup(stream) for stream in (1, 2)}
    with _LOG.open("ab") as file:
        for stream in own:
            os.dup2(file.fileno(), stream)
    try:
        yield _LOG
    finally:
        for stream, terminal in own.items():
            os.dup2(terminal, stream)
            os.close(terminal)


def _apply_semantics(session: "SparkSession") -> None:
    for key, value in _SEMANTIC_CONF.items():
        session.conf.set(key, value)
