"""A fitted Spark ML model as files on this machine, wherever the engine runs.

MLflow copies the files through the JVM of a classic session, which a client of Spark Connect does
not have; here the engine itself hands them over, or reads them from a folder that both reach.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.places import absolute, is_uri

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import SparkSession


# No model takes so long to be written and read: whoever wrote it was killed.
_LEFT_AFTER_SECONDS = 86_400


def save_to_folder(
    spark: SparkSession, model: PipelineModel, shared: str, name: str, folder: Path
) -> None:
    """Write a model into a local folder from which `PipelineModel.load` reads it.

    Args:
        spark: The session that the model was fitted in.
        model: It grows with neither rows nor bars, so its files fit into memory.
        shared: Folder or URI that the engine can write to, the same for all of its machines; at a
            URI, a copy of the model stays there for `load_from_folder`.
        name: Of the copy, unlike that of any other model.
        folder: Must not exist yet.
    """
    written = _place(shared, name)
    with _passing_through(written):
        model.save(written)
        files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(written)
        for row in files.select("path", "content").collect():
            file = folder / row["path"].partition(f"/{name}/")[2]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(row["content"])


def load_from_folder(shared: str, name: str, folder: Path) -> PipelineModel:
    """Load a model that `save_to_folder` wrote.

    Args:
        shared: Folder that the engine and this machine reach, or a URI, which holds a copy.
        name: Of that copy.
        folder: The local folder.
    """
    from pyspark.ml import PipelineModel

    if is_uri(shared):
        return PipelineModel.load(_place(shared, name))
    copied = _place(shared, uuid.uuid4().hex)
    with _passing_through(copied):
        shutil.copytree(folder, copied)
        return PipelineModel.load(copied)


@contextmanager
def _passing_through(place: str) -> Iterator[None]:
    """Remove a model's folder after the block, and before it what killed runs have left there.

    At a URI nothing is removed: the copies there are loaded from.
    """
    if is_uri(place):
        yield
        return
    for left in Path(place).parent.glob("*"):
        with suppress(FileNotFoundError):  # another task has just removed its own
            if time.time() - left.stat().st_mtime > _LEFT_AFTER_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _place(shared: str, name: str) -> str:
    return f"{absolute(shared)}/_models/{name}"
