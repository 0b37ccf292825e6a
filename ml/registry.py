"""The model registry: fitted models as versions of a name, the best of which is the champion.

A name stands for one experiment on one market and interval, whose versions can be compared:
`candlelake-gbt-um-4h`. `ml.champions` tells which of them is the best.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import mlflow
import numpy as np
import pyspark
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array, SparkMLVector

from lakehouse.errors import ModelNotFound
from ml.champions import CHAMPION, REASON, choose_champion, find_champion
from ml.model_files import load_from_folder, save_to_folder
from ml.tracking import TrackedRun, open_store

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.ml import PipelineModel

    from lakehouse.settings import Settings
    from lakehouse.tasks import TaskContext

# Types of the columns that a model reads and returns.
ColumnType = DataType | Array
DOUBLE = DataType.double
INTEGER = DataType.integer
VECTOR: Array = SparkMLVector()  # type: ignore[no-untyped-call]  # mlflow gives it no types


@dataclass(frozen=True)
class Interface:
    """What a model reads and returns.

    Attributes:
        inputs: Names and types of the columns that it reads.
        output: Type of its column `prediction`.
        example: A row or two of the input.
    """

    inputs: Mapping[str, ColumnType]
    output: ColumnType
    example: pd.DataFrame


@dataclass(frozen=True)
class Registered:
    """A version of a model.

    Attributes:
        name: Name of the model.
        version: Number of the version, from 1.
        mlflow_run_id: Run that made it.
        reason: Why it is the champion, or why not.
    """

    name: str
    version: int
    mlflow_run_id: str
    reason: str


def model_name(settings: Settings, experiment: str) -> str:
    """Name of an experiment's model of the settings' market and interval."""
    name = "-".join(["candlelake", experiment, *settings.scope.values()])
    return f"{settings.catalog}.ml.{name}" if settings.catalog else name


def register(
    run: TrackedRun, model: PipelineModel, experiment: str, interface: Interface, metric: str
) -> Registered:
    """Keep a fitted model with its run, as a new version, and as the champion if it is better.

    The run must have logged its inputs and metrics before.

    Args:
        run: The run that fitted it.
        model: A loaded model returns its `prediction` column.
        experiment: Last part of the experiment's name.
        interface: What the model reads and returns.
        metric: The honest metric by which versions are compared; higher is better.
    """
    name = model_name(run.context.settings, experiment)
    _log_model(run, model, interface)
    try:
        run.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # from an earlier run
            raise
    source = f"{run.artifact_uri}/model"
    version = run.client.create_model_version(name, source, run.mlflow_run_id)
    reason = choose_champion(run.client, version, experiment, metric)
    return Registered(name, int(version.version), run.mlflow_run_id, reason)


def load_champion(context: TaskContext, experiment: str) -> tuple[Registered, PipelineModel]:
    """The champion of the settings' market and interval.

    Raises:
        ModelNotFound: There is none.
    """
    settings = context.settings
    client = open_store(settings.mlflow.tracking_uri)
    name = model_name(settings, experiment)
    champion = find_champion(client, name)
    if champion is None:
        raise ModelNotFound(
            f"no model {name} has the alias {CHAMPION} in {settings.mlflow.tracking_uri}: run the "
            f"task {experiment} first"
        )
    with TemporaryDirectory() as folder:
        files = download_artifacts(f"models:/{name}/{champion.version}", dst_path=folder)
        copy = champion.run_id or ""
        model = load_from_folder(_shared(settings), copy, Path(files) / "sparkml")
    reason = champion.tags.get(REASON, "")
    return Registered(name, int(champion.version), champion.run_id or "", reason), model


def _log_model(run: TrackedRun, model: PipelineModel, interface: Interface) -> None:
    """Keep a fitted Spark ML model as an artifact of its run."""
    inputs = Schema([ColSpec(kind, column) for column, kind in interface.inputs.items()])
    outputs = Schema([ColSpec(interface.output)])
    with TemporaryDirectory() as folder:
        shared = _shared(run.context.settings)
        saved = Path(folder) / "sparkml"
        save_to_folder(run.context.spark, model, shared, run.mlflow_run_id, saved)
        # The last step of `mlflow.spark.save_model`, which is not to be had without the first.
        mlflow.spark._save_model_metadata(
            folder,
            model,
            Model(artifact_path="model", run_id=run.mlflow_run_id),
            conda_env=None,
            code_paths=None,
            signature=ModelSignature(inputs=inputs, outputs=outputs),
            input_example=interface.example,
            # Without them MLflow loads the model in another process to see what it imports.
            pip_requirements=[f"pyspark=={pyspark.__version__}", f"numpy=={np.__version__}"],
        )
        run.client.log_artifacts(run.mlflow_run_id, folder, "model")


def _shared(settings: Settings) -> str:
    """A folder that the engine and this process reach."""
    # MLflow's variable names a volume where the tables lie in a catalog.
    return os.environ.get("MLFLOW_DFS_TMP", settings.warehouse)
