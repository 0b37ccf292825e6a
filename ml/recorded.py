"""A recorded model run: what it read, how it was set and what came out, from the MLflow store."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from lakehouse.errors import ModelNotFound, ReproductionError
from ml.tracking import LIBRARIES, OUTPUT_FILE, SETTINGS_FILE, is_absent, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_MODEL = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class RecordedTable:
    """A table that a run read.

    Attributes:
        name: `<layer>.<table>`.
        version: Its Delta version.
        place: Folder of the table, or its name in the catalog.
    """

    name: str
    version: int
    place: str


@dataclass(frozen=True)
class RecordedRun:
    """A run as it was recorded.

    Attributes:
        mlflow_run_id: MLflow's id of the run.
        task: Task that made it.
        code_version: Version and digest of the code that made it.
        libraries: Versions of the libraries that it was computed by.
        settings: All settings as JSON.
        tables: What it read.
        metrics: What it logged.
        output: What the model said, as CSV.
    """

    mlflow_run_id: str
    task: str
    code_version: str
    libraries: str
    settings: str
    tables: tuple[RecordedTable, ...]
    metrics: Mapping[str, float]
    output: bytes


def find_run(tracking_uri: str, reference: str, tasks: Collection[str]) -> RecordedRun:
    """Read a run from the store.

    Args:
        tracking_uri: The store.
        reference: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or the id of a run.
        tasks: Those whose runs can be fitted again.

    Raises:
        ModelNotFound: The store has no such run, model, version or alias.
        ReproductionError: The run is none of those tasks, a part of one, or did not finish.
    """
    client = open_store(tracking_uri)
    run = _run(client, tracking_uri, reference)
    run_id, tags = run.info.run_id, run.data.tags
    if _PARENT in tags:
        raise ReproductionError(
            f"run {run_id} is one part of run {tags[_PARENT]}: name that one instead"
        )
    task = tags.get("candlelake.task", "")
    if task not in tasks:
        raise ReproductionError(
            f"run {run_id} is of the task {task!r}: only runs of {', '.join(tasks)} can be fitted "
            "again"
        )
    with TemporaryDirectory() as folder:
        try:
            settings, output = (
                Path(download_artifacts(run_id=run_id, artifact_path=file, dst_path=folder))
                for file in (SETTINGS_FILE, OUTPUT_FILE)
            )
            texts = settings.read_text(encoding="utf-8"), output.read_bytes()
        except (MlflowException, OSError) as error:
            raise ReproductionError(
                f"run {run_id} ({run.info.run_name}) is no finished run: there is no {OUTPUT_FILE} "
                "to compare with"
            ) from error
    return RecordedRun(
        mlflow_run_id=run_id,
        task=task,
        code_version=tags.get("candlelake.code_version", ""),
        libraries=tags.get(LIBRARIES, ""),
        settings=texts[0],
        tables=_tables(run),
        metrics=run.data.metrics,
        output=texts[1],
    )


def _run(client: MlflowClient, tracking_uri: str, reference: str) -> Run:
    model = _MODEL.fullmatch(reference)
    if model is None and reference.startswith("models:"):
        raise ModelNotFound(
            f"{reference!r} names no model: write models:/NAME@champion or models:/NAME/VERSION"
        )
    try:
        if model is None:
            return client.get_run(reference)
        name, alias, number = model["name"], model["alias"], model["version"]
        if alias:
            version = client.get_model_version_by_alias(name, alias)
        else:
            version = client.get_model_version(name, number)
        return client.get_run(version.run_id or "")
    except MlflowException as error:
        if not is_absent(error):
            raise
        names = sorted(each.name for each in client.search_registered_models())
        raise ModelNotFound(
            f"{tracking_uri} has no {'run' if model is None else 'model'} {reference}: its models "
            f"are {', '.join(names) or 'none'}"
        ) from error


def _tables(run: Run) -> tuple[RecordedTable, ...]:
    """Tables that the run read, from its datasets."""
    found = set()
    for each in run.inputs.dataset_inputs if run.inputs else []:
        source = json.loads(each.dataset.source)
        found.add(
            RecordedTable(
                name=each.dataset.name.partition("@")[0],
                version=int(source["delta_table_version"]),
                place=source.get("path") or source["delta_table_name"],
            )
        )
    return tuple(sorted(found, key=lambda table: table.name))
