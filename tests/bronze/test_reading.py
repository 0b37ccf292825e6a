import hashlib
import io
import struct
import tracemalloc
import zipfile
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bronze.unpack
from bronze.archive import parse_key
from bronze.lines import KLINES_SCHEMA, REJECTED_SCHEMA
from bronze.reading import FileReading, download_failed, read_archive_file

KEY = parse_key("data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2020-01-01.zip")
assert KEY is not None

HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore"
)
CANDLE = (
    b"1577836800000,7195.24000000,7196.25000000,7183.14000000,7186.68000000,51.64281200,"
    b"1577836859999,371233.51835535,493,19.59823000,140888.41428273,0"
)
INTEGERS = {"open_time", "close_time", "trades"}
COLUMNS = [name for name in KLINES_SCHEMA.names if name != "line"]
ONE = ["1"] * 11 + ["0"]


def zipped(
    body: bytes,
    name: str = KEY.member_name,
    method: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        archive.writestr(name, body)
    return content.getvalue()


def read(content: bytes) -> FileReading:
    assert KEY is not None
    return read_archive_file(KEY, content, hashlib.sha256(content).hexdigest(), True)


def read_lines(*lines: bytes) -> FileReading:
    return read(zipped(b"\n".join(lines) + b"\n"))


def with_field(name: str, text: str) -> bytes:
    fields = CANDLE.decode().split(",")
    fields[COLUMNS.index(name)] = text
    return ",".join(fields).encode()


def is_refused(reading: FileReading, status: str, *words: str) -> None:
    """The reading ended with the status, one line of error and no candle."""
    assert reading.status == status
    assert reading.error is not None
    assert "\n" not in reading.error
    for word in words:
        assert word in reading.error
    assert reading.rows == 0
    assert reading.time_unit is None
    assert reading.klines.schema == KLINES_SCHEMA
    assert reading.rejected.schema == REJECTED_SCHEMA


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def assert_values(reading: FileReading, lines: Mapping[int, Sequence[str]]) -> None:
    """The klines are Python's own reading of these lines' fields, to the last bit."""
    assert reading.klines.schema == KLINES_SCHEMA
    rows = reading.klines.to_pylist()
    assert [row["line"] for row in rows] == sorted(lines)
    for row in rows:
        for name, text in zip(COLUMNS, lines[row["line"]], strict=False):
            if name in INTEGERS:
                assert row[name] == int(text)
            else:
                assert bits(row[name]) == bits(float(text))


def test_a_good_file() -> None:
    content = zipped(HEADER + b"\n" + CANDLE + b"\n" + CANDLE + b"\n")
    reading = read(content)
    assert (reading.status, reading.error) == ("ingested", None)
    assert reading.sha256 == reading.published_sha256 == hashlib.sha256(content).hexdigest()
    assert reading.size_bytes == len(content)
    assert (reading.rows, reading.rejected_lines) == (2, 0)
    assert reading.has_header is True
    assert reading.time_unit == "ms"
    assert_values(reading, dict.fromkeys((2, 3), CANDLE.decode().split(",")))
    assert reading.rejected.schema == REJECTED_SCHEMA


def test_a_stored_member_is_read_too() -> None:
    assert read(zipped(CANDLE, method=zipfile.ZIP_STORED)).rows == 1


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("final_newline", [True, False])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("damaged", [True, False])
def test_lines_are_physical_lines(
    line_end: bytes, final_newline: bool, header: bool, damaged: bool
) -> None:
    lines = [HEADER] * header + [CANDLE, b"1,2,3" if damaged else CANDLE, CANDLE]
    reading = read(zipped(line_end.join(lines) + line_end * final_newline))
    first = 1 + header
    assert reading.has_header is header
    assert reading.klines["line"].to_pylist() == (
        [first, first + 2] if damaged else [first, first + 1, first + 2]
    )
    assert reading.rejected.to_pylist() == (
        [{"line": first + 1, "text": "1,2,3", "reason": "expected 12 fields, found 3"}]
        if damaged
        else []
    )


def test_empty_lines_are_rejected_but_the_final_newline_is_none() -> None:
    reading = read(zipped(CANDLE + b"\n\n" + CANDLE + b"\n\n"))
    assert reading.klines["line"].to_pylist() == [1, 3]
    assert reading.rejected.to_pylist() == [
        {"line": line, "text": "", "reason": "empty line"} for line in (2, 4)
    ]


def test_an_empty_line_and_a_lone_carriage_return_do_not_make_up_for_each_other() -> None:
    # Two candles on one physical line and one empty line: the count of rows alone looks right.
    reading = read(zipped(CANDLE + b"\r" + CANDLE + b"\n\n" + CANDLE + b"\n"))
    assert reading.klines["line"].to_pylist() == [3]
    assert reading.rejected["line"].to_pylist() == [1, 2]
    assert reading.rejected["reason"].to_pylist() == ["expected 12 fields, found 23", "empty line"]


@pytest.mark.parametrize(
    ("first", "is_header"),
    [
        (HEADER, True),
        (b"Open time,Open,High,Low,Close,Volume,a,b,c,d,e,Ignore", True),
        (b"\xef\xbb\xbf" + HEADER, True),
        (b'"' + HEADER.replace(b",", b'","') + b'"', True),
        (CANDLE, False),
        (b"-1" + CANDLE[13:], False),
        (b"x" + CANDLE, False),
        (b"\xef\xbb\xbf" + CANDLE, False),
        (HEADER.removesuffix(b",ignore"), False),
        (b"garbage", False),
        (b",,,,,,,,,,,", False),
        (CANDLE.decode().encode("utf-16"), False),
        (HEADER.replace(b"volume", b"1", 1), False),
        (b"", False),
    ],
)
def test_a_header_has_twelve_names_and_no_number(first: bytes, is_header: bool) -> None:
    reading = read_lines(first, CANDLE)
    assert reading.has_header is is_header
    # What is no header is a candle or a rejected line: nothing vanishes.
    assert reading.rows + reading.rejected_lines == (1 if is_header else 2)


def test_a_second_header_is_a_rejected_line() -> None:
    reading = read_lines(HEADER, CANDLE, HEADER)
    assert reading.rejected.to_pylist() == [
        {
            "line": 3,
            "text": HEADER.decode(),
            "reason": "open_time is not an integer: open_time",
        }
    ]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("open", "abc", "open is not a number: abc"),
        ("open", "", "open is empty"),
        ("open", "nan", "open is not a number: nan"),
        ("open", "NaN", "open is not a number: NaN"),
        ("high", "inf", "high is not a number: inf"),
        ("high", "-Infinity", "high is not a number: -Infinity"),
        ("high", "null", "high is not a number: null"),
        ("low", " 1", "low is not a number:  1"),
        ("low", "1 ", "low is not a number: 1 "),
        ("low", "\t1", "low is not a number: \ufffd1"),
        ("low", "+1", "low is not a number: +1"),
        ("low", "--1", "low is not a number: --1"),
        ("low", "-", "low is not a number: -"),
        ("low", ".", "low is not a number: ."),
        ("low", "1.2.3", "low is not a number: 1.2.3"),
        ("low", "1-2", "low is not a number: 1-2"),
        ("close", "1e", "close is not a number: 1e"),
        ("close", "0x1", "close is not a number: 0x1"),
        ("close", "1_000", "close is not a number: 1_000"),
        ("close", "1'000", "close is not a number: 1'000"),
        ("close", "1\r\x1b[2J", "close is not a number: 1\ufffd\ufffd[2J"),
        ("close", "true", "close is not a number: true"),
        ("close", '"1"', 'close is not a number: "1"'),
        ("close", "\uff11", "close is not a number: \uff11"),  # a full-width 1, a digit to Python
        ("close", "1\x00", "close is not a number: 1\ufffd"),
        ("volume", "1e400", "volume is out of range: 1e400"),
        ("volume", "-1e400", "volume is out of range: -1e400"),
        ("volume", "9" * 400, "volume is out of range: " + "9" * 40),
        ("volume", "x" * 400, "volume is not a number: " + "x" * 40),
        ("trades", "1.5", "trades is not an integer: 1.5"),
        ("trades", "1.", "trades is not an integer: 1."),
        ("trades", "1e3", "trades is not an integer: 1e3"),
        ("trades", "0x1", "trades is not an integer: 0x1"),
        ("trades", " 1", "trades is not an integer:  1"),
        ("trades", "+1", "trades is not an integer: +1"),
        ("trades", "-", "trades is not an integer: -"),
        ("trades", "true", "trades is not an integer: true"),
        ("trades", "", "trades is empty"),
        ("open_time", "9223372036854775808", "open_time is out of range: 9223372036854775808"),
        ("open_time", "-9223372036854775809", "open_time is out of range: -9223372036854775809"),
        ("close_time", "9" * 5000, "close_time is out of range: " + "9" * 40),
        ("taker_buy_quote", "n/a", "taker_buy_quote is not a number: n/a"),
    ],
)
def test_a_field_that_does_not_parse(name: str, text: str, reason: str) -> None:
    line = with_field(name, text)
    reading = read_lines(CANDLE, line, CANDLE)
    assert reading.status == "ingested"
    assert reading.klines["line"].to_pylist() == [1, 3]
    assert reading.rejected.to_pylist() == [{"line": 2, "text": line.decode(), "reason": reason}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("open", "1e3"),
        ("open", "1.5E-7"),
        ("open", "1e+3"),
        ("open", "1e-400"),
        ("open", "0e99999999999999999999"),
        ("open", "5e-324"),
        ("open", "1.7976931348623157e308"),
        ("open", "-0.0"),
        ("open", "1."),
        ("open", "-.5"),
        ("open", "007.10"),
        ("open", "9007199254740993"),
        ("open", "0.1000000000000000055511151231257827021181583404541015626"),
        ("open", "0." + "0" * 500 + "1e500"),
        ("open", "9" * 308),
        ("trades", "007"),
        ("trades", "-0"),
        ("trades", "-5"),
        ("open_time", "9223372036854775807"),
        ("open_time", "-9223372036854775808"),
        ("open_time", "0" * 4000 + "7"),
    ],
)
@pytest.mark.parametrize("others", [[], [b"damaged"]])
def test_a_number_is_the_correctly_rounded_value_of_its_text(
    name: str, text: str, others: list[bytes]
) -> None:
    line = with_field(name, text)
    reading = read_lines(line, *others)
    assert_values(reading, {1: line.decode().split(",")})
    assert reading.rejected_lines == len(others)


