"""CSVs parsed together give what each gives alone."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bronze.lines import KLINES_SCHEMA, parse_lines, parse_whole

HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
)
CANDLE = b"1577836800000,1.5,2,1,1.25,10.00000000,1577836859999,15.5,7,4,6.1,0\n"
NUMBERS = st.decimals(-(10**9), 10**9, allow_nan=False, allow_infinity=False, places=8).map(
    "{:f}".format
)
INTEGERS = st.integers(-(2**63), 2**63 - 1).map(str)
LINES = st.tuples(*(INTEGERS if n in (0, 6, 8) else NUMBERS for n in range(11)), st.just("0")).map(
    lambda fields: ",".join(fields).encode() + b"\n"
)
BODIES = st.builds(
    lambda header, lines, cut: ((HEADER if header else b"") + b"".join(lines))[
        : -1 if cut else None
    ],
    st.booleans(),
    st.lists(LINES, min_size=1, max_size=5),
    st.booleans(),
)
NOT_WHOLE = (
    b"",
    HEADER,
    HEADER.rstrip(b"\n"),
    CANDLE + b"\n",
    CANDLE + b"1,2,3\n",
    CANDLE + b"1,2,3",
    CANDLE.replace(b"\n", b"\r\n"),
    CANDLE.replace(b"1.5", b"1e5"),
    CANDLE.replace(b"1.5", b"9" * 400),
    CANDLE.replace(b"1.5", b""),
    CANDLE.rstrip(b"\n") + b",0\n",
)


@settings(max_examples=50, deadline=None)
@given(st.lists(BODIES, min_size=1, max_size=6))
def test_together_they_are_what_each_is_alone(bodies: list[bytes]) -> None:
    whole = parse_whole(bodies)
    assert whole is not None
    alone = [parse_lines(body) for body in bodies]
    assert whole.klines == pa.concat_tables([each.klines for each in alone]).combine_chunks()
    assert whole.klines.schema == KLINES_SCHEMA
    assert whole.counts.tolist() == [each.klines.num_rows for each in alone]
    assert all(each.rejected.num_rows == 0 for each in alone)


@pytest.mark.parametrize("damaged", NOT_WHOLE)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_one_that_needs_a_closer_look_is_never_taken_with_the_others(
    damaged: bytes, at: int
) -> None:
    good = [HEADER + CANDLE, CANDLE * 3]
    assert parse_whole(good) is not None
    assert parse_whole([*good[:at], damaged, *good[at:]]) is None


def test_none_at_all_is_not_whole() -> None:
    assert parse_whole([]) is None
