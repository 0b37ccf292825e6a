"""What a person's CSV file may hold, and what is said of one that is wrong."""

from pathlib import Path

import pytest

from gold.portfolio import read_portfolio, require_known
from lakehouse.errors import PortfolioError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "portfolio.csv"


def refused(path: Path) -> str:
    with pytest.raises(PortfolioError) as caught:
        read_portfolio(path)
    return str(caught.value)


def test_holdings_in_the_order_of_the_file(path: Path) -> None:
    path.write_text("symbol,weight\nETHUSDT,0.6\nBTCUSDT,-0.25\n")
    assert list(read_portfolio(path).items()) == [("ETHUSDT", 0.6), ("BTCUSDT", -0.25)]


def test_what_a_spreadsheet_makes_of_it(path: Path) -> None:
    path.write_bytes('\ufeffname,weight,symbol\r\n"a, b", 5e-1 ,BTCUSDT\r\n\r\n'.encode())
    assert read_portfolio(path) == {"BTCUSDT": 0.5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("no column symbol and weight", "empty")),
        ("symbol;weight\nBTCUSDT;1\n", ("no column symbol and weight", "is symbol;weight")),
        ("symbol,share\nBTCUSDT,1\n", ("no column weight", "is symbol,share")),
        ("BTCUSDT,0.5\n", ("no column symbol and weight",)),
        ("symbol,weight\n", ("no holding",)),
        ("symbol,weight\nBTCUSDT,a lot\n", ("line 2", "BTCUSDT", "'a lot'")),
        ("symbol,weight\nBTCUSDT,\n", ("line 2", "BTCUSDT", "''")),
        ("symbol,weight\nBTCUSDT\n", ("line 2", "BTCUSDT", "''")),
        ("symbol,weight\nBTCUSDT,nan\n", ("line 2", "'nan'")),
        ("symbol,weight\nBTCUSDT,inf\n", ("line 2", "'inf'")),
        ('symbol,weight\nBTCUSDT,"0,5"\n', ("line 2", "'0,5'")),
        ("symbol,weight\n,0.5\n", ("line 2", "no symbol")),
        ("symbol,weight\nA,0.5\nB,0.2\nA,0.3\n", ("line 4", "A stands twice")),
        ('symbol,weight\n"A,0.5\n', ("cannot be read",)),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    path: Path, text: str, words: tuple[str, ...]
) -> None:
    path.write_text(text)
    said = refused(path)
    assert str(path) in said
    for word in words:
        assert word in said


def test_a_file_that_is_not_there_or_no_text_is_named(path: Path) -> None:
    assert "No such file" in refused(path)
    assert "cannot be read" in refused(path.parent)
    path.write_bytes(b"symbol,weight\n\xff\xfe,1\n")
    assert "cannot be read" in refused(path)


def test_unknown_symbols_are_named_with_what_they_look_like() -> None:
    known = ["BTCUSDT", "ETHUSDT"]
    require_known({"BTCUSDT": 1.0}, known, "um")
    with pytest.raises(PortfolioError, match=r"BTCUSD, \? \(did you mean BTCUSDT"):
        require_known({"BTCUSD": 0.5, "ETHUSDT": 0.2, "?": 0.3}, known, "um")
    with pytest.raises(PortfolioError, match=r"in um: \?$"):
        require_known({"?": 1.0}, known, "um")