@pytest.mark.parametrize("text", ["", "0", "anything", "1\r2", "\xe9", " ", '"'])
def test_the_twelfth_field_is_dropped_whatever_it_holds(text: str) -> None:
    line = CANDLE[:-1] + text.encode("latin-1")
    reading = read_lines(line, CANDLE)
    assert (reading.rows, reading.rejected_lines) == (2, 0)


def test_rejected_text_is_whole_and_valid_utf8() -> None:
    reading = read_lines(CANDLE, b"\xff" + b"x" * 5000 + "é".encode())
    (rejected,) = reading.rejected.to_pylist()
    assert rejected["text"] == "\N{REPLACEMENT CHARACTER}" + "x" * 5000 + "é"


@pytest.mark.parametrize(
    ("open_time", "unit"),
    [
        (0, "s"),
        (1_577_836_800, "s"),
        (10**11 - 1, "s"),
        (10**11, "ms"),
        (1_735_689_600_000, "ms"),
        (10**14 - 1, "ms"),
        (10**14, "us"),
        (1_735_689_600_000_000, "us"),
    ],
)
def test_the_time_unit_is_that_of_most_lines(open_time: int, unit: str) -> None:
    line = with_field("open_time", str(open_time))
    assert read_lines(line).time_unit == unit
    # Neither a line that does not parse nor a stray time decides for the file.
    stray = with_field("open_time", "1" if unit != "s" else "1577836800000")
    assert read_lines(b"damaged", stray, line, line).time_unit == unit


