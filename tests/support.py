"""Small archives made on the spot, and tables as comparable rows."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bronze.archive import MARKET_PATHS, Market
from lakehouse.contracts import TableContract
from lakehouse.tables import Lake

# Columns that name the run or its clock: two runs of the same input differ in nothing else.
RUN_COLUMNS = {"run_id", "ingested_at", "listed_at", "mlflow_run_id"}

Row = Sequence[object]


def candle(open_time: datetime, hours: int, close: float, **changed: object) -> list[object]:
    """One line of a kline CSV in milliseconds, consistent unless something is changed."""
    millis = int(open_time.timestamp() * 1000)
    values: dict[str, object] = {
        "open_time": millis,
        "open": close,
        "high": close * 1.01,
        "low": close * 0.99,
        "close": close,
        "volume": 10.0,
        "close_time": millis + hours * 3_600_000 - 1,
        "quote_volume": 10.0 * close,
        "trades": 7,
        "taker_buy_base": 4.0,
        "taker_buy_quote": 4.0 * close,
        "ignore": 0,
    }
    return list({**values, **changed}.values())


def month_of_candles(month: str, hours: int = 4, start: float = 100.0) -> list[list[object]]:
    """A whole month of candles with a gently moving price."""
    at = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
    lines: list[list[object]] = []
    while f"{at:%Y-%m}" == month:
        lines.append(candle(at, hours, start + len(lines) % 17))
        at += timedelta(hours=hours)
    return lines


def as_csv(lines: Iterable[Row]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


def put_file(
    root: Path,
    symbol: str,
    period: str,
    content: bytes,
    *,
    market: Market = "um",
    interval: str = "4h",
    zipped: bool = True,
    checksum: str | None = "right",
) -> str:
    """Write one ZIP of the archive and its CHECKSUM; returns the source file's key."""
    cadence = "monthly" if len(period) == 7 else "daily"
    name = f"{symbol}-{interval}-{period}"
    key = f"data/{MARKET_PATHS[market]}/{cadence}/klines/{symbol}/{interval}/{name}.zip"
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    if zipped:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(f"{name}.csv"), content)
        content = packed.getvalue()
    path.write_bytes(content)
    if checksum is not None:
        digest = hashlib.sha256(content).hexdigest() if checksum == "right" else checksum
        path.with_name(path.name + ".CHECKSUM").write_text(f"{digest}  {path.name}\n")
    return key


def rows_of(lake: Lake, contract: TableContract) -> list[tuple[Any, ...]]:
    """A table's newest rows in a fixed order, without what names the run."""
    kept = [name for name in contract.column_names if name not in RUN_COLUMNS]
    found = lake.read_own(contract).select(*kept).toArrow().to_pylist()
    return sorted(
        (tuple(str(row[n]) if isinstance(row[n], list) else row[n] for n in kept) for row in found),
        key=repr,
    )
