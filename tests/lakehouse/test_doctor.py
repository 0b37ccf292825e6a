import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from lakehouse import doctor
from lakehouse.doctor import Check
from lakehouse.session import DELTA_JARS, DELTA_PACKAGE
from lakehouse.settings import ArchiveSettings, load_settings
from tests.bronze.archive_server import served

ROOT = Path(__file__).parents[2]
JARS = tuple(f"io.delta_{name}-4.4.0.jar" for name in DELTA_JARS)


@pytest.fixture
def ivy(tmp_path: Path) -> str:
    """The setting that points Spark at a folder which has the jars, so that no network is asked."""
    jars = tmp_path / "ivy" / "jars"
    jars.mkdir(parents=True)
    for name in JARS:
        (jars / name).touch()
    return f"spark.conf={{spark.jars.ivy: {jars.parent}}}"


def run_checks(*overrides: str) -> dict[str, Check]:
    settings = load_settings(ROOT / "conf" / "sample.yaml", overrides)
    return {check.name: check for check in doctor.run_checks(settings)}


def test_all_checks_in_order(ivy: str) -> None:
    assert list(run_checks(ivy)) == [
        *("Python", "Java", "pyspark", "delta-spark", "mlflow", "Delta's jars"),
        *("memory", "disk space", "warehouse", "Spark's scratch folder", "ports", "host name"),
        *("MLflow store", "MLflow UI port", "report", "archive"),
    ]


def test_a_connect_client_needs_no_java_and_no_jar() -> None:
    names = run_checks("spark.remote=sc://localhost:9")
    on_server = {"Java", "Delta's jars", "delta-spark", "Spark's scratch folder", "host name"}
    assert not names.keys() & on_server
    assert {"pyspark", "mlflow"} <= names.keys()
    assert not names["Spark Connect"].ok
    assert names["pyspark[connect]"].ok
    for package in ("grpcio", "grpcio-status", "googleapis-common-protos", "zstandard"):
        assert package in names["pyspark[connect]"].found


def test_the_jar_is_a_cluster_s_own_matter_when_there_is_no_master() -> None:
    names = run_checks("spark.master=null")
    assert "Java" in names
    assert "Delta's jars" not in names


def test_every_failure_has_a_remedy_and_no_success_has(tmp_path: Path, ivy: str) -> None:
    (tmp_path / "file").touch()
    checks = run_checks(
        ivy,
        f"warehouse={tmp_path}/file/lake",
        f"mlflow.tracking_uri=sqlite:///{tmp_path}/file/mlflow.db",
        f"archive.url={tmp_path}/nowhere",
    )
    assert not any(checks[name].ok for name in ("warehouse", "MLflow store", "archive"))
    assert checks["Delta's jars"].ok
    for check in checks.values():
        assert check.ok == (check.remedy == "")
        assert "\n" not in check.found + check.remedy


@pytest.mark.parametrize(
    ("release", "ok"), [((3, 10, 14), False), ((3, 11, 0), True), ((3, 13, 1), True)]
)
def test_python(release: tuple[int, int, int], ok: bool) -> None:
    check = doctor.check_python(release)
    assert check.ok is ok
    assert check.found == ".".join(map(str, release))


def test_java_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    check = doctor.check_java()
    assert not check.ok
    assert "/nowhere" in check.found
    assert "install" in check.remedy


def test_packages_are_those_that_the_wheel_leaves_to_databricks() -> None:
    pins = {r.name: str(r.specifier) for r in doctor.local_requirements()}
    assert pins == {"pyspark": "==4.2.0", "delta-spark": "==4.4.0", "mlflow": "==3.17.*"}


def test_sources_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "requires", requires)
    assert [str(r) for r in doctor.local_requirements()] == ["candlelake[local]"]


def test_package_versions() -> None:
    right = doctor.check_package(Requirement("pytest>=1"))
    wrong = doctor.check_package(Requirement("pytest[dev]<1"))
    absent = doctor.check_package(Requirement("candlelake-is-not-this==1.0"))
    assert right == Check("pytest", True, pytest.__version__)
    assert wrong == Check("pytest", False, pytest.__version__, "pip install 'pytest[dev]<1'")
    assert (absent.ok, absent.found) == (False, "not installed")


def test_packages_that_an_extra_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "client-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: client\nVersion: 1.0\nRequires-Dist: absent-anyway\n"
        "Requires-Dist: pytest>=1; extra == 'connect'\nRequires-Dist: no-such; extra == 'other'\n"
        "Requires-Dist: pluggy<0.1; extra == 'connect'\n"
        "Requires-Dist: no-grpc>=2; extra == 'connect'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    check = doctor.check_extras(Requirement("client[connect]==1.0"))
    assert (check.name, check.found) == ("client[connect]", "without pluggy<0.1, no-grpc>=2")
    assert check.remedy == "pip install 'client[connect]==1.0'"
    assert doctor.check_package(Requirement("client[connect]==1.0")).ok
    assert doctor.check_extras(Requirement("no-client[connect]")).found == "not installed"