def test_the_checksum_is_compared_before_anything_is_parsed() -> None:
    assert KEY is not None
    content = b"not even a ZIP"
    wrong = "0" * 64
    for required in (True, False):
        reading = read_archive_file(KEY, content, wrong, required)
        is_refused(reading, "checksum_mismatch", wrong, hashlib.sha256(content).hexdigest())
        assert reading.published_sha256 == wrong
        assert reading.has_header is None
    is_refused(read_archive_file(KEY, content, None, True), "missing_checksum")


def test_a_missing_checksum_is_forgiven_when_not_required() -> None:
    assert KEY is not None
    reading = read_archive_file(KEY, zipped(CANDLE), None, False)
    assert (reading.status, reading.published_sha256, reading.rows) == ("ingested", None, 1)


def test_a_failed_download_is_a_reading_too() -> None:
    assert KEY is not None
    reading = download_failed(KEY, None, "the server answered 503")
    is_refused(reading, "download_failed", "503")
    assert (reading.sha256, reading.size_bytes) == (None, None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the member is empty"),
        (HEADER + b"\n", "a header and no candle"),
        (HEADER, "a header and no candle"),
        (b"\n", "no line parses; line 1: empty line"),
        (b"<html>\n</html>\n", "no line parses; line 1: expected 12 fields, found 1"),
        (HEADER + b"\n" + CANDLE[1:] + b",0\n", "no line parses; line 2: expected 12 fields"),
        (CANDLE.decode().encode("utf-16"), "no line parses"),
    ],
)
def test_a_member_without_a_candle(body: bytes, words: str) -> None:
    reading = read(zipped(body))
    is_refused(reading, "unexpected_content", words)
    lines = body.splitlines() if not body.startswith(b"\xff") else [body]
    assert reading.rejected_lines == len(lines) - bool(reading.has_header)


