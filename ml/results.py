"""What a fit gives, so that it can be had again and compared: the same for every experiment.

Each experiment has a function `TaskContext -> ModelResult` that only computes: it reads tables
through `context.lake` and neither writes tables nor tracks a run. The task tracks and writes what
it gives; `candlelake reproduce` calls it with a lake that reads the recorded Delta versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.ml import PipelineModel


@dataclass(frozen=True)
class ModelResult:
    """One fit of an experiment.

    Attributes:
        metrics: What the run logs about the fit, by name; none is NaN.
        output: What the model says, as a small table in a fixed order of rows: texts, whole
            numbers and doubles. Two fits are the same when their tables are, to the last bit.
        model: The fitted model, as it is registered.
    """

    metrics: Mapping[str, float]
    output: pa.Table
    model: PipelineModel
