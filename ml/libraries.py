"""Which libraries compute the figures of a run: on them their last bits may depend."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from lakehouse.java import find_java

if TYPE_CHECKING:
    from lakehouse.tasks import TaskContext

_COMPUTING = ("numpy", "pyspark", "scikit-learn")


def libraries(context: TaskContext) -> str:
    """Names and versions, such as `numpy 2.4.1, pyspark 4.2.0, …, Spark 4.2.0, Java 17.0.15`.

    Java is named when the engine runs on this machine; elsewhere Spark's release stands for it.
    """
    names = [*_installed(), f"Spark {context.spark.version}"]
    spark = context.settings.spark
    if spark.remote is None and (spark.master or "").startswith("local"):
        names.append(f"Java {_java()}")
    return ", ".join(names)


@cache
def _installed() -> tuple[str, ...]:
    return tuple(f"{name} {version(name)}" for name in _COMPUTING)


@cache
def _java() -> str:
    return find_java().found.partition(" ")[0]