@pytest.mark.parametrize(
    "name",
    [
        "../BTCUSDT-1m-2020-01-01.csv",
        "/etc/BTCUSDT-1m-2020-01-01.csv",
        "a/BTCUSDT-1m-2020-01-01.csv",
        "C:\\BTCUSDT-1m-2020-01-01.csv",
        "BTCUSDT-1m-2020-01-01.csv/",
    ],
)
def test_a_member_with_a_path_is_refused(name: str) -> None:
    is_refused(read(zipped(CANDLE, name)), "unexpected_content", "a member with a path")


@pytest.mark.parametrize(
    "name", ["BTCUSDT-1m-2020-01-02.csv", "btcusdt-1m-2020-01-01.csv", "BTCUSDT-1m-2020-01-01.zip"]
)
def test_a_member_of_another_name_is_refused(name: str) -> None:
    is_refused(read(zipped(CANDLE, name)), "unexpected_content", "a wrong member", name)


def test_a_name_cut_by_nul_is_refused() -> None:
    # Readers that stop at the NUL see the right name.
    name = KEY.member_name if KEY else ""
    content = zipped(CANDLE, name + "-x").replace(b".csv-x", b".csv\0x")
    assert read(content).status in ("unexpected_content", "corrupt_zip")


@pytest.mark.parametrize("names", [[], ["a.csv"], ["../a.csv"], ["folder/"]])
def test_anything_but_one_member_is_refused(names: list[str]) -> None:
    assert KEY is not None
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        if names:
            archive.writestr(KEY.member_name, CANDLE)
        for name in names:
            archive.writestr(name, b"")
    is_refused(read(content.getvalue()), "unexpected_content", f"{2 * len(names)} members")


def test_an_encrypted_member_is_refused() -> None:
    content = bytearray(zipped(CANDLE))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    is_refused(read(bytes(content)), "unexpected_content", "encrypted")


def test_another_compression_method_is_refused() -> None:
    content = zipped(CANDLE * 10, method=zipfile.ZIP_LZMA)
    is_refused(read(content), "unexpected_content", "compression method 14")


@pytest.mark.parametrize("utf8_flag", [True, False])
def test_a_non_ascii_member_name_is_compared_by_its_bytes(utf8_flag: bool) -> None:
    key = parse_key("data/spot/monthly/klines/币安人生USDT/4h/币安人生USDT-4h-2025-01.zip")
    assert key is not None
    content = zipped(CANDLE, key.member_name)
    if not utf8_flag:
        central = content.index(b"PK\x01\x02")
        flags = bytearray(content)
        flags[7] &= ~0x8
        flags[central + 9] &= ~0x8
        content = bytes(flags)
    assert read_archive_file(key, content, None, False).status == "ingested"


