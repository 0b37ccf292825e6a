"""Runs in MLflow: what a task read, how it was set and what came out.

A task opens one parent run, logs what it read, how it was set and what came out, and opens a
child run for each candidate it compares. Calls are batched: each one is a commit of the store.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import os
import re
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before mlflow is imported: a run tells nobody but its own store, and draws no bars of its own.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"

import mlflow
from mlflow.data.delta_dataset_source import DeltaDatasetSource
from mlflow.data.spark_dataset import SparkDataset
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.utils.logging_utils import disable_logging

from lakehouse.contracts import TableContract
from lakehouse.settings import MlflowSettings
from lakehouse.tables import Lake
from lakehouse.tasks import TaskContext
from ml.libraries import libraries

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

TRAINING, TESTING = "training", "testing"
"""What a run reads a table for."""

SETTINGS_FILE = "settings.json"
"""The artifact that holds all settings of the run."""

OUTPUT_FILE = "model_output.csv"
"""The artifact that holds what the model says; its numbers are written with all their digits."""

LIBRARIES = "candlelake.libraries"
"""Tag of a run: the versions of what computed its figures."""

_SQLITE = "sqlite:///"
# Tasks of a job run at once, and a new store is filled by whoever opens it.
_OPENING = threading.Lock()
# What stands between `://` and the host of an address.
_USER_INFO = re.compile(r"(?<=://)[^\s/?#@\"]*(?:@[^\s/?#@\"]*)*@")
# MLflow's limits on one batch and on one value.
_MAX_PARAMS = 100
_MAX_PARAM_LENGTH = 6000


class TrackedRun:
    """An MLflow run, to which results may still be added after its block has ended.

    Attributes:
        context: Of the task.
        client: Of the store.
        artifact_uri: Where its artifacts lie.
        mlflow_run_id: MLflow's id of the run.
    """

    def __init__(self, context: TaskContext, run: mlflow.ActiveRun) -> None:
        self.context = context
        self.client = mlflow.MlflowClient()
        self._experiment_id = run.info.experiment_id
        self.artifact_uri: str = run.info.artifact_uri
        self.mlflow_run_id: str = run.info.run_id

    def log_inputs(
        self, *contracts: TableContract, purpose: str = TRAINING, rows: str = ""
    ) -> None:
        """Record tables that the task has read, each at the Delta version it read.

        Args:
            contracts: The tables.
            purpose: `TRAINING` or `TESTING`.
            rows: Which of their rows, in words; all when empty.
        """
        tags = [InputTag("mlflow.data.context", purpose)]
        inputs = [
            DatasetInput(_dataset(self.context, contract, rows), tags) for contract in contracts
        ]
        self.client.log_inputs(self.mlflow_run_id, inputs)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record settings."""
        logged = [Param(key, str(value)[:_MAX_PARAM_LENGTH]) for key, value in params.items()]
        for start in range(0, len(logged), _MAX_PARAMS):
            batch = logged[start : start + _MAX_PARAMS]
            self.client.log_batch(self.mlflow_run_id, params=batch)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record numbers."""
        at = int(time.time() * 1000)
        logged = [Metric(key, float(value), at, 0) for key, value in metrics.items()]
        self.client.log_batch(self.mlflow_run_id, metrics=logged)

    def log_series(self, name: str, times: Sequence[int], values: Sequence[float]) -> None:
        """Record a number over time, a step for each instant (UTC microseconds)."""
        pairs = enumerate(zip(times, values, strict=True))
        logged = [Metric(name, float(value), time // 1000, step) for step, (time, value) in pairs]
        self.client.log_batch(self.mlflow_run_id, metrics=logged)

    def log_figure(self, figure: Figure, file: str) -> None:
        """Keep a plot as an artifact."""
        self.client.log_figure(self.mlflow_run_id, figure, file)

    def log_csv(self, file: str, columns: Mapping[str, Sequence[object]]) -> None:
        """Keep columns of one length as a CSV artifact."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        self.client.log_text(self.mlflow_run_id, text.getvalue(), file)

    def set_tag(self, key: str, value: str) -> None:
        """Say how to read the run."""
        self.client.set_tag(self.mlflow_run_id, key, value)

    def log_output(self, output: pa.Table) -> None:
        """Keep what the model says, by which a reproduction is compared with it."""
        columns = {name: output[name].to_pylist() for name in output.column_names}
        self.log_csv(OUTPUT_FILE, columns)

    @contextmanager
    def child(
        self, name: str, params: Mapping[str, object], tags: Mapping[str, str]
    ) -> Iterator[TrackedRun]:
        """Open the run of one candidate, in any thread.

        Args:
            name: Name of the run.
            params: What sets it apart from its siblings.
            tags: How to read it.
        """
        with mlflow.start_run(
            experiment_id=self._experiment_id,
            run_name=name,
            nested=True,
            parent_run_id=self.mlflow_run_id,
            tags={**_tags(self.context), **tags},
        ) as run:
            child = TrackedRun(self.context, run)
            child.log_params(params)
            yield child


