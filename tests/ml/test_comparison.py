import csv
import io
from typing import cast

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.ml import PipelineModel

from lakehouse.reproduction import Comparison
from ml.comparison import compare
from ml.results import ModelResult

NO_MODEL = cast(PipelineModel, None)


def as_csv(table: pa.Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return text.getvalue().encode()


def compared(
    recorded: pa.Table, reproduced: pa.Table, **metrics: tuple[float, float]
) -> dict[str, Comparison]:
    result = ModelResult(
        {name: value for name, (_, value) in metrics.items()}, reproduced, NO_MODEL
    )
    before = {name: value for name, (value, _) in metrics.items()}
    return {each.what: each for each in compare(before, as_csv(recorded), result, ())}


@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20),
    metric=st.floats(allow_nan=False),
)
@settings(deadline=None, max_examples=60)
def test_any_double_survives_the_record_to_the_last_bit(values: list[float], metric: float) -> None:
    table = pa.table(
        {"symbol": [f"S{n}" for n in range(len(values))], "value": pa.array(values, pa.float64())}
    )
    found = compared(table, table, rmse=(metric, metric))
    assert all(each.same and each.difference == "0" for each in found.values())


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), place=st.integers(0, 19))
@settings(deadline=None, max_examples=40)
def test_one_last_bit_is_a_difference(values: list[float], place: int) -> None:
    changed = list(values)
    at = place % len(values)
    changed[at] = float(np.nextafter(values[at], np.inf))
    found = compared(
        pa.table({"value": values}), pa.table({"value": changed}), rmse=(values[at], changed[at])
    )
    assert not found["model output: value"].same
    assert found["model output: value"].difference != "0"
    assert not found["rmse"].same


def test_the_sign_of_a_zero_is_a_difference() -> None:
    found = compared(pa.table({"value": [0.0]}), pa.table({"value": [-0.0]}))
    assert not found["model output: value"].same
    assert compared(pa.table({"value": [-0.0]}), pa.table({"value": [-0.0]}))[
        "model output: value"
    ].same


def test_texts_and_numbers_are_told_apart_by_how_many_differ() -> None:
    before = pa.table({"symbol": ["A", "B", "C"], "cluster": [0, 1, 2]})
    after = pa.table({"symbol": ["A", "B", "D"], "cluster": [0, 2, 1]})
    found = compared(before, after)
    assert found["model output: symbol"].difference == "1 values"
    assert found["model output: cluster"].difference == "2 values"
    assert compared(before, before)["model output: symbol"].same


def test_a_text_like_null_stays_a_text() -> None:
    table = pa.table({"symbol": ["NULL", "NA", ""]})
    assert compared(table, table)["model output: symbol"].same


def test_other_rows_are_a_difference() -> None:
    [found] = compared(pa.table({"value": [1.0, 2.0]}), pa.table({"value": [1.0]})).values()
    assert not found.same
    assert found.difference == "other rows"


def test_what_was_not_recorded_is_a_difference() -> None:
    result = ModelResult({"rmse": 0.5}, pa.table({"value": [1.0], "more": ["A"]}), NO_MODEL)
    metric, column, more = compare({}, as_csv(pa.table({"value": [1.0]})), result, ())
    assert (metric.what, metric.recorded, metric.same) == ("rmse", "missing", False)
    assert column.same
    assert (more.what, more.recorded, more.same) == ("model output: more", "missing", False)


def test_what_the_fit_lacks_is_a_difference_unless_it_lies_beside_it() -> None:
    # A metric that became NaN is left out of the fit's.
    result = ModelResult({"rmse": 0.5}, pa.table({"symbol": ["A"]}), NO_MODEL)
    output = as_csv(pa.table({"symbol": ["A"], "component_2": [0.1]}))
    recorded = {"rmse": 0.5, "oos_r2": 0.01, "share": 0.3}
    found = {each.what: each for each in compare(recorded, output, result, {"share"})}
    assert set(found) == {"rmse", "oos_r2", "model output: symbol", "model output: component_2"}
    differing = {what for what, each in found.items() if not each.same}
    assert differing == {"oos_r2", "model output: component_2"}
    assert all(found[what].reproduced == "missing" for what in differing)
