import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bronze.exchange import ExchangeSymbol, exchange_symbols
from bronze.http import Http
from lakehouse.errors import ArchiveError
from tests.bronze.archive_server import ServedArchive, served

PAIR = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}
TICKER = {"symbol": "BTCUSDT", "quoteVolume": "1234567.89000000", "count": 5}


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[ServedArchive]:
    with served(tmp_path) as running:
        answer(running, [PAIR], [TICKER])
        yield running


def answer(exchange: ServedArchive, symbols: Any, tickers: Any) -> None:
    exchange.documents["/info"] = json.dumps({"timezone": "UTC", "symbols": symbols}).encode()
    exchange.documents["/ticker"] = json.dumps(tickers).encode()


def ask(exchange: ServedArchive) -> list[ExchangeSymbol]:
    http = Http(2, lambda seconds: None)
    return exchange_symbols(http, f"{exchange.url}/info", f"{exchange.url}/ticker")


def test_symbols_with_their_volume_whatever_their_status(exchange: ServedArchive) -> None:
    ended = {**PAIR, "symbol": "LUNAUSDT", "baseAsset": "LUNA", "status": "BREAK"}
    quarter = {**PAIR, "symbol": "BTCUSDT_250328", "contractType": "CURRENT_QUARTER"}
    other = {"symbol": "GHOSTUSDT", "quoteVolume": "1"}
    answer(exchange, [ended, PAIR, quarter], [TICKER, other])
    assert ask(exchange) == [
        ExchangeSymbol("BTCUSDT", "TRADING", "BTC", "USDT", None, 1234567.89),
        ExchangeSymbol("BTCUSDT_250328", "TRADING", "BTC", "USDT", "CURRENT_QUARTER", None),
        ExchangeSymbol("LUNAUSDT", "BREAK", "LUNA", "USDT", None, None),
    ]


@pytest.mark.parametrize("fault", ["503", "429", "cut", "cut without length", "no length", "reset"])
def test_a_fault_is_survived(exchange: ServedArchive, fault: str) -> None:
    exchange.faults = lambda path, count: fault if count < 3 else None
    assert [each.symbol for each in ask(exchange)] == ["BTCUSDT"]


MALFORMED: list[tuple[str, bytes, str]] = [
    ("/info", b"<html>Service restricted</html>", "Invalid JSON"),
    ("/info", b"", "Invalid JSON"),
    ("/info", b'{"code":0,"msg":"restricted location"}', "symbols: Field required"),
    ("/info", b'{"symbols":[]}', "symbols: List should have at least 1 item"),
    ("/info", b'{"symbols":null}', "symbols: "),
    ("/info", json.dumps({"symbols": [{**PAIR, "status": None}]}).encode(), "symbols.0.status"),
    ("/info", json.dumps({"symbols": [{"symbol": "BTCUSDT"}]}).encode(), "symbols.0.status"),
    ("/info", json.dumps({"symbols": [{**PAIR, "symbol": ""}]}).encode(), "symbols.0.symbol"),
    ("/ticker", b'{"symbol":"BTCUSDT"}', "Input should be a valid array"),
    ("/ticker", b"[]", "at least 1 item"),
    ("/ticker", b'[{"symbol":"BTCUSDT"}]', "0.quoteVolume: Field required"),
    ("/ticker", b'[{"symbol":"BTCUSDT","quoteVolume":"many"}]', "0.quoteVolume"),
    ("/ticker", b'[{"symbol":"BTCUSDT","quoteVolume":"-1"}]', "0.quoteVolume"),
    ("/ticker", b'[{"symbol":"BTCUSDT","quoteVolume":"NaN"}]', "0.quoteVolume"),
    ("/ticker", b'[{"symbol":"BTCUSDT","quoteVolume":null}]', "0.quoteVolume"),
]


@pytest.mark.parametrize(("path", "body", "reason"), MALFORMED)
def test_a_malformed_answer_names_the_address_and_the_way_out(
    exchange: ServedArchive, path: str, body: bytes, reason: str
) -> None:
    exchange.documents[path] = body
    with pytest.raises(ArchiveError) as caught:
        ask(exchange)
    said = str(caught.value)
    assert said.startswith(f"{exchange.url}{path} does not answer as the exchange does")
    assert reason in said
    assert f"exchange.<market>.{path.strip('/')}_url" in said
    assert "universe.mode=symbols or historical-usdt" in said
    assert "\n" not in said


@pytest.mark.parametrize("path", ["/info", "/ticker"])
def test_an_address_without_an_answer_is_named_with_the_way_out(
    exchange: ServedArchive, path: str
) -> None:
    del exchange.documents[path]
    with pytest.raises(ArchiveError) as caught:
        ask(exchange)
    said = str(caught.value)
    assert f"{exchange.url}{path}: 404" in said
    assert "universe.mode=symbols or historical-usdt" in said


def test_an_exchange_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(ArchiveError, match=r"http://127\.0\.0\.1:9/info: .*refused") as caught:
        exchange_symbols(Http(1, lambda seconds: None), "http://127.0.0.1:9/info", "http://x/")
    assert "historical-usdt" in str(caught.value)
