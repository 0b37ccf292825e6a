"""Dirty input of every kind, and what each ends as: the cases behind docs/conformance.md.

Each case is one symbol's month of daily candles with one thing wrong. An outcome is the status of
a refused file, the reason of a rejected line, the rules that a refused row breaks, or `taken`.
"""

import hashlib
import io
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support import Row, as_csv, candle, month_of_candles, put_file

MONTH = "2025-01"
TAKEN = "taken"
HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
)
FIRST = datetime(2025, 1, 1, tzinfo=UTC)
GOOD = as_csv(month_of_candles(MONTH, 24))

Publish = Callable[[Path, str], None]


@dataclass(frozen=True)
class Case:
    """One kind of dirty input.

    Attributes:
        what: The input, as the documentation names it.
        outcome: Status, reason, rules, or `taken`.
        publish: Puts it into an archive under a symbol.
    """

    what: str
    outcome: str
    publish: Publish


def name_of(symbol: str, end: str = "csv") -> str:
    return f"{symbol}-1d-{MONTH}.{end}"


def raw(content: bytes) -> Publish:
    """Bytes that are published as the ZIP, with their right checksum."""
    return lambda root, symbol: _put(root, symbol, content, zipped=False)


def body(content: bytes) -> Publish:
    """The bytes of the CSV."""
    return lambda root, symbol: _put(root, symbol, content)


def line(number: int, **changed: object) -> Publish:
    """Good candles but for one line."""
    lines = month_of_candles(MONTH, 24)
    at = FIRST + timedelta(days=number - 1)
    lines[number - 1] = candle(at, 24, 100.0, **changed)
    return body(as_csv(lines))


def text(number: int, content: bytes) -> Publish:
    """Good candles but for the bytes of one line."""
    lines = GOOD.split(b"\n")
    lines[number - 1] = content
    return body(b"\n".join(lines))


def zipped(
    change: Callable[[bytes], bytes] = bytes,
    *,
    content: bytes = GOOD,
    names: Callable[[str], list[str]] = lambda name: [name],
    method: int = zipfile.ZIP_DEFLATED,
) -> Publish:
    """A ZIP made by hand, changed byte by byte."""

    def publish(root: Path, symbol: str) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", method) as archive:
            for name in names(name_of(symbol)):
                archive.writestr(name, content)
        _put(root, symbol, change(packed.getvalue()), zipped=False)

    return publish


def checksum(text_of: Callable[[str, str], str | None]) -> Publish:
    """A good ZIP beside the CHECKSUM text that is made of its name and digest; None for none."""

    def publish(root: Path, symbol: str) -> None:
        key = put_file(root, symbol, MONTH, GOOD, interval="1d", checksum=None)
        path = root / key
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        published = text_of(path.name, digest)
        if published is not None:
            path.with_name(path.name + ".CHECKSUM").write_text(published)

    return publish


def unreadable(root: Path, symbol: str) -> None:
    """A file that is there and has a checksum, and of which no byte can be read."""
    key = put_file(root, symbol, MONTH, GOOD, interval="1d")
    (root / key).unlink()
    (root / key).symlink_to("/proc/self/mem")  # nothing is mapped where it begins


def _put(root: Path, symbol: str, content: bytes, *, zipped: bool = True) -> None:
    put_file(root, symbol, MONTH, content, interval="1d", zipped=zipped)


