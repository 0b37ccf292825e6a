"""A member's CSV bytes in, candles and rejected lines out: every physical line in one of them.

A line has 12 fields; the twelfth (`ignore`) is dropped. A number is a plain decimal, with a minus
sign, a point or an exponent, and nothing else: no blank, plus sign, hexadecimal, NaN or infinity.
DOUBLEs are the correctly rounded value of the published decimal. Lines end with LF or CRLF.
"""

import math
import re
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from bronze.contracts import TimeUnit
from lakehouse.arrow_file import arrow_file

_INTEGER_COLUMNS = ("open_time", "close_time", "trades")
_COLUMNS = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "trades",
    "taker_buy_base",
    "taker_buy_quote",
)
_FIELDS = len(_COLUMNS) + 1

_VALUE_TYPES = {name: pa.int64() if name in _INTEGER_COLUMNS else pa.float64() for name in _COLUMNS}
KLINES_SCHEMA = pa.schema({"line": pa.int64(), **_VALUE_TYPES})
REJECTED_SCHEMA = pa.schema({"line": pa.int64(), "text": pa.string(), "reason": pa.string()})
# Not `empty_table`: as most of what makes arrays of Python's or numpy's, it imports pandas, which
# takes each new worker longer than it reads.
_NONE_REJECTED = pa.Table.from_batches([], REJECTED_SCHEMA)

_PARSE = csv.ParseOptions(quote_char=False, ignore_empty_lines=False)
_CONVERT = csv.ConvertOptions(
    column_types=_VALUE_TYPES,
    include_columns=list(_COLUMNS),
    null_values=[],
    strings_can_be_null=False,
)

# What a good body is made of. Arrow also takes blanks, hexadecimal, NaN and a lone CR as line
# end: a body with any other byte goes line by line, where `_INTEGER` and `_NUMBER` decide.
_PLAIN_BYTES = b"0123456789.,-\n"
_NEWLINE = ord("\n")
_INTEGER = re.compile(rb"-?[0-9]+")
_NUMBER = re.compile(rb"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NAME = re.compile(rb'[ "]*[A-Za-z]')
_INT64_DIGITS = 19
# A plain decimal needs more digits than these to overflow a DOUBLE to infinity.
_FINITE_DIGITS = 308
_SHOWN_BYTES = 40

# Open times before the year 5138 in seconds, and after 1973 in milliseconds and microseconds.
MIN_MILLISECONDS = 100_000_000_000
MIN_MICROSECONDS = 100_000_000_000_000

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ParsedLines:
    """The lines of one CSV.

    Attributes:
        has_header: Whether line 1 is a header, and therefore in neither table.
        klines: `KLINES_SCHEMA`, by line; no NULL.
        rejected: `REJECTED_SCHEMA`, by line; no NULL.
    """

    has_header: bool
    klines: pa.Table
    rejected: pa.Table


@dataclass(frozen=True)
class WholeLines:
    """The lines of several CSVs of which none has a line to reject, one CSV after the other.

    Attributes:
        klines: `KLINES_SCHEMA`; no NULL.
        counts: (CSVs,) candles of each, all above 0.
    """

    klines: pa.Table
    counts: IntArray


def parse_lines(body: bytes) -> ParsedLines:
    """Parse a CSV; `line` counts its physical lines from 1, a header included.

    A newline at the end ends the last line and begins none; an empty line elsewhere is rejected.
    """
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n")
    has_header = _is_header(body)
    whole = parse_whole([body])
    if whole is not None:
        return ParsedLines(has_header, whole.klines, _NONE_REJECTED)
    lines = _after_header(body, has_header).split(b"\n")
    if not lines[-1]:
        lines.pop()
    return ParsedLines(has_header, *_parse_by_line(lines, 2 if has_header else 1))


def parse_whole(bodies: Sequence[bytes]) -> WholeLines | None:
    """Parse CSVs together, as `parse_lines` does each; None if one of them needs a closer look.

    Many small CSVs cost little more than one of their size. A CSV needs a closer look when it
    holds no candle, a line to reject, a CRLF, or a number that is not written plainly.
    """
    headers = [_is_header(body) for body in bodies]
    parts = [_after_header(body, header) for body, header in zip(bodies, headers, strict=True)]
    if not parts or not all(parts):
        return None
    ended = [part if part.endswith(b"\n") else part + b"\n" for part in parts]
    values = _parse_plain(b"".join(ended))
    if values is None:
        return None
    counts = np.array([part.count(b"\n") for part in ended], dtype=np.int64)
    firsts = np.array(headers, dtype=np.int64) + 1
    skipped = np.concatenate(([0], np.cumsum(counts)[:-1]))
    numbers = np.arange(counts.sum()) + np.repeat(firsts - skipped, counts)
    return WholeLines(_numbered(numbers, values), counts)


def time_unit(open_times: IntArray) -> TimeUnit:
    """Unit of a file's published open times, as `time_unit_of` tells it."""
    milliseconds = int(np.count_nonzero(open_times >= MIN_MILLISECONDS))
    microseconds = int(np.count_nonzero(open_times >= MIN_MICROSECONDS))
    return time_unit_of(open_times.size, milliseconds, microseconds)