@contextmanager
def tracked_run(
    context: TaskContext, experiment: str, evaluation: str, name: str = "", without: str = ""
) -> Iterator[TrackedRun]:
    """Open the parent run of a task; an error inside marks it as failed.

    MLflow's own messages, of each table it makes and each version it adds, are silenced.

    Args:
        context: Names the store; its run id and code become tags, its settings parameters.
        experiment: Last part of the experiment's name, `<mlflow.experiments>/<experiment>`.
        evaluation: How its metrics were had: `in_sample` or `walk_forward`.
        name: What sets it apart from the task's other parent runs, if it has any.
        without: A section of the settings that is no parameter, for it need not hold of this run.
    """
    # That integers cannot be missing in pandas is no news of a table in Delta.
    warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer")
    with _OPENING:
        open_store(context.settings.mlflow.tracking_uri)
        experiment_id = _experiment(context.settings.mlflow, experiment)
    with mlflow.start_run(
        experiment_id=experiment_id,
        run_name=f"{name} {context.run_id}".strip(),
        tags={
            **_tags(context),
            "candlelake.evaluation": evaluation,
            LIBRARIES: libraries(context),
        },
    ) as active:
        run = TrackedRun(context, active)
        text = without_passwords(context.settings.as_json())
        run.log_params(
            flat({key: each for key, each in json.loads(text).items() if key != without})
        )
        # Parameters are texts of a limited length, of which the settings cannot be made again.
        run.client.log_text(run.mlflow_run_id, text, SETTINGS_FILE)
        yield run


def open_store(tracking_uri: str) -> mlflow.MlflowClient:
    """A client of the store, whose messages of its own tables are silenced."""
    disable_logging()  # type: ignore[no-untyped-call]  # mlflow gives it no types
    logging.getLogger("alembic").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(tracking_uri)
    return mlflow.MlflowClient()


def without_passwords(text: str) -> str:
    """A text whose addresses name neither user nor password: a store has many readers."""
    return _USER_INFO.sub("***@", text)


def is_absent(error: MlflowException) -> bool:
    """Whether the store says that it has no such thing, and not that it cannot be asked."""
    # A store in a database calls a missing alias an invalid parameter.
    return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


# Without it the UI shows the pages for language models.
_KIND = {"mlflow.experimentKind": "custom_model_development"}


def experiment_name(settings: MlflowSettings, experiment: str) -> str:
    """What the store calls an experiment; a workspace names it by its path there."""
    name = f"{settings.experiments}/{experiment}"
    is_path = settings.tracking_uri.startswith("databricks")
    return f"/Shared/{name}" if is_path and not name.startswith("/") else name


def _experiment(settings: MlflowSettings, experiment: str) -> str:
    """Find or make the experiment; a sqlite store keeps its artifacts beside the file."""
    client = mlflow.MlflowClient()
    name = experiment_name(settings, experiment)
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    artifacts = None
    if settings.tracking_uri.startswith(_SQLITE):
        store = Path(settings.tracking_uri.removeprefix(_SQLITE)).absolute()
        artifacts = (store.parent / "mlartifacts").as_uri()
    return str(client.create_experiment(name, artifact_location=artifacts, tags=_KIND))


def _tags(context: TaskContext) -> dict[str, str]:
    return {
        "candlelake.run_id": context.run_id,
        "candlelake.job": context.job,
        "candlelake.task": context.task,
        "candlelake.code_version": context.code_version,
        "candlelake.settings_digest": context.settings_digest,
    }


def _dataset(context: TaskContext, contract: TableContract, rows: str) -> Dataset:
    """A table at the version that the task read, recorded as `mlflow.data.load_delta` does.

    That function asks for a session by an address, which a task on Spark Connect does not know,
    and `log_input` counts the rows by a pass over the table, which Spark Connect does not allow.
    """
    frame = context.lake.read(contract)
    version = context.lake.read_versions[contract.full_name]
    # MLflow takes the number 0 for no version and leaves it out; the text it keeps.
    pinned: Any = version or "0"
    place = table_place(context.lake, contract)
    dataset = SparkDataset(
        df=frame,
        source=DeltaDatasetSource(**place, delta_table_version=pinned),
        name=f"{contract.full_name}@v{version}",
        digest=hashlib.sha256(f"{place}@{version} {rows}".encode()).hexdigest()[:8],
    )
    schema = dataset.schema
    return Dataset(
        name=dataset.name,
        digest=dataset.digest,
        source_type="delta_table",
        source=dataset.source.to_json(),
        schema=json.dumps({"mlflow_colspec": schema.to_dict()}) if schema else None,
        profile=json.dumps({"rows": rows}) if rows else None,
    )


def table_place(lake: Lake, contract: TableContract) -> dict[str, str]:
    """Where MLflow finds a table again: its folder, or its name in the catalog."""
    name = lake.name(contract)
    if not name.startswith("delta.`"):
        return {"delta_table_name": name}
    return {"path": name.removeprefix("delta.`").removesuffix("`").replace("``", "`")}


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested settings as dotted keys behind a prefix."""
    leaves: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = value
    return leaves
