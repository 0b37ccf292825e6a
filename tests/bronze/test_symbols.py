from bronze.archive import Cadence, ListedFile, files_prefix, parse_key
from bronze.symbols import named_symbols


def listed(symbol: str, *periods: str) -> list[ListedFile]:
    files = []
    for period in periods:
        cadence: Cadence = "monthly" if len(period) == 7 else "daily"
        prefix = files_prefix("um", cadence, symbol, "4h")
        key = parse_key(f"{prefix}{symbol}-4h-{period}.zip")
        assert key is not None
        files.append(ListedFile(key, 100, None))
    return files


def test_each_named_symbol_with_its_span_and_what_is_missing_in_it() -> None:
    files = [
        *listed("LUNAUSDT", "2020-08", "2022-03", "2022-05"),
        *listed("BTCUSDT", "2024-12", "2025-02", "2025-03-02", "2025-03-04"),
        *listed("NEWUSDT", "2025-03-04"),
    ]
    found = named_symbols(files)
    assert list(found) == ["LUNAUSDT", "BTCUSDT", "NEWUSDT"]
    assert found["BTCUSDT"] == {
        "symbol": "BTCUSDT",
        "first_month": "2024-12",
        "last_month": "2025-03",
        "files": 4,
        "missing": ["2025-01", "2025-03-01", "2025-03-03"],
    }
    luna = found["LUNAUSDT"]
    assert (luna["first_month"], luna["last_month"]) == ("2020-08", "2022-05")
    assert luna["missing"][0] == "2020-09"
    assert luna["missing"][-2:] == ["2022-02", "2022-04"]
    assert len(luna["missing"]) == 19
    assert found["NEWUSDT"]["missing"] == []
    assert named_symbols([]) == {}