def test_session_loads_the_jar_of_the_pinned_packages() -> None:
    pins = {r.name: str(r.specifier).lstrip("=") for r in doctor.local_requirements()}
    spark = ".".join(pins["pyspark"].split(".")[:2])
    assert f"io.delta:delta-spark_{spark}_2.13:{pins['delta-spark']}" == DELTA_PACKAGE


def test_ivy_folder_is_the_one_that_spark_uses() -> None:
    pyspark = find_spec("pyspark")
    assert pyspark is not None
    assert pyspark.origin is not None
    (core,) = (Path(pyspark.origin).parent / "jars").glob("spark-core_*.jar")
    with zipfile.ZipFile(core) as jar:
        configuration = jar.read("org/apache/spark/internal/config/package$.class")
    assert f"defaults to {doctor.IVY_FOLDER}\x08".encode() in configuration


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A Maven repository: its folder, and the address at which it is served."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    folder = tmp_path / "maven"
    folder.mkdir()
    handler = partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_jars_that_spark_has_already(tmp_path: Path) -> None:
    (tmp_path / "jars").mkdir()
    for name in JARS:
        assert not doctor.check_delta_jars(tmp_path, "http://127.0.0.1:1").ok
        (tmp_path / "jars" / name).touch()
    check = doctor.check_delta_jars(tmp_path, "http://127.0.0.1:1")
    assert check == Check("Delta's jars", True, f"4.4.0, in {tmp_path}/jars")


def test_jars_that_can_be_fetched(tmp_path: Path, repository: tuple[Path, str]) -> None:
    folder, address = repository
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / JARS[0]).touch()
    for name in DELTA_JARS[1:]:
        assert not doctor.check_delta_jars(tmp_path, address).ok
        published = folder / "io" / "delta" / name / "4.4.0" / f"{name}-4.4.0.jar"
        published.parent.mkdir(parents=True)
        published.touch()
    assert doctor.check_delta_jars(tmp_path, address).ok


def test_jars_and_no_network(tmp_path: Path) -> None:
    check = doctor.check_delta_jars(tmp_path, "http://127.0.0.1:1")
    assert not check.ok
    assert all(name in check.found for name in DELTA_JARS)
    assert "http://127.0.0.1:1" in check.remedy


@pytest.mark.parametrize(("size", "ok"), [(4 * 10**9, True), (4 * 10**9 - 1, False)])
def test_memory(size: int, ok: bool) -> None:
    assert doctor.check_memory(size).ok is ok


def test_memory_is_compared_with_what_spark_may_take(ivy: str) -> None:
    assert doctor.check_memory(5 * 10**9, 5 * 10**9 - 1).ok
    check = doctor.check_memory(5 * 10**9, 5 * 10**9)
    assert not check.ok
    assert "`spark.conf.spark.driver.memory`" in check.remedy
    huge = "spark.conf.spark.driver.memory=9000t"
    assert not run_checks(ivy, huge)["memory"].ok
    # The cluster and the Connect server have memory of their own.
    assert run_checks(huge, "spark.master=null")["memory"].found == run_checks(ivy)["memory"].found
    assert run_checks(huge, "spark.remote=sc://localhost:9")["memory"].remedy == ""


def test_a_container_s_limit_counts(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    whole = doctor.memory_bytes(limit)
    limit.write_text("max\n")
    assert doctor.memory_bytes(limit) == whole
    limit.write_text("1000000\n")
    assert doctor.memory_bytes(limit) == 1_000_000
    limit.write_text(f"{whole + 1}\n")
    assert doctor.memory_bytes(limit) == whole


@pytest.mark.parametrize(("free", "ok"), [(2 * 10**9, True), (2 * 10**9 - 1, False)])
def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, ok: bool) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    check = doctor.check_disk(str(tmp_path / "not" / "yet"))
    assert check.ok is ok
    assert asked == [tmp_path]


@pytest.mark.parametrize("warehouse", ["s3://bucket/lake", "abfss://c@a.dfs.core/lake", "dbfs:/x"])
def test_remote_warehouse_is_not_looked_at(warehouse: str) -> None:
    for check in (doctor.check_disk(warehouse), doctor.check_warehouse(warehouse)):
        assert check.ok
        assert warehouse in check.found


def test_writable_warehouse_is_left_as_it_was(tmp_path: Path) -> None:
    for place in (f"{tmp_path}/a/b", f"file:{tmp_path}/a/b", f"file://{tmp_path}", f"{tmp_path}"):
        assert doctor.check_warehouse(place).ok
    assert list(tmp_path.iterdir()) == []


def test_warehouse_where_a_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/lake"):
        check = doctor.check_warehouse(str(tmp_path / place))
        assert not check.ok
        assert "`warehouse`" in check.remedy


