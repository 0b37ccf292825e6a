"""A fit beside its record: every metric, and what the model says, compared to the last bit."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from lakehouse.reproduction import Comparison
from ml.results import ModelResult

_MISSING = "missing"


def compare(metrics: Mapping[str, float], output: bytes, result: ModelResult) -> list[Comparison]:
    """Compare what a run recorded with a fit.

    Args:
        metrics: Recorded metrics; those that are no metrics of the fit are left out.
        output: Recorded output of the model, as CSV with all digits.
        result: The fit.

    Returns:
        A comparison for each metric of the fit, and for each column of its output.
    """
    found = [_of_metric(name, metrics.get(name), value) for name, value in result.metrics.items()]
    types = {field.name: field.type for field in result.output.schema}
    recorded = pa_csv.read_csv(
        io.BytesIO(output),
        convert_options=pa_csv.ConvertOptions(column_types=types, strings_can_be_null=False),
    )
    return found + [_of_column(name, recorded, result.output) for name in types]


def _of_metric(name: str, recorded: float | None, reproduced: float) -> Comparison:
    if recorded is None:
        return Comparison(name, _MISSING, repr(reproduced), _MISSING, same=False)
    same = recorded == reproduced
    difference = "0" if same else f"{abs(recorded - reproduced):.3g}"
    return Comparison(name, repr(recorded), repr(reproduced), difference, same)


def _of_column(name: str, recorded: pa.Table, reproduced: pa.Table) -> Comparison:
    """All values of a column of the output at once."""
    what = f"model output: {name}"
    rows = (f"{recorded.num_rows:,} values", f"{reproduced.num_rows:,} values")
    if name not in recorded.column_names or recorded.num_rows != reproduced.num_rows:
        return Comparison(what, *rows, "other rows", same=False)
    one, other = recorded[name].combine_chunks(), reproduced[name].combine_chunks()
    if pa.types.is_floating(one.type):
        gap = np.abs(one.to_numpy(zero_copy_only=False) - other.to_numpy(zero_copy_only=False))
        largest = float(np.max(gap, initial=0.0))
        same = largest == 0
        return Comparison(what, *rows, "0" if same else f"at most {largest:.3g}", same)
    differing = sum(a != b for a, b in zip(one.to_pylist(), other.to_pylist(), strict=True))
    words = "0" if not differing else f"{differing:,} values"
    return Comparison(what, *rows, words, not differing)
