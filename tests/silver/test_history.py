from datetime import UTC, datetime

import pyarrow as pa
import pytest

from silver.history import with_silent_symbols

TIME = pa.timestamp("us", "UTC")
LISTED = pa.schema(
    [
        ("market", pa.string()),
        ("interval", pa.string()),
        ("symbol", pa.string()),
        ("first_open_time", TIME),
        ("last_open_time", TIME),
        pa.field("bars", pa.int64(), nullable=False),
        pa.field("filled_bars", pa.int64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
    ]
)
SCOPE = {"market": "um", "interval": "4h"}
BTC = {
    **SCOPE,
    "symbol": "BTCUSDT",
    "first_open_time": datetime(2024, 10, 1, tzinfo=UTC),
    "last_open_time": datetime(2025, 2, 28, 20, tzinfo=UTC),
    "bars": 900,
    "filled_bars": 0,
    "status": "trading",
}


@pytest.mark.parametrize(
    ("last_month", "status"),
    [("2022-05", "ended"), ("2025-02", "trading"), ("2025-03", "trading"), (None, None)],
)
def test_a_symbol_without_a_bar_is_listed_by_its_files(
    last_month: str | None, status: str | None
) -> None:
    listed = pa.Table.from_pylist([BTC], LISTED)
    named = pa.Table.from_pylist(
        [
            {**SCOPE, "symbol": "BTCUSDT", "last_month": "2025-02"},
            {**SCOPE, "symbol": "LUNAUSDT", "last_month": last_month},
        ]
    )
    nothing = {"first_open_time": None, "last_open_time": None, "bars": 0, "filled_bars": 0}
    with_it = with_silent_symbols(listed, named)
    assert with_it.schema.field("status").nullable
    assert with_it.to_pylist() == [
        BTC,
        {**SCOPE, "symbol": "LUNAUSDT", **nothing, "status": status},
    ]


def test_listings_of_all_named_symbols_stay_as_they_are() -> None:
    listed = pa.Table.from_pylist([BTC], LISTED)
    named = pa.Table.from_pylist([{**SCOPE, "symbol": "BTCUSDT", "last_month": "2025-02"}])
    assert with_silent_symbols(listed, named).to_pylist() == [BTC]
    assert with_silent_symbols(listed, named.slice(0, 0)).to_pylist() == [BTC]
