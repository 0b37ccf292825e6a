"""A fitted Spark ML model as files on this machine, wherever the engine runs.

MLflow copies the files through the JVM of a classic session, which a client of Spark Connect does
not have; here the engine itself hands them over, or reads them from a folder that both reach.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import SparkSession


def save_to_folder(spark: SparkSession, model: PipelineModel, shared: str, folder: Path) -> None:
    """Write a model into a local folder from which `PipelineModel.load` reads it.

    Args:
        spark: The session that the model was fitted in.
        model: It grows with neither rows nor bars, so its files fit into memory.
        shared: Folder or URI that the engine can write to, the same for all of its machines; a
            copy of the model stays there when it is no folder of this machine.
        folder: Must not exist yet.
    """
    token = uuid.uuid4().hex
    written = _place(shared, token)
    model.save(written)
    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(written)
    for row in files.select("path", "content").collect():
        file = folder / row["path"].partition(f"/{token}/")[2]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(row["content"])
    shutil.rmtree(written, ignore_errors=True)


def load_from_folder(shared: str, folder: Path) -> PipelineModel:
    """Load a model from a local folder.

    Args:
        shared: Folder that the engine and this machine reach; with an URI, the engine must reach
            the local folder itself, as one on this machine does.
        folder: What `save_to_folder` wrote.
    """
    from pyspark.ml import PipelineModel

    if "://" in shared:
        return PipelineModel.load(str(folder))
    copied = _place(shared, uuid.uuid4().hex)
    shutil.copytree(folder, copied)
    try:
        return PipelineModel.load(copied)
    finally:
        shutil.rmtree(copied, ignore_errors=True)


def _place(shared: str, token: str) -> str:
    base = shared if "://" in shared else str(Path(shared).absolute())
    return f"{base}/_models/{token}"