def test_a_bomb_by_ratio_is_refused() -> None:
    body = CANDLE + b"0" * 1_000_000
    is_refused(read(zipped(body)), "unexpected_content", "zip bomb", "100 fold")


def test_a_bomb_by_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = zipped(CANDLE)
    monkeypatch.setattr(bronze.unpack, "MAX_MEMBER_BYTES", len(CANDLE))
    assert read(content).status == "ingested"
    monkeypatch.setattr(bronze.unpack, "MAX_MEMBER_BYTES", len(CANDLE) - 1)
    is_refused(read(content), "unexpected_content", "zip bomb", f"declares {len(CANDLE)} bytes")


def test_a_bomb_that_lies_about_its_size_is_never_inflated() -> None:
    content = bytearray(zipped(bytes(50_000_000)))
    central = content.index(b"PK\x01\x02")
    struct.pack_into("<I", content, central + 24, 1000)
    tracemalloc.start()
    try:
        reading = read(bytes(content))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    is_refused(reading, "corrupt_zip")
    assert peak < 2_000_000


def test_a_bomb_that_lies_about_its_ratio_is_never_inflated() -> None:
    content = bytearray(zipped(CANDLE + b"0" * 1_000_000))
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 20, 1_000_000)
    is_refused(read(bytes(content)), "corrupt_zip", "do not agree")


def test_a_directory_that_contradicts_its_member_is_corrupt() -> None:
    assert KEY is not None
    content = zipped(CANDLE)
    renamed = content.replace(KEY.member_name.encode(), b"x" * len(KEY.member_name), 1)
    is_refused(read(renamed), "corrupt_zip", "do not agree")
    shifted = bytearray(content)
    shifted[shifted.index(b"PK\x05\x06") + 16] += 1  # where the directory starts
    is_refused(read(bytes(shifted)), "corrupt_zip", "points outside")


def test_a_deflate_stream_that_is_cut_or_goes_on_is_corrupt() -> None:
    content = zipped(CANDLE)
    central = content.index(b"PK\x01\x02")
    for size in (len(CANDLE) - 1, len(CANDLE) + 1):
        resized = bytearray(content)
        struct.pack_into("<I", resized, central + 24, size)
        is_refused(read(bytes(resized)), "corrupt_zip", f"not of its {size} bytes")


def test_damage_inside_the_zip_is_named() -> None:
    content = zipped(CANDLE, method=zipfile.ZIP_STORED)
    is_refused(read(content.replace(b"7195.24", b"7195.25")), "corrupt_zip", "CRC-32")
    is_refused(read(content[:-30]), "corrupt_zip", "not a whole ZIP")
    is_refused(read(b""), "corrupt_zip", "not a whole ZIP")
    is_refused(read(b"<html>"), "unexpected_content", "no ZIP: it begins '<html>'")
    deflated = bytearray(zipped(CANDLE * 3))
    deflated[60] ^= 0xFF
    is_refused(read(bytes(deflated)), "corrupt_zip")


# What follows holds for any input.

REALISTIC = zipped(b"\n".join([HEADER, CANDLE, CANDLE.replace(b"7195.24", b"7195.99")]))
REALISTIC_SHA256 = hashlib.sha256(REALISTIC).hexdigest()
REALISTIC_KLINES = read(REALISTIC).klines


def damaged(data: st.DataObject) -> bytes:
    content = bytearray(REALISTIC)
    if data.draw(st.booleans(), "cut"):
        return bytes(content[: data.draw(st.integers(0, len(content) - 1), "length")])
    for _ in range(data.draw(st.integers(1, 3), "flips")):
        at = data.draw(st.integers(0, len(content) - 1), "at")
        content[at] ^= data.draw(st.integers(1, 255), "mask")
    return bytes(content)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_never_ingested_and_never_raises(data: st.DataObject) -> None:
    assert KEY is not None
    content = damaged(data)
    if content == REALISTIC:  # two flips of one byte
        return
    reading = read_archive_file(KEY, content, REALISTIC_SHA256, True)
    is_refused(reading, "checksum_mismatch")

    # Without the checksum, a ZIP is taken only if its candles are whole.
    reading = read_archive_file(KEY, content, None, False)
    if reading.status == "ingested":
        assert reading.klines == REALISTIC_KLINES
    else:
        is_refused(reading, reading.status)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_end_as_a_reading(content: bytes) -> None:
    whole = b"PK\x03\x04".startswith(content[:4])
    is_refused(read(content), "corrupt_zip" if whole else "unexpected_content")
    assert read(zipped(content)).status in ("ingested", "unexpected_content")


