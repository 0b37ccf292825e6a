"""What a machine must have, checked without starting Spark: `candlelake doctor`.

Each check looks at one thing and returns a `Check`; none raises and none leaves a file behind.
"""

import os
import shutil
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from lakehouse.checks import Check, checked
from lakehouse.java import NEEDED, find_java, how_to_get_java
from lakehouse.places import sqlite_file
from lakehouse.ports import (
    check_connect_server,
    check_host_name,
    check_loopback,
    check_mlflow_port,
)
from lakehouse.session import DELTA_JARS, DELTA_RELEASE
from lakehouse.settings import ArchiveSettings, Settings, SparkSettings, Study

MINIMUM_PYTHON = (3, 11)
MINIMUM_DISK_GB = 2
MINIMUM_MEMORY_GB = 4

# Where Spark 4.2 keeps what `spark.jars.packages` names, and where it gets it from.
IVY_FOLDER = "~/.ivy2.5.2"
MAVEN_REPOSITORY = "https://repo1.maven.org/maven2"

_GB = 10**9
_TIMEOUT_SECONDS = 10


def run_checks(settings: Settings) -> list[Check]:
    """All checks that concern these settings, in the order in which to mend them."""
    spark = settings.spark
    checks = [check_python(sys.version_info[:3])]
    if spark.remote is None:  # otherwise the Connect server has the Java
        checks.append(check_java())
    packages = local_requirements()
    if spark.remote is not None:  # nor does a client need Delta's: its server has the jar
        packages = [package for package in packages if package.name != "delta-spark"]
    checks += [check_package(package) for package in packages]
    if spark.remote is not None:  # a session of this machine's own does without
        checks += [check_extras(package) for package in packages if package.extras]
    if spark.remote is None and spark.master is not None:  # otherwise the cluster brings the jar
        ivy = Path(spark.conf.get("spark.jars.ivy", IVY_FOLDER))
        checks.append(check_delta_jars(ivy, MAVEN_REPOSITORY))
    checks += [
        check_memory(memory_bytes(), spark.heap_bytes),
        check_disk(settings.warehouse),
        check_warehouse(settings.warehouse),
    ]
    if spark.remote is not None:
        checks.append(check_connect_server(spark.remote))
    elif spark.master is not None:
        checks += [check_scratch(spark), check_loopback(), check_host_name(socket.gethostname())]
    checks.append(check_mlflow_store(settings.mlflow.tracking_uri))
    if settings.mlflow.tracking_uri.startswith(("sqlite:", "file:")):  # else a server shows it
        checks.append(check_mlflow_port())
    checks.append(check_folder("report", settings.report.folder, "report.folder"))
    if settings.archive.is_http:
        checks.append(check_folder("landing", settings.archive.landing, "archive.landing"))
    return [*checks, check_archive(settings.archive)]


def check_python(release: Sequence[int]) -> Check:
    """Whether this Python is new enough."""
    return checked(
        "Python",
        tuple(release) >= MINIMUM_PYTHON,
        ".".join(map(str, release)),
        f"install Python {'.'.join(map(str, MINIMUM_PYTHON))} or newer",
    )


def check_java() -> Check:
    """Whether Spark finds a Java that it runs on."""
    java = find_java()
    return checked("Java", java.supported, java.found, f"get Java {NEEDED}: {how_to_get_java()}")


def local_requirements() -> list[Requirement]:
    """What the extra `local` adds to the wheel: pyspark, delta-spark and mlflow, as pinned."""
    try:
        texts = requires("candlelake") or []
    except PackageNotFoundError:
        return [Requirement("candlelake[local]")]
    wanted = [Requirement(text) for text in texts]
    return [r for r in wanted if r.marker is not None and r.marker.evaluate({"extra": "local"})]


def check_package(requirement: Requirement) -> Check:
    """Whether a package is installed in a version that the requirement allows."""
    found = _installed(requirement)
    if found is None:
        return Check(requirement.name, False, "not installed", _pip(requirement))
    return checked(
        requirement.name, requirement.specifier.contains(found), found, _pip(requirement)
    )


