"""Contracts of the silver tables."""

from bronze.contracts import KLINES
from lakehouse.contracts import Column, TableContract

_SCOPE = (
    Column("market", "STRING", "spot or um (USDT-margined perpetual futures)", nullable=False),
    Column("interval", "STRING", "Bar length in Binance's spelling", nullable=False),
    Column("symbol", "STRING", "Trading pair", nullable=False),
)

CANDLES = TableContract(
    layer="silver",
    name="candles",
    comment="Clean candles on one grid for each interval; short holes filled flat and flagged",
    columns=(
        *_SCOPE,
        Column("open_time", "TIMESTAMP", "Start of the bar, UTC; known at its close", False),
        Column("open", "DOUBLE", "First price", False),
        Column("high", "DOUBLE", "Highest price", False),
        Column("low", "DOUBLE", "Lowest price", False),
        Column("close", "DOUBLE", "Last price", False),
        Column("volume", "DOUBLE", "Traded amount in the base asset; 0 in a filled bar", False),
        Column("quote_volume", "DOUBLE", "Traded amount in the quote asset", False),
        Column("trades", "BIGINT", "Number of trades", False),
        Column("taker_buy_base", "DOUBLE", "Base amount bought by takers", False),
        Column("taker_buy_quote", "DOUBLE", "Quote amount bought by takers", False),
        Column(
            "is_filled",
            "BOOLEAN",
            "True: no such bar was published, prices are the last close",
            False,
        ),
        Column("segment", "INT", "From 1; a hole longer than max_fill_bars starts the next", False),
        Column(
            "warnings",
            "ARRAY<STRING>",
            "Rules of severity warn that the bar broke; NULL in a filled bar",
        ),
        Column(
            "source_file", "STRING", "Archive key of the file it came from; NULL in a filled bar"
        ),
        Column("line", "BIGINT", "Physical line in that file's CSV; NULL in a filled bar"),
        Column("month", "STRING", "UTC month of open_time, YYYY-MM", False),
    ),
    key=("market", "interval", "symbol", "open_time"),
    partitioned_by=("market", "interval", "month"),
    checks={
        "prices_positive": "low > 0",
        "prices_in_order": "low <= least(open, close) AND high >= greatest(open, close)",
        "volumes_not_negative": "volume >= 0 AND quote_volume >= 0 AND trades >= 0",
        "filled_or_traced": "is_filled = (source_file IS NULL)",
        "segment_from_one": "segment >= 1",
    },
)

REJECTED_CANDLES = TableContract(
    layer="silver",
    name="rejected_candles",
    comment="Bronze rows that are no candle, as published, with every rule they broke",
    columns=(
        *KLINES.columns,
        Column("rules", "ARRAY<STRING>", "Rules of severity reject that the row broke", False),
    ),
    key=("source_file", "line"),
    partitioned_by=("market", "interval"),
    checks={"has_a_rule": "size(rules) > 0"},
)

GAPS = TableContract(
    layer="silver",
    name="gaps",
    comment="Holes between two published bars of a symbol",
    columns=(
        *_SCOPE,
        Column("gap_start", "TIMESTAMP", "open_time of the first missing bar, UTC", False),
        Column("gap_end", "TIMESTAMP", "open_time of the bar that ends the hole, UTC", False),
        Column("bars", "BIGINT", "Missing bars", False),
        Column("kind", "STRING", "outage (of the exchange) or symbol", False),
        Column("filled_bars", "BIGINT", "Missing bars that silver.candles fills", False),
        Column(
            "missing_share", "DOUBLE", "Share of the live symbols' bars that the hole lacks", False
        ),
    ),
    key=("market", "interval", "symbol", "gap_start"),
    partitioned_by=("market", "interval"),
    checks={"known_kind": "kind IN ('outage', 'symbol')", "some_bars": "bars > 0"},
)

LISTINGS = TableContract(
    layer="silver",
    name="listings",
    comment="First and last published bar of each symbol that the archive names",
    columns=(
        *_SCOPE,
        Column(
            "first_open_time",
            "TIMESTAMP",
            "open_time of the first published bar, UTC; NULL if no bar was ingested",
        ),
        Column(
            "last_open_time",
            "TIMESTAMP",
            "open_time of the last published bar, UTC; NULL if no bar was ingested",
        ),
        Column("bars", "BIGINT", "Published bars", False),
        Column("filled_bars", "BIGINT", "Filled bars", False),
        Column(
            "status",
            "STRING",
            "ended: the last bar is more than max_fill_bars before the market's; without a bar, "
            "the last file of the archive is of an earlier month; NULL outside the universe, of "
            "which no file is listed",
        ),
    ),
    key=("market", "interval", "symbol"),
    partitioned_by=("market", "interval"),
    checks={
        "known_status": "status IN ('trading', 'ended') OR status IS NULL",
        "status_of_bars": "bars = 0 OR status IS NOT NULL",
        "bars_or_no_times": "(bars > 0) = (first_open_time IS NOT NULL)",
    },
)

TABLES = (CANDLES, REJECTED_CANDLES, GAPS, LISTINGS)