def _encrypted(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(changed)


def _damaged(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(content) // 2] ^= 0xFF
    return bytes(changed)


def _declared_size(content: bytes, size: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into("<I", changed, content.index(b"PK\x01\x02") + 24, size)
    return bytes(changed)


def _in_unit(per_milli: float) -> bytes:
    lines: list[Row] = [
        [int(row[0] * per_milli), *row[1:6], int((row[6] + 1) * per_milli) - 1, *row[7:]]  # type: ignore[operator]  # candle() gives integers there
        for row in month_of_candles(MONTH, 24)
    ]
    return as_csv(lines)


BROKEN = GOOD.split(b"\n")[4]
EXTRA = candle(FIRST + timedelta(days=8), 24, 100.5)
FEBRUARY = candle(datetime(2025, 2, 1, tzinfo=UTC), 24, 100.0)

FILES = (
    Case("a file whose bytes cannot be had", "download_failed", unreadable),
    Case("a ZIP that is cut short", "corrupt_zip", zipped(lambda zip_: zip_[:-40])),
    Case("an empty file", "corrupt_zip", raw(b"")),
    Case(
        "an HTML error page named .zip",
        "unexpected_content",
        raw(b"<html>Service Unavailable</html>"),
    ),
    Case(
        "a flipped byte inside the ZIP, checksum of the damaged bytes",
        "corrupt_zip",
        zipped(_damaged),
    ),
    Case(
        "a ZIP that declares fewer bytes than it holds",
        "corrupt_zip",
        zipped(lambda z: _declared_size(z, 1000)),
    ),
    Case(
        "bytes that are not those of the published checksum",
        "checksum_mismatch",
        checksum(lambda name, _: f"{'0' * 64}  {name}\n"),
    ),
    Case("no CHECKSUM file", "missing_checksum", checksum(lambda *_: None)),
    Case(
        "a CHECKSUM file that names another file",
        "missing_checksum",
        checksum(lambda _, digest: f"{digest}  other.zip\n"),
    ),
    Case(
        "a CHECKSUM file that is an HTML page",
        "missing_checksum",
        checksum(lambda *_: "<html></html>"),
    ),
    Case("a ZIP without a member", "unexpected_content", zipped(names=lambda _: [])),
    Case(
        "a ZIP with two members",
        "unexpected_content",
        zipped(names=lambda name: [name, "more.csv"]),
    ),
    Case(
        "a member with a path (`../`)",
        "unexpected_content",
        zipped(names=lambda name: [f"../{name}"]),
    ),
    Case("a member of another name", "unexpected_content", zipped(names=lambda _: ["other.csv"])),
    Case("an encrypted member", "unexpected_content", zipped(_encrypted)),
    Case(
        "another compression than deflate (LZMA)",
        "unexpected_content",
        zipped(method=zipfile.ZIP_LZMA),
    ),
    Case("a zip bomb", "unexpected_content", zipped(content=GOOD + b"0" * 10_000_000)),
    Case("an empty CSV", "unexpected_content", body(b"")),
    Case("a header and no candle", "unexpected_content", body(HEADER)),
    Case("an HTML page inside the ZIP", "unexpected_content", body(b"<html>\n</html>\n")),
    Case("UTF-16", "unexpected_content", body(GOOD.decode().encode("utf-16"))),
)
LINES = (
    Case("a word for a number", "open is not a number: n/a", line(5, open="n/a")),
    Case("an empty field", "volume is empty", line(5, volume="")),
    Case("`NaN`", "high is not a number: NaN", line(5, high="NaN")),
    Case("`inf`", "high is not a number: inf", line(5, high="inf")),
    Case("a number beyond a DOUBLE", "volume is out of range: 1e999", line(5, volume="1e999")),
    Case("a number in hexadecimal", "low is not a number: 0x63", line(5, low="0x63")),
    Case("a blank before a number", "low is not a number:  99", line(5, low=" 99")),
    Case("a count with a decimal point", "trades is not an integer: 7.0", line(5, trades="7.0")),
    Case(
        "a time beyond 64 bits",
        f"open_time is out of range: {10**19}",
        text(5, b"1" + b"0" * 19 + BROKEN[13:]),
    ),
    Case("11 fields", "expected 12 fields, found 11", text(5, BROKEN.rpartition(b",")[0])),
    Case("13 fields", "expected 12 fields, found 13", text(5, BROKEN + b",0")),
    Case("an empty line", "empty line", text(5, b"")),
    Case("a second header", "open_time is not an integer: open_time", text(5, HEADER.strip())),
    Case("bytes that are not UTF-8", "expected 12 fields, found 1", text(5, b"\xff\xfe")),
    Case("a line that is cut off at the end", "expected 12 fields, found 3", body(GOOD + b"1,2,3")),
)
ROWS = (
    Case("a high below the low", "high_low, quote_volume_in_range", line(5, high=98.0)),
    Case("a price of zero", "prices_finite_positive", line(5, low=0.0, open=0.0)),
    Case(
        "a negative volume",
        "quote_volume_in_range, taker_within_total, volumes_not_negative",
        line(5, volume=-1.0),
    ),
    Case("trades without volume", "taker_within_total, trades_match_volume", line(5, volume=0.0)),
    Case("takers bought more than was traded", "taker_within_total", line(5, taker_buy_base=11.0)),
    Case(
        "a quote volume outside of [low, high] x volume",
        "quote_volume_in_range",
        line(5, quote_volume=9999.0),
    ),
    Case("a wrong close time", "close_time", line(5, close_time=1)),
    Case(
        "a bar off the grid",
        "open_time_on_grid",
        body(
            as_csv([*month_of_candles(MONTH, 24), candle(FIRST + timedelta(minutes=1), 24, 100.0)])
        ),
    ),
    Case(
        "a bar of another month",
        "open_time_in_period",
        body(as_csv([*month_of_candles(MONTH, 24), FEBRUARY])),
    ),
    Case(
        "a bar that comes twice", "duplicate", body(as_csv([*month_of_candles(MONTH, 24), EXTRA]))
    ),
)
GOOD_ALL_THE_SAME = (
    Case("a header line", TAKEN, body(HEADER + GOOD)),
    Case("a header after a byte order mark", TAKEN, body(b"\xef\xbb\xbf" + HEADER + GOOD)),
    Case("lines that end in CRLF", TAKEN, body(GOOD.replace(b"\n", b"\r\n"))),
    Case("no newline at the end", TAKEN, body(GOOD.rstrip(b"\n"))),
    Case("times in seconds", TAKEN, body(_in_unit(1 / 1000))),
    Case("times in microseconds", TAKEN, body(_in_unit(1000))),
    Case("numbers with an exponent", TAKEN, line(5, volume="1e1")),
    Case("lines out of order", TAKEN, body(as_csv(reversed(month_of_candles(MONTH, 24))))),
    Case("a stored member, not deflated", TAKEN, zipped(method=zipfile.ZIP_STORED)),
    Case(
        "a CHECKSUM file without its newline",
        TAKEN,
        checksum(lambda name, digest: f"{digest}  {name}"),
    ),
    Case(
        "a checksum in capitals",
        TAKEN,
        checksum(lambda name, digest: f"{digest.upper()}  {name}\n"),
    ),
)
CASES = (*FILES, *LINES, *ROWS, *GOOD_ALL_THE_SAME)