def check_extras(requirement: Requirement) -> Check:
    """Whether the packages of an installed one's extras are there too: `connect` of pyspark."""
    name = f"{requirement.name}{_extras(requirement)}"
    try:
        texts = requires(requirement.name) or []
    except PackageNotFoundError:
        return Check(name, False, "not installed", _pip(requirement))
    added = [
        each
        for each in map(Requirement, texts)
        if each.marker is not None
        and any(each.marker.evaluate({"extra": extra}) for extra in requirement.extras)
    ]
    lacking = [
        f"{each.name}{each.specifier}"
        for each in added
        if (found := _installed(each)) is None or not each.specifier.contains(found)
    ]
    told = f"without {', '.join(lacking)}" if lacking else ", ".join(each.name for each in added)
    return checked(name, not lacking, told, _pip(requirement))


def _installed(requirement: Requirement) -> str | None:
    try:
        return version(requirement.name)
    except PackageNotFoundError:
        return None


def _extras(requirement: Requirement) -> str:
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""


def _pip(requirement: Requirement) -> str:
    return f"pip install '{requirement.name}{_extras(requirement)}{requirement.specifier}'"


def check_delta_jars(ivy: Path, repository: str) -> Check:
    """Whether Spark has all of Delta's jars already, or can fetch those that it lacks.

    Args:
        ivy: Spark's folder for packages; `~` is expanded.
        repository: Address of the Maven repository.
    """
    jars = ivy.expanduser() / "jars"
    lacking = [
        name for name in DELTA_JARS if not (jars / f"io.delta_{name}-{DELTA_RELEASE}.jar").is_file()
    ]
    if not lacking:
        return Check("Delta's jars", True, f"{DELTA_RELEASE}, in {jars}")
    return checked(
        "Delta's jars",
        all(
            _answers(f"{repository}/io/delta/{name}/{DELTA_RELEASE}/{name}-{DELTA_RELEASE}.jar")
            for name in lacking
        ),
        f"not all in {jars}, to be fetched from {repository}: {', '.join(lacking)}",
        f"run once where {repository} can be reached, or copy {jars} from such a machine",
    )


