"""Contracts of the bronze tables: raw candles as published, with their provenance.

`archive_files` is the ledger: one row for each source file says how its last reading ended.
"""

from typing import Literal, get_args

from bronze.archive import MARKET_PATHS, Cadence
from lakehouse.contracts import Column, TableContract

FileStatus = Literal[
    "ingested",
    "missing_checksum",
    "checksum_mismatch",
    "corrupt_zip",
    "unexpected_content",
    "download_failed",
]
TimeUnit = Literal["s", "ms", "us"]

# What the ledger keeps of a content that was replaced.
FORMER_FIELDS = (
    "sha256: STRING, rows: BIGINT, ingested_at: TIMESTAMP, replaced_at: TIMESTAMP, version: BIGINT"
)


def _is_one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


_MARKET_CHECK = {"known_market": _is_one_of("market", tuple(MARKET_PATHS))}
_LINE_CHECK = {"line_from_one": "line >= 1"}

_SOURCE_FILE = Column(
    "source_file", "STRING", "Archive key of the ZIP, from data/ on", nullable=False
)
_MARKET = Column(
    "market", "STRING", "spot, or um (USDT-margined perpetual futures)", nullable=False
)
_INTERVAL = Column("interval", "STRING", "Bar interval in Binance's spelling (4h)", nullable=False)
_SYMBOL = Column("symbol", "STRING", "Trading pair or contract (BTCUSDT)", nullable=False)
_MONTH = Column("month", "STRING", "UTC month of the file's period (2025-01)", nullable=False)
_LINE = Column(
    "line", "BIGINT", "Physical line in the CSV from 1, a header counted", nullable=False
)

ARCHIVE_FILES = TableContract(
    layer="bronze",
    name="archive_files",
    comment="Ledger of the source files: one row each, how its last reading ended",
    columns=(
        _SOURCE_FILE,
        _MARKET,
        _INTERVAL,
        _SYMBOL,
        _MONTH,
        Column(
            "period", "STRING", "UTC month (2025-01) or day (2020-01-01) it covers", nullable=False
        ),
        Column("cadence", "STRING", "How it is published: monthly or daily", nullable=False),
        # When a republished file is refused, bronze keeps the lines of the last good one, and the
        # columns on its content still speak of it: size_bytes, sha256, rows to time_unit.
        Column("size_bytes", "BIGINT", "Size of the ZIP; NULL if it could not be had"),
        Column("sha256", "STRING", "SHA-256 of the ZIP's bytes; NULL if it could not be had"),
        Column("published_sha256", "STRING", "SHA-256 of its CHECKSUM file; NULL if it has none"),
        Column("status", "STRING", f"One of {', '.join(get_args(FileStatus))}", nullable=False),
        Column("error", "STRING", "Why it was not ingested; NULL if it was"),
        Column("rows", "BIGINT", "Lines in bronze.klines; 0 if never ingested", nullable=False),
        Column("rejected_lines", "BIGINT", "Lines in bronze.rejected_lines", nullable=False),
        Column("has_header", "BOOLEAN", "Whether line 1 is a header; NULL if never read"),
        Column("time_unit", "STRING", "Unit of the times: s, ms or us; NULL if never ingested"),
        Column(
            "superseded_by", "STRING", "Monthly file whose lines took the place of this daily's"
        ),
        Column(
            "former",
            f"ARRAY<STRUCT<{FORMER_FIELDS}>>",
            "Contents that were replaced, oldest first, and the version of bronze.klines that "
            "still has their lines; NULL if none",
        ),
        Column("run_id", "STRING", "Run that read it last, as in ops.task_runs", nullable=False),
        Column("ingested_at", "TIMESTAMP", "When that run read it, UTC", nullable=False),
    ),
    key=("source_file",),
    # Runs on two markets or intervals at once then write different files.
    partitioned_by=("market", "interval"),
    checks={
        **_MARKET_CHECK,
        "known_cadence": _is_one_of("cadence", get_args(Cadence)),
        "known_status": _is_one_of("status", get_args(FileStatus)),
        "known_time_unit": f"time_unit IS NULL OR {_is_one_of('time_unit', get_args(TimeUnit))}",
        "error_unless_ingested": "(status = 'ingested') = (error IS NULL)",
        "rows_when_ingested": "status != 'ingested' OR rows > 0 OR superseded_by IS NOT NULL",
        "rejected_lines_counted": "rejected_lines >= 0",
    },
)