def test_scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_LOCAL_DIRS", raising=False)
    (tmp_path / "file").touch()
    given = load_settings(ROOT / "conf" / "sample.yaml").spark
    assert doctor.check_scratch(given).found.endswith(f"free at {tempfile.gettempdir()}")
    named = given.model_copy(update={"conf": {"spark.local.dir": f"{tmp_path}/new"}})
    assert doctor.check_scratch(named).ok
    # What the environment says counts more, as it does for Spark.
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path},{tmp_path}/file")
    check = doctor.check_scratch(named)
    assert not check.ok
    assert check.found == f"{tmp_path}/file cannot be written"
    assert "SPARK_LOCAL_DIRS" in check.remedy
    monkeypatch.delenv("SPARK_LOCAL_DIRS")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    assert not doctor.check_scratch(named).ok


def test_folders_that_a_run_writes(tmp_path: Path, ivy: str) -> None:
    (tmp_path / "file").touch()
    checks = run_checks(
        ivy,
        f"report.folder={tmp_path}/file/report",
        f"archive.landing={tmp_path}/file/landing",
        *("archive.url=http://127.0.0.1:9", "archive.listing_url=http://127.0.0.1:9"),
    )
    for name, key in (("report", "`report.folder`"), ("landing", "`archive.landing`")):
        assert not checks[name].ok
        assert key in checks[name].remedy


def test_mlflow_store(tmp_path: Path) -> None:
    (tmp_path / "used.db").write_bytes(b"runs")
    (tmp_path / "file").touch()
    ok = {
        uri: doctor.check_mlflow_store(uri).ok
        for uri in (
            f"sqlite:///{tmp_path}/new.db",
            f"sqlite:///{tmp_path}/used.db",
            f"sqlite:///{tmp_path}/file/new.db",
            f"file:{tmp_path}/mlruns",
            f"file:{tmp_path}/file/mlruns",
            "http://127.0.0.1:5000",
            "databricks",
            "databricks://profile",
        )
    }
    assert [uri for uri in ok if not ok[uri]] == [
        f"sqlite:///{tmp_path}/file/new.db",
        f"file:{tmp_path}/file/mlruns",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "used.db"]
    assert (tmp_path / "used.db").read_bytes() == b"runs"


@pytest.mark.parametrize(
    ("changes", "symbols"),
    [
        ({}, 2),
        ({"start": "2025-01", "end": "2025-01"}, 1),
        ({"start": "2025-02", "end": "2025-03"}, 0),
        ({"market": "spot"}, 1),
        ({"market": "spot", "start": "2025-01"}, 0),
        ({"interval": "1m"}, 0),
    ],
)
def test_archive(tmp_path: Path, changes: dict[str, str], symbols: int) -> None:
    for name in (
        "futures/um/monthly/klines/BTCUSDT/4h/BTCUSDT-4h-2024-12.zip",
        "futures/um/monthly/klines/BTCUSDT/4h/BTCUSDT-4h-2025-01.zip",
        "futures/um/daily/klines/ETHUSDT/4h/ETHUSDT-4h-2024-12-31.zip",
        "futures/um/monthly/klines/XRPUSDT/4h/XRPUSDT-4h-2025-01.zip.CHECKSUM",
        "spot/daily/klines/BTCUSDT/4h/BTCUSDT-4h-2024-12-31.zip",
    ):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    wanted = {"market": "um", "interval": "4h", "start": "2024-10", "end": "2025-12", **changes}
    archive = ArchiveSettings.model_validate({"url": str(tmp_path), **wanted})
    check = doctor.check_archive(archive)
    assert check.ok is (symbols > 0)
    assert check.found.startswith(f"{symbols} symbols ")


def test_archive_that_is_not_there(tmp_path: Path) -> None:
    archive = ArchiveSettings(
        url=str(tmp_path / "none"), market="um", interval="4h", start="2024-10", end="2025-12"
    )
    check = doctor.check_archive(archive)
    assert not check.ok
    assert "`archive.url`" in check.remedy


def test_an_archive_in_an_object_store_is_not_looked_at() -> None:
    archive = ArchiveSettings(
        url="s3a://bucket/mirror", market="um", interval="4h", start="2024-10", end="2025-12"
    )
    assert doctor.check_archive(archive).ok
    assert "s3a://bucket/mirror" in doctor.check_archive(archive).found


@pytest.mark.parametrize(
    ("listing_url", "ok"),
    [
        ("{root}/listing", True),
        ("{root}/nowhere", False),
        ("http://127.0.0.1:9/listing", False),
        ("", False),
    ],
)
def test_archive_behind_an_address(tmp_path: Path, listing_url: str, ok: bool) -> None:
    with served(tmp_path) as server:
        archive = ArchiveSettings(
            url="https://example.org",
            listing_url=listing_url.format(root=server.url),
            market="um",
            interval="4h",
            start="2024-10",
            end="2025-12",
        )
        check = doctor.check_archive(archive)
    assert check.ok is ok
    assert "https://example.org" in check.found
    assert ok or "`archive.listing_url`" in check.remedy
