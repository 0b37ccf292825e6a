from bronze.symbols import named_symbols


def test_each_named_symbol_with_its_span_and_what_is_missing_in_it() -> None:
    listed = {
        "LUNAUSDT": ("2020-08", "2022-03", "2022-05"),
        "BTCUSDT": ("2024-12", "2025-02", "2025-03-02", "2025-03-04"),
        "NEWUSDT": ("2025-03-04",),
    }
    found = named_symbols(listed)
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
    assert named_symbols({}) == {}
    # A name without a list of its files, beside those that have one.
    both = named_symbols(listed, ["BTCUPUSDT", "NEWUSDT"])
    assert both["NEWUSDT"] == found["NEWUSDT"]
    assert both["BTCUPUSDT"] == {
        "symbol": "BTCUPUSDT",
        "first_month": None,
        "last_month": None,
        "files": None,
        "missing": [],
    }
    assert set(named_symbols({}, ["BTCUPUSDT"])) == {"BTCUPUSDT"}