INTEGER_TEXTS = st.integers(-(2**63), 2**63 - 1).map(str) | st.integers(0, 10**6).map(
    "{:07d}".format
)
NUMBER_TEXTS = (
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12).map(
        "{:f}".format
    )
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.integers(-(10**25), 10**25).map(str)
)
GOOD_LINES = st.tuples(
    *(INTEGER_TEXTS if name in INTEGERS else NUMBER_TEXTS for name in COLUMNS),
    st.sampled_from(["0", "", "x"]),
).map(",".join)
BAD_TEXTS = st.sampled_from(["", " 1", "nan", "inf", "0x1", "1,0", "--1", "1e999", "9" * 330, "é"])
BAD_LINES = st.one_of(
    st.just(""),
    st.sampled_from(["1,2,3", CANDLE.decode() + ",0", HEADER.decode(), "\x00", "{}"]),
    st.builds(
        lambda line, at, text: ",".join([*line.split(",")[:at], text, *line.split(",")[at + 1 :]]),
        GOOD_LINES,
        st.integers(0, 10),
        BAD_TEXTS,
    ),
)


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(
        st.tuples(st.just(True), GOOD_LINES) | st.tuples(st.just(False), BAD_LINES), min_size=1
    ),
    header=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n"]),
    final_newline=st.booleans(),
)
def test_every_line_is_a_candle_or_rejected(
    lines: list[tuple[bool, str]], header: bool, line_end: str, final_newline: bool
) -> None:
    # Without a newline after it, an empty last line does not exist; a leading header is a header.
    if not header and lines[0][1] == HEADER.decode():
        lines = lines[1:]
        header = True
    texts = [text for _, text in lines]
    final_newline = final_newline or not texts or texts[-1] == ""
    body = line_end.join([HEADER.decode()] * header + texts) + line_end * final_newline
    reading = read(zipped(body.encode(), method=zipfile.ZIP_STORED))

    first = 1 + header
    numbered = {first + i: line for i, line in enumerate(lines)}
    good = {number: text.split(",") for number, (is_good, text) in numbered.items() if is_good}
    bad = {number: text for number, (is_good, text) in numbered.items() if not is_good}
    assert reading.status == ("ingested" if good else "unexpected_content")
    assert reading.rows + reading.rejected_lines == len(lines)
    assert_values(reading, good)
    rejected = reading.rejected.to_pylist()
    assert {row["line"]: row["text"] for row in rejected} == bad
    assert all(row["reason"] for row in rejected)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.text("0123456789.-eE+x \r\tnaif", max_size=6), min_size=11, max_size=13),
        min_size=1,
        max_size=4,
    )
)
def test_no_text_is_read_as_a_number_that_it_is_not(lines: list[list[str]]) -> None:
    body = "\n".join(",".join(fields) for fields in lines) + "\n"
    reading = read(zipped(body.encode(), method=zipfile.ZIP_STORED))
    total = len(lines) - bool(reading.has_header)
    assert reading.rows + reading.rejected_lines == total
    taken = reading.klines["line"].to_pylist()
    assert set(taken).isdisjoint(reading.rejected["line"].to_pylist())
    assert_values(reading, {line: lines[line - 1] for line in taken})


@settings(max_examples=100, deadline=None)
@given(
    at=st.integers(0, 10),
    text=st.text("0123456789.-", max_size=25) | st.integers(10**300, 10**320).map(str),
)
def test_the_rules_do_not_depend_on_the_other_lines(at: int, text: str) -> None:
    line = ",".join([*ONE[:at], text, *ONE[at + 1 :]]).encode()
    alone = read_lines(b",".join([b"1"] * 12), line)
    with_damage = read_lines(b",".join([b"1"] * 12), line, b"damaged")
    assert alone.klines == with_damage.klines
    assert alone.rejected == with_damage.rejected.slice(0, alone.rejected_lines)
