"""Requests over a network that fails: pooled connections, retries with back-off and jitter.

Retried are answers 429 and 5xx, broken transfers and bodies that hardly move; a `Retry-After` is
honoured. Everything else ends at once as a `RequestFailed` that names the address.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import requests
from requests.adapters import HTTPAdapter
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)
from urllib3.exceptions import HTTPError

from lakehouse.errors import ArchiveError, EnvironmentProblem

ATTEMPTS = 8
TIMEOUT_SECONDS = 30
# A body that brings less than this is as good as broken: at that rate a minute file takes an hour.
MIN_BYTES_PER_SECOND = 1_000
MIN_RATE_SECONDS = 60
# A server that wants a longer pause than this is asked again by the next run.
MAX_RETRY_AFTER_SECONDS = 600

_PIECE_BYTES = 16 * 1024
_BACK_OFF = wait_random_exponential(multiplier=0.5, max=30)
_NOT_FOUND = (404, 410)
_TOO_MANY = 429
_SERVER_ERROR = 500

T = TypeVar("T")
Sleep = Callable[[float], None]


class RequestFailed(ArchiveError):
    """A request that failed for good, or as often as it is tried.

    Attributes:
        missing: The server says that there is no such object.
    """

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


class BrokenOff(EnvironmentProblem):
    """Requests were broken off from outside; what has come is kept."""


class BrokenTransfer(ArchiveError):
    """One attempt that failed in a way that another one may not.

    Attributes:
        retry_after: Seconds that the server asks to wait; None if it does not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Http:
    """A pool of connections, shared by all threads.

    Args:
        connections: Connections kept open to a server.
        sleep: Waits between two attempts.
        now: The clock that a `Retry-After` date is compared with.
        clock: Seconds of a monotonic clock, by which the rate of a body is told.
    """

    def __init__(
        self,
        connections: int,
        sleep: Sleep = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sleep = sleep
        self._now = now
        self._clock = clock
        self._open: set[requests.Response] = set()
        self._is_broken_off = False
        self._session = requests.Session()
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=connections)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        # Lengths, ranges and checksums speak of the bytes as they are stored.
        self._session.headers["Accept-Encoding"] = "identity"

    def retried(self, attempt: Callable[[], T]) -> T:
        """What the first attempt without a `BrokenTransfer` gives.

        Raises:
            RequestFailed: The attempt raised it, or every attempt was broken.
        """
        attempts = Retrying(
            retry=retry_if_exception_type(BrokenTransfer),
            stop=stop_after_attempt(ATTEMPTS),
            wait=_seconds_to_wait,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return attempts(attempt)
        except BrokenTransfer as error:
            raise RequestFailed(f"{error} ({ATTEMPTS} attempts)") from error

    @contextmanager
    def answer(
        self, url: str, params: Mapping[str, str] = {}, headers: Mapping[str, str] = {}
    ) -> Iterator[requests.Response]:
        """One attempt: an answer whose body is still to be read, status 200 or 206.

        Raises:
            RequestFailed: The server refuses; `missing` if it has no such object.
            BrokenTransfer: It may answer another time, or broke off while the body was read.
            BrokenOff: After `break_off`.
        """
        if self._is_broken_off:
            raise BrokenOff("the landing was broken off: a new run goes on from here")
        try:
            with self._session.get(
                url, params=params, headers=headers, stream=True, timeout=TIMEOUT_SECONDS
            ) as response:
                self._refuse_failure(response)
                self._open.add(response)
                try:
                    yield response
                finally:
                    self._open.discard(response)
        except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
            raise BrokenTransfer(f"{url}: {_reason(error)}") from error
        except requests.RequestException as error:
            raise RequestFailed(f"{url}: {_reason(error)}") from error

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """A body, piece by piece as it comes, none of them empty.

        Raises:
            BrokenTransfer: It brings less than `MIN_BYTES_PER_SECOND` over `MIN_RATE_SECONDS`.
        """
        since, received = self._clock(), 0
        while piece := response.raw.read1(_PIECE_BYTES, decode_content=True):
            yield piece
            received += len(piece)
            seconds = self._clock() - since
            if seconds >= MIN_RATE_SECONDS:
                if received < MIN_BYTES_PER_SECOND * seconds:
                    raise BrokenTransfer(
                        f"{response.url}: {received:,} bytes in {seconds:,.0f} s: too slow"
                    )
                since, received = self._clock(), 0

    def break_off(self) -> None:
        """End all bodies that are being read, and take no request any more."""
        self._is_broken_off = True
        for response in list(self._open):
            with suppress(OSError, RuntimeError, ValueError):  # it has just been read to its end
                response.raw.shutdown()

    def read(self, url: str, parse: Callable[[bytes], T], params: Mapping[str, str] = {}) -> T:
        """What a small object says, with retries.

        Args:
            url: Its address.
            parse: Reads the whole body; raises a ValueError for what is none.
            params: The query.

        Raises:
            RequestFailed: It cannot be had.
            ValueError: As `parse` raises it, of a body that is known to be whole.
        """

        def attempt() -> T:
            with self.answer(url, params) as response:
                body = b"".join(self.pieces(response))
            try:
                return parse(body)
            except ValueError as error:
                if has_known_end(response):
                    raise
                raise BrokenTransfer(f"{url}: the body may be cut off ({error})") from error

        return self.retried(attempt)

    def _refuse_failure(self, response: requests.Response) -> None:
        status = response.status_code
        if status in (requests.codes.ok, requests.codes.partial_content):
            return
        said = f"{response.url}: {status} {response.reason}"
        if status != _TOO_MANY and status < _SERVER_ERROR:
            raise RequestFailed(said, missing=status in _NOT_FOUND)
        seconds = self._retry_after(response.headers.get("Retry-After"))
        if seconds is not None and seconds > MAX_RETRY_AFTER_SECONDS:
            raise RequestFailed(f"{said}: asks to wait {seconds:,.0f} s: run again then")
        raise BrokenTransfer(said, seconds)

    def _retry_after(self, text: str | None) -> float | None:
        """Seconds that the header asks for, as a number or as a date; None for anything else."""
        if text is None:
            return None
        if text.strip().isdecimal():
            return float(text)
        try:
            until = parsedate_to_datetime(text)
            return max(0.0, (until - self._now()).total_seconds())
        except (ValueError, TypeError, OverflowError):  # no date, no zone, a zone far away
            return None


def has_known_end(response: requests.Response) -> bool:
    """Whether a body that was cut off has been noticed: not where only the end of file ends it."""
    headers = response.headers
    return "Content-Length" in headers or headers.get("Transfer-Encoding", "") == "chunked"


def _seconds_to_wait(state: RetryCallState) -> float:
    """Exponential back-off with full jitter, and never less than the server asks for."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, BrokenTransfer) else None
    return max(asked or 0.0, _BACK_OFF(state))


def _reason(error: Exception) -> str:
    """The innermost error in one line: the outer ones repeat it with addresses of objects."""
    inner: BaseException = error
    while (below := inner.__context__ or inner.__cause__) is not None:
        inner = below
    return " ".join(f"{type(inner).__name__}: {inner}".split())
