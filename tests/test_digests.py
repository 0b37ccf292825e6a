import math

import pyarrow as pa

from tests.digests import digest_of

ROWS = pa.table({"a": ["x", "y", None], "b": [1.5, 0.0, None], "c": [["p"], [], None]})


def test_a_digest_is_of_the_rows_in_any_order() -> None:
    assert digest_of(ROWS) == digest_of(ROWS.take([2, 0, 1]))
    assert digest_of(ROWS).startswith("3 rows ")


def test_a_digest_tells_the_last_bit_the_sign_of_zero_null_and_a_repeated_row() -> None:
    changed = [
        ROWS.set_column(1, "b", pa.array(values))
        for values in (
            [math.nextafter(1.5, 2.0), 0.0, None],
            [1.5, -0.0, None],
            [1.5, 0.0, math.nan],
            [0.0, 1.5, None],
        )
    ]
    changed += [ROWS.take([0, 1, 2, 2]), ROWS.slice(1), ROWS.rename_columns(["a", "c", "b"])]
    digests = {digest_of(each) for each in [ROWS, *changed]}
    assert len(digests) == len(changed) + 1
