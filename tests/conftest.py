"""One Spark session for each test process, and a warehouse of its own for each test."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import LoadFileScheduling

from lakehouse.session import spark_session
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Lake
from lakehouse.tasks import TaskContext
from tests.servers import connect_server

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parent.parent

# Files whose tests take the models that tests/ml/conftest.py trains.
_ON_MODELS = {path for path in ROOT.glob("tests/ml/test_*.py") if "trained" in path.read_text()}

# The session lives for minutes: C1 alone starts faster, and takes 1.4 times as long in the end.
_SPARK_CONF = {
    "spark.driver.memory": "2g",
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--connect", action="store_true", help="sessions are clients of a Spark Connect server"
    )


# A slow machine fails no test: neither an example nor the making of one has a limit of time.
hypothesis_settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that wait for Spark first, the longest of them before the others.

    The trained models and what runs from end to end come first and the many quick files last, so
    that no process waits long for another.
    """
    on_spark = {item.path for item in items if "spark" in item.fixturenames}

    def order(item: pytest.Item) -> tuple[bool, bool, bool]:
        path = item.path
        return path not in _ON_MODELS, path not in on_spark, path.parent != ROOT / "tests"

    items.sort(key=order)


class _Scheduling(LoadFileScheduling):
    """A file stays in one process, and all that share the trained models in another one."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "models" if ROOT / file in _ON_MODELS else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Scheduling:
    return _Scheduling(config, log)


@pytest.fixture(scope="session")
def remote(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str | None]:
    """Address of a Spark Connect server of this test process; None without `--connect`."""
    if not pytestconfig.getoption("--connect"):
        yield None
        return
    folder = tmp_path_factory.mktemp("connect")
    with connect_server(folder, _SPARK_CONF) as address:
        yield address


@pytest.fixture(scope="session")
def base_settings(remote: str | None) -> Settings:
    conf = ", ".join(f"{key}: '{value}'" for key, value in _SPARK_CONF.items())
    where = f"spark.remote={remote}" if remote else "spark.master=local[2]"
    return load_settings(ROOT / "conf" / "sample.yaml", [where, f"spark.conf={{{conf}}}"])


@pytest.fixture(scope="session")
def spark(base_settings: Settings) -> "Iterator[SparkSession]":
    with spark_session(base_settings.spark) as session:
        yield session


@pytest.fixture
def settings(base_settings: Settings, tmp_path: Path) -> Settings:
    """The sample settings with a warehouse, an MLflow store and a report folder of the test's."""
    return base_settings.model_copy(
        update={
            "warehouse": str(tmp_path / "lake"),
            "mlflow": base_settings.mlflow.model_copy(
                update={"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"}
            ),
            "report": base_settings.report.model_copy(update={"folder": str(tmp_path / "report")}),
        }
    )


@pytest.fixture
def lake(spark: "SparkSession", settings: Settings) -> Lake:
    return Lake(spark, settings.warehouse)


ContextFactory = Callable[..., TaskContext]


@pytest.fixture
def make_context(spark: "SparkSession", settings: Settings) -> ContextFactory:
    """Contexts of tasks in one run; `settings` and `run_id` may be given."""

    def make(
        task: str = "test", settings: Settings = settings, run_id: str = "run-1"
    ) -> TaskContext:
        return TaskContext(
            spark=spark,
            settings=settings,
            lake=Lake(spark, settings.warehouse),
            run_id=run_id,
            job="test",
            task=task,
            now=datetime(2026, 1, 1, tzinfo=UTC),
            code_version="test",
            settings_digest=settings.digest(),
        )

    return make