KLINES = TableContract(
    layer="bronze",
    name="klines",
    comment="Candles exactly as published, one row for each line that parses",
    columns=(
        _SOURCE_FILE,
        _LINE,
        _MARKET,
        _INTERVAL,
        _SYMBOL,
        _MONTH,
        Column("open_time", "BIGINT", "Bar's open since the epoch, UTC, in the file's time_unit"),
        Column("open", "DOUBLE", "First price, in the quote asset"),
        Column("high", "DOUBLE", "Highest price, in the quote asset"),
        Column("low", "DOUBLE", "Lowest price, in the quote asset"),
        Column("close", "DOUBLE", "Last price, in the quote asset"),
        Column("volume", "DOUBLE", "Traded amount, in the base asset"),
        Column("close_time", "BIGINT", "Bar's last instant, UTC, in the file's time_unit"),
        Column("quote_volume", "DOUBLE", "Traded amount, in the quote asset"),
        Column("trades", "BIGINT", "Number of trades"),
        Column("taker_buy_base", "DOUBLE", "Part of volume that takers bought, in the base asset"),
        Column("taker_buy_quote", "DOUBLE", "Part of quote_volume that takers bought"),
    ),
    key=("source_file", "line"),
    partitioned_by=("market", "interval", "month"),
    checks={**_MARKET_CHECK, **_LINE_CHECK},
    # Statistics cost as much as a column to write, and a month, which is all that a reader looks
    # for, is a partition: its few files hold every symbol.
    skip_by=(),
)

REJECTED_LINES = TableContract(
    layer="bronze",
    name="rejected_lines",
    comment="Lines of the source files that do not parse, with the reason",
    columns=(
        _SOURCE_FILE,
        _LINE,
        _MARKET,
        _INTERVAL,
        _SYMBOL,
        Column(
            "text",
            "STRING",
            "The line without its line end; bytes that are not UTF-8 stand as U+FFFD",
            nullable=False,
        ),
        Column("reason", "STRING", "Why it does not parse", nullable=False),
    ),
    key=("source_file", "line"),
    partitioned_by=("market", "interval"),
    checks={**_MARKET_CHECK, **_LINE_CHECK},
)

EXCHANGE_SYMBOLS = TableContract(
    layer="bronze",
    name="exchange_symbols",
    comment="What the exchange said of its symbols, one row for each symbol and snapshot",
    columns=(
        Column("snapshot_time", "TIMESTAMP", "When the run asked, UTC", nullable=False),
        _MARKET,
        _SYMBOL,
        Column("status", "STRING", "TRADING, or why it does not trade", nullable=False),
        Column("base_asset", "STRING", "What is traded: ADA of ADAEUR", nullable=False),
        Column("quote_asset", "STRING", "What it is paid in: EUR of ADAEUR", nullable=False),
        Column("contract_type", "STRING", "Of a future, such as PERPETUAL; NULL for spot"),
        Column("quote_volume", "DOUBLE", "Traded in the 24 h before, in the quote asset"),
        Column("run_id", "STRING", "Run that asked, as in ops.task_runs", nullable=False),
    ),
    key=("snapshot_time", "market", "symbol"),
    checks={**_MARKET_CHECK, "volume_not_negative": "quote_volume IS NULL OR quote_volume >= 0"},
)

ARCHIVE_SYMBOLS = TableContract(
    layer="bronze",
    name="archive_symbols",
    comment="Symbols that the archive names, delisted too, and what it lacks of the universe's",
    columns=(
        _MARKET,
        _INTERVAL,
        _SYMBOL,
        # Files are listed of the universe's symbols alone.
        Column("first_month", "STRING", "UTC month of its first file; NULL outside the universe"),
        Column("last_month", "STRING", "UTC month of its last file; NULL outside the universe"),
        Column("files", "BIGINT", "Files listed, monthly and daily; NULL outside the universe"),
        Column(
            "missing",
            "ARRAY<STRING>",
            "Months, and days of months without a monthly file, that lie between two files but "
            "have none",
            nullable=False,
        ),
        Column("run_id", "STRING", "Run that saw this first, as in ops.task_runs", nullable=False),
        Column("listed_at", "TIMESTAMP", "When that run listed the archive, UTC", nullable=False),
    ),
    key=("market", "interval", "symbol"),
    partitioned_by=("market", "interval"),
    checks=_MARKET_CHECK,
)
