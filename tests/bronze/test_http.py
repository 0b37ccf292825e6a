"""Retries, seen from a server that fails: how often it is asked, and how long is waited."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from bronze.http import ATTEMPTS, Http, RequestFailed

NOW = datetime(2026, 1, 1, tzinfo=UTC)

Reply = tuple[int, dict[str, str], bytes]


class Script:
    """A server that gives one reply after the other, and the last one for ever."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.asked = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_GET(inner) -> None:
                status, headers, body = self.replies[min(self.asked, len(self.replies) - 1)]
                self.asked += 1
                inner.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    if value or name != "Content-Length":
                        inner.send_header(name, value)
                inner.end_headers()
                inner.wfile.write(body)
                length = headers.get("Content-Length", str(len(body)))
                inner.close_connection = length != str(len(body))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/object"


OK: Reply = (200, {}, b"body")
BUSY: Reply = (503, {}, b"")


@pytest.fixture
def scripts() -> Iterator[list[Script]]:
    started: list[Script] = []
    yield started
    for script in started:
        script.server.shutdown()
        script.server.server_close()


def ask(scripts: list[Script], *replies: Reply) -> tuple[Script, Http, list[float]]:
    script, waits = Script(*replies), []
    scripts.append(script)
    return script, Http(2, waits.append, lambda: NOW), waits


@pytest.mark.parametrize("failure", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(scripts: list[Script], failure: int) -> None:
    script, http, waits = ask(scripts, (failure, {}, b""), (failure, {}, b"x"), OK)
    assert http.read(script.url, bytes) == b"body"
    assert script.asked == 3
    assert len(waits) == 2
    assert 0 <= waits[0] <= 0.5
    assert 0 <= waits[1] <= 1.0


def test_the_waits_grow_and_differ(scripts: list[Script]) -> None:
    script, http, waits = ask(scripts, BUSY)
    for _ in range(20):
        with pytest.raises(RequestFailed):
            http.read(script.url, bytes)
    assert script.asked == 20 * ATTEMPTS
    by_attempt = [waits[n :: ATTEMPTS - 1] for n in range(ATTEMPTS - 1)]
    assert all(max(of_one) <= min(30, 0.5 * 2**n) for n, of_one in enumerate(by_attempt))
    assert all(len(set(of_one)) > 10 for of_one in by_attempt)
    assert max(by_attempt[-1]) > max(by_attempt[0])


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("Thu, 01 Jan 2026 00:00:42 GMT", 42.0), ("0", 0.0)],
)
def test_retry_after_is_honoured(scripts: list[Script], header: str, seconds: float) -> None:
    script, http, waits = ask(scripts, (429, {"Retry-After": header}, b""), OK)
    assert http.read(script.url, bytes) == b"body"
    assert seconds <= waits[0] <= max(seconds, 0.5)


@pytest.mark.parametrize(
    "header",
    [
        *("soon", "-1", "Thu, 01 Jan 2020 00:00:00 GMT", ""),
        *("Thu, 01 Jan 2026 00:00:42", "Thu, 01 Jan 2026 00:00:42 +99999999999999"),
    ],
)
def test_a_senseless_retry_after_is_as_good_as_none(scripts: list[Script], header: str) -> None:
    script, http, waits = ask(scripts, (503, {"Retry-After": header}, b""), OK)
    assert http.read(script.url, bytes) == b"body"
    assert waits[0] <= 0.5


def test_a_server_that_wants_a_long_pause_gets_it(scripts: list[Script]) -> None:
    script, http, waits = ask(scripts, (429, {"Retry-After": "86400"}, b""), OK)
    with pytest.raises(RequestFailed, match=r"429 .* asks to wait 86,400 s: run again then"):
        http.read(script.url, bytes)
    assert (script.asked, waits) == (1, [])


@pytest.mark.parametrize(("status", "missing"), [(404, True), (403, False), (400, False)])
def test_a_refusal_is_final(scripts: list[Script], status: int, missing: bool) -> None:
    script, http, waits = ask(scripts, (status, {}, b""), OK)
    with pytest.raises(RequestFailed, match=f"{script.url}: {status} ") as caught:
        http.read(script.url, bytes)
    assert caught.value.missing is missing
    assert (script.asked, waits) == (1, [])


def test_a_body_that_breaks_off_is_asked_for_again(scripts: list[Script]) -> None:
    script, http, _ = ask(scripts, (200, {"Content-Length": "9"}, b"body"), OK)
    assert http.read(script.url, bytes) == b"body"
    assert script.asked == 2


def test_a_body_that_hardly_moves_is_given_up_and_asked_for_again(scripts: list[Script]) -> None:
    body = b"x" * 60_000
    script, _, waits = ask(scripts, (200, {}, body))
    slow = Http(2, waits.append, clock=itertools.count(0.0, 40.0).__next__)
    with pytest.raises(RequestFailed, match=r"bytes in 80 s: too slow .*8 attempts"):
        slow.read(script.url, bytes)
    assert script.asked == ATTEMPTS == len(waits) + 1
    # The same body, a second for each piece: long, but it moves.
    steady = Http(2, waits.append, clock=itertools.count().__next__)
    assert steady.read(script.url, bytes) == body
    assert script.asked == ATTEMPTS + 1


def test_a_server_that_says_nothing_is_waited_for_half_a_minute(
    scripts: list[Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[object] = []
    send = HTTPAdapter.send

    def seen(self: HTTPAdapter, *given: Any, **named: Any) -> requests.Response:
        limits.append(named["timeout"])
        return send(self, *given, **named)

    monkeypatch.setattr(HTTPAdapter, "send", seen)
    script, http, _ = ask(scripts, OK)
    assert http.read(script.url, bytes) == b"body"
    assert limits == [30]


def test_a_server_that_never_recovers_is_named(scripts: list[Script]) -> None:
    script, http, waits = ask(scripts, BUSY)
    with pytest.raises(RequestFailed, match=f"{script.url}: 503 .*{ATTEMPTS} attempts"):
        http.read(script.url, bytes)
    assert script.asked == ATTEMPTS == len(waits) + 1


def test_nobody_there_is_one_line_with_the_address() -> None:
    with pytest.raises(RequestFailed) as caught:
        Http(1, lambda seconds: None).read("http://127.0.0.1:9/object", bytes)
    message = str(caught.value)
    assert message.startswith("http://127.0.0.1:9/object: ")
    assert "refused" in message
    assert "\n" not in message


@pytest.mark.parametrize("url", ["http://", "nowhere", "http://[::1/x"])
def test_what_is_no_address_is_not_tried_again(url: str) -> None:
    waits: list[float] = []
    with pytest.raises(RequestFailed):
        Http(1, waits.append).read(url, bytes)
    assert waits == []


def number(body: bytes) -> int:
    return int(body)


def test_a_whole_body_that_says_nothing_is_not_asked_for_again(scripts: list[Script]) -> None:
    script, http, _ = ask(scripts, OK)
    with pytest.raises(ValueError, match="body"):
        http.read(script.url, number)
    assert script.asked == 1


def test_a_body_without_an_end_that_says_nothing_may_be_cut_off(scripts: list[Script]) -> None:
    cut: Reply = (200, {"Content-Length": "", "Connection": "close"}, b"4,")
    script, http, _ = ask(scripts, cut, (200, {}, b"42"))
    assert http.read(script.url, number) == 42
    assert script.asked == 2