def time_unit_of(rows: int, milliseconds: int, microseconds: int) -> TimeUnit:
    """Unit of a file's published open times: that of most of them, so that no stray one decides.

    Args:
        rows: Open times.
        milliseconds: Those of at least `MIN_MILLISECONDS`.
        microseconds: Those of at least `MIN_MICROSECONDS`.
    """
    counts: dict[TimeUnit, int] = {
        "ms": milliseconds - microseconds,
        "us": microseconds,
        "s": rows - milliseconds,
    }
    return max(counts, key=counts.__getitem__)


def _is_header(body: bytes) -> bool:
    # As many names as columns. A damaged first candle has a number left somewhere, or too few
    # fields, and is rejected with its text instead.
    end = body.find(b"\n")
    first = body if end < 0 else body[:end]
    fields = first.removeprefix(BOM_UTF8).split(b",")
    return len(fields) == _FIELDS and all(map(_NAME.match, fields))


def _after_header(body: bytes, has_header: bool) -> bytes:
    return body.partition(b"\n")[2] if has_header else body


def _parse_plain(data: bytes) -> pa.Table | None:
    """The values of lines that all end in a newline; None if any line needs a closer look."""
    if data.translate(None, _PLAIN_BYTES):
        return None
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _NEWLINE)
    if np.diff(ends, prepend=-1).max() > _FINITE_DIGITS:
        return None
    try:
        values = _read_numbers(data)
    except pa.ArrowInvalid:
        return None
    return values if values.num_rows == ends.size else None


def _parse_by_line(lines: list[bytes], first_line: int) -> tuple[pa.Table, pa.Table]:
    """The klines and the rejected lines, after a look at every field."""
    good: list[bytes] = []
    good_lines: list[int] = []
    rejected: list[tuple[int, str, str]] = []
    for number, line in enumerate(lines, first_line):
        fields = line.split(b",")
        reason = _rejection(fields)
        if reason is None:
            # The twelfth field may hold anything, a lone CR included: Arrow must not see it.
            good.append(b",".join([*fields[:-1], b"\n"]))
            good_lines.append(number)
        else:
            rejected.append((number, line.decode("utf-8", "replace"), reason))
    values = _read_numbers(b"".join(good)) if good else pa.schema(_VALUE_TYPES).empty_table()
    return _numbered(np.array(good_lines, dtype=np.int64), values), _rejected_table(rejected)


def _rejection(fields: list[bytes]) -> str | None:
    """Why a line with these fields does not parse; None if it does."""
    if fields == [b""]:
        return "empty line"
    if len(fields) != _FIELDS:
        return f"expected {_FIELDS} fields, found {len(fields)}"
    for name, field in zip(_COLUMNS, fields[:-1], strict=True):
        fault = _integer_fault(field) if name in _INTEGER_COLUMNS else _number_fault(field)
        if fault is not None:
            return f"{name} {fault}: {_shown(field)}" if field else f"{name} is empty"
    return None


def _shown(field: bytes) -> str:
    # A reason is one line on a terminal, whatever control characters a file holds.
    text = field[:_SHOWN_BYTES].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _integer_fault(field: bytes) -> str | None:
    if not _INTEGER.fullmatch(field):
        return "is not an integer"
    # Digits are counted first: Python refuses to convert thousands of them.
    digits = field.lstrip(b"-0")
    limit = 2**63 if field.startswith(b"-") else 2**63 - 1
    in_range = len(digits) <= _INT64_DIGITS and int(digits or 0) <= limit
    return None if in_range else "is out of range"


def _number_fault(field: bytes) -> str | None:
    if not _NUMBER.fullmatch(field):
        return "is not a number"
    return None if math.isfinite(float(field)) else "is out of range"


def _read_numbers(data: bytes) -> pa.Table:
    """Parse plain lines, all of 12 fields, as one chunk.

    Raises:
        pyarrow.ArrowInvalid: A line has another number of fields, or a field is no number.
    """
    read = csv.ReadOptions(
        use_threads=False, block_size=len(data) + 1, column_names=[*_COLUMNS, "ignore"]
    )
    # The streaming reader parses in this thread; read_csv hands the bytes to another and waits.
    # Another reads ahead all the same, and may hold the file when the reader is done.
    with csv.open_csv(
        arrow_file(data), read_options=read, parse_options=_PARSE, convert_options=_CONVERT
    ) as reader:
        return reader.read_all()


def _numbered(numbers: IntArray, values: pa.Table) -> pa.Table:
    column = pa.Array.from_buffers(pa.int64(), numbers.size, [None, pa.py_buffer(numbers)])
    return values.add_column(0, "line", column)


def _rejected_table(rejected: list[tuple[int, str, str]]) -> pa.Table:
    if not rejected:
        return _NONE_REJECTED
    columns = [
        pa.array(values, field.type)
        for values, field in zip(zip(*rejected, strict=True), REJECTED_SCHEMA, strict=True)
    ]
    return pa.table(columns, schema=REJECTED_SCHEMA)