def memory_bytes(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Memory that this process may use: the machine's, or its container's limit if lower."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(total, int(limit.read_text()))
    except (OSError, ValueError):  # not Linux, or `max`: no limit
        return total


def check_memory(size: int, heap: int = 0) -> Check:
    """Whether there is enough memory for Spark's driver, of a heap, and Python beside it."""
    if heap >= size:
        return checked(
            "memory",
            False,
            f"{_gigabytes(size)}, of which Spark may take {_gigabytes(heap)}",
            "set `spark.conf.spark.driver.memory` to less than this machine or container has",
        )
    return checked(
        "memory",
        size >= MINIMUM_MEMORY_GB * _GB,
        _gigabytes(size),
        f"give this machine or container {MINIMUM_MEMORY_GB} GB",
    )


def check_disk(warehouse: str) -> Check:
    """Whether the disk below the warehouse has room."""
    folder = _local(warehouse)
    if folder is None:
        return Check("disk space", True, f"{warehouse} is not on this machine")
    there = _nearest(folder)
    free = shutil.disk_usage(there).free
    return checked(
        "disk space",
        free >= MINIMUM_DISK_GB * _GB,
        f"{_gigabytes(free)} free at {there.resolve()}",
        f"free {MINIMUM_DISK_GB} GB there, or set `warehouse` to a larger disk",
    )


def check_warehouse(warehouse: str) -> Check:
    """Whether tables can be written into the warehouse, or the warehouse be made."""
    return check_folder("warehouse", warehouse, "warehouse")


def check_folder(name: str, place: str, key: str) -> Check:
    """Whether files can be written into the folder that a setting names, or it be made."""
    folder = _local(place)
    if folder is None:
        return Check(name, True, f"{place} is not on this machine")
    ok = _writable(folder)
    found = f"{folder} is writable" if ok else f"{folder} cannot be written"
    return checked(name, ok, found, f"set `{key}` to a folder that you may write")


def check_scratch(spark: SparkSettings) -> Check:
    """Whether Spark can spill to where it sorts and shuffles what memory does not hold."""
    given = os.environ.get("SPARK_LOCAL_DIRS") or spark.conf.get("spark.local.dir")
    folders = [Path(text) for text in (given or tempfile.gettempdir()).split(",")]
    free = min(shutil.disk_usage(_nearest(folder)).free for folder in folders)
    wrong = [str(folder) for folder in folders if not _writable(folder)]
    named = ", ".join(map(str, folders))
    found = (
        f"{', '.join(wrong)} cannot be written" if wrong else f"{_gigabytes(free)} free at {named}"
    )
    return checked(
        "Spark's scratch folder",
        not wrong and free >= MINIMUM_DISK_GB * _GB,
        found,
        f"export SPARK_LOCAL_DIRS=FOLDER that you may write, with {MINIMUM_DISK_GB} GB free",
    )


def check_mlflow_store(tracking_uri: str) -> Check:
    """Whether MLflow's store can be written; one on a server is not looked at."""
    path = sqlite_file(tracking_uri) or _local(tracking_uri)
    if path is None or tracking_uri == "databricks":
        return Check("MLflow store", True, f"{tracking_uri} is not on this machine")
    # SQLite writes its journal beside the database.
    ok = _writable(path.parent) and (not path.exists() or os.access(path, os.W_OK))
    found = f"{path} is writable" if ok else f"{path} cannot be written"
    return checked("MLflow store", ok, found, "set `mlflow.tracking_uri` to a place you may write")


def check_archive(archive: ArchiveSettings, study: Study = "archive") -> Check:
    """Whether the archive has candles of the market, interval and months asked for.

    The remedy names the keys that say so; the factor model has its own. Of an http(s) archive, only
    whether its listing answers: reading it is the run's work. An object store is not looked at.
    """
    if archive.is_http:
        return checked(
            "archive",
            _answers(f"{archive.listing_url}?prefix=data/&delimiter=/&max-keys=1", "GET"),
            f"{archive.url}, listed at {archive.listing_url}",
            "the listing does not answer: check `archive.listing_url` and this machine's network",
        )
    if not archive.is_folder:
        return Check("archive", True, f"{archive.url} is not on this machine")
    root = Path(archive.url, "data")
    if not root.is_dir():
        return checked(
            "archive",
            False,
            f"no folder {root.absolute()}",
            "set `archive.url` to the folder that holds data/",
        )
    # The folder of perpetuals is futures/um, that of spot pairs is spot.
    markets = [*root.glob(f"{archive.market}/*/klines"), *root.glob(f"*/{archive.market}/*/klines")]
    symbols = {
        file.parts[-3]
        for klines in markets
        for file in klines.glob(f"*/{archive.interval}/*.zip")
        if archive.start <= _month(file, archive.interval) <= archive.end
    }
    wanted = f"{archive.interval} candles ({archive.market}) of {archive.start} to {archive.end}"
    return checked(
        "archive",
        bool(symbols),
        f"{len(symbols)} symbols with {wanted} in {archive.url}",
        f"set `archive.url` to the folder that holds data/, and `{study}.interval`, "
        f"`{study}.start` and `{study}.end` to what it has",
    )


def _month(file: Path, interval: str) -> str:
    """`2024-10` of `BTCUSDT-4h-2024-10.zip` and of `BTCUSDT-4h-2024-10-31.zip`."""
    return file.stem.rpartition(f"-{interval}-")[2][:7]


def _local(place: str) -> Path | None:
    """The path of a folder or `file:` URI; None for another file system."""
    scheme, separator, rest = place.partition(":")
    if not separator:
        return Path(place)
    return Path("/" + rest.lstrip("/")) if scheme == "file" else None


def _nearest(path: Path) -> Path:
    """The path itself, or the nearest one above it that exists and may be seen."""
    # Not `exists()`, which raises below a folder that may not be entered.
    return next(there for there in (path, *path.absolute().parents) if os.access(there, os.F_OK))


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the nearest one above it that exists.

    Tried and not asked: permission bits know nothing of a read-only or full disk.
    """
    try:
        with tempfile.TemporaryFile(dir=_nearest(folder)) as file:
            return bool(file.write(b"candlelake"))
    except OSError:
        return False


def _answers(address: str, method: str = "HEAD") -> bool:
    try:
        request = urllib.request.Request(address, method=method)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):
            return True
    # urllib's own errors, a 404 included, are OSErrors; a ValueError is no address at all.
    except (OSError, HTTPException, ValueError):
        return False


def _gigabytes(size: int) -> str:
    return f"{size / _GB:.1f} GB"
