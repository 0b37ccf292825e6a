"""One Spark session for each test process, and a warehouse of its own for each test."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lakehouse.session import spark_session
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Lake
from lakehouse.tasks import TaskContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parent.parent

# The session lives for minutes: C1 alone starts faster, and takes 1.4 times as long in the end.
_JAVA_OPTIONS = "-XX:+UseSerialGC"


@pytest.fixture(scope="session")
def base_settings() -> Settings:
    conf = f"{{spark.driver.memory: 2g, spark.driver.extraJavaOptions: '{_JAVA_OPTIONS}'}}"
    overrides = ["spark.master=local[2]", f"spark.conf={conf}"]
    return load_settings(ROOT / "conf" / "sample.yaml", overrides)


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
