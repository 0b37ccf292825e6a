"""A fit beside its record: every metric, and what the model says, compared to the last bit."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from gold.returns import FloatArray
from lakehouse.arrow_file import arrow_file
from lakehouse.reproduction import Comparison
from ml.results import ModelResult

_MISSING, _NONE = "missing", "0"


def compare(
    metrics: Mapping[str, float], output: bytes, result: ModelResult, beside: Collection[str]
) -> list[Comparison]:
    """Compare what a run recorded with a fit.

    Args:
        metrics: Recorded metrics.
        output: Recorded output of the model, as CSV with all digits.
        result: The fit.
        beside: Recorded metrics that are none of the fit, and are left out.

    Returns:
        A comparison for each metric and each column of the output that either has; what one of
        them lacks is a difference.
    """
    names = [*result.metrics, *sorted(set(metrics) - set(result.metrics) - set(beside))]
    found = [_of_metric(name, metrics.get(name), result.metrics.get(name)) for name in names]
    types = {field.name: field.type for field in result.output.schema}
    recorded = pa_csv.read_csv(
        arrow_file(output),
        convert_options=pa_csv.ConvertOptions(column_types=types, strings_can_be_null=False),
    )
    columns = dict.fromkeys([*types, *recorded.column_names])
    return found + [_of_column(name, recorded, result.output) for name in columns]


def _of_metric(name: str, recorded: float | None, reproduced: float | None) -> Comparison:
    if recorded is None or reproduced is None:
        one, other = (
            _MISSING if value is None else repr(value) for value in (recorded, reproduced)
        )
        return Comparison(name, one, other, _MISSING, same=False)
    same = recorded == reproduced
    difference = _NONE if same else f"{abs(recorded - reproduced):.3g}"
    return Comparison(name, repr(recorded), repr(reproduced), difference, same)


def _of_column(name: str, recorded: pa.Table, reproduced: pa.Table) -> Comparison:
    """All values of a column of the output at once."""
    what = f"model output: {name}"
    one, other = (
        f"{table.num_rows:,} values" if name in table.column_names else _MISSING
        for table in (recorded, reproduced)
    )
    if _MISSING in (one, other):
        return Comparison(what, one, other, _MISSING, same=False)
    if recorded.num_rows != reproduced.num_rows:
        return Comparison(what, one, other, "other rows", same=False)
    difference = _difference(recorded[name].combine_chunks(), reproduced[name].combine_chunks())
    return Comparison(what, one, other, difference, difference == _NONE)


def _difference(recorded: pa.Array, reproduced: pa.Array) -> str:
    """How far as many values are apart, in words."""
    if pa.types.is_floating(recorded.type):
        one, other = _numbers(recorded), _numbers(reproduced)
        if one.tobytes() == other.tobytes():
            return _NONE
        # 0 stays for a zero of another sign.
        return f"at most {np.max(np.abs(one - other)):.1e}"
    pairs = zip(recorded.to_pylist(), reproduced.to_pylist(), strict=True)
    differing = sum(one != other for one, other in pairs)
    return f"{differing:,} values" if differing else _NONE


def _numbers(column: pa.Array) -> FloatArray:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
