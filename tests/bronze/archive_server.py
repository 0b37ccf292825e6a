"""A folder archive served as Binance's is, on 127.0.0.1: objects, an S3 listing, and faults.

The faults come from a seed, the path and how often it was asked for, so that threads in any order
meet the same ones.
"""

import hashlib
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

LISTING = "/listing"
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

SLOW_SECONDS = 0.03
ENDLESS_BYTES = 100_000_000
_PIECE = b"x" * 65_536

# Path and number of the request, from 1 -> name of a fault or None.
Faults = Callable[[str, int], str | None]


def seeded_faults(seed: int, shares: Mapping[str, float]) -> Faults:
    """Each request draws one of the faults with its share, or none."""

    def fault(path: str, count: int) -> str | None:
        drawn = random.Random(f"{seed} {path} {count}").random()
        for name, share in shares.items():
            drawn -= share
            if drawn < 0:
                return name
        return None

    return fault


@dataclass
class ServedArchive:
    """A running server, and the dials of a test.

    Attributes:
        root: Folder that is served; may change meanwhile.
        url: Address that holds `data/`.
        page_size: Keys to a page of the listing.
        faults: What goes wrong.
        gone: Keys that the listing names and the server no longer has.
        hidden: Keys that the listing names and that are answered as missing.
        unlisted: Keys that the server has and the listing does not name yet.
        documents: Path -> body of other answers, such as the exchange's.
        cached: Key -> body that is served for it, whatever the folder and its listing have.
        etags: Whether answers carry an ETag.
        requests: (path with its query, Range header) of every request, in order.
        heads: Paths of the HEAD requests: they are answered without a length.
        met: Name of a fault -> how often a request met it.
        sent: Path -> bytes of bodies that were sent.
        over: Set when the server ends.
    """

    root: Path
    url: str = ""
    page_size: int = 1000
    faults: Faults = field(default=lambda path, count: None)
    gone: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    unlisted: set[str] = field(default_factory=set)
    documents: dict[str, bytes] = field(default_factory=dict)
    cached: dict[str, bytes] = field(default_factory=dict)
    etags: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def listing_url(self) -> str:
        """Address of the listing."""
        return self.url + LISTING

    def object_requests(self) -> list[str]:
        """Keys of the objects that were asked for, in order."""
        paths = [unquote(urlsplit(path).path).lstrip("/") for path, _ in self.requests]
        return [path for path in paths if path.startswith("data/")]

    def forget(self) -> None:
        """Start to count anew."""
        with self.lock:
            self.requests.clear()
            self.sent.clear()

    def next_fault(self, path: str, given_range: str | None) -> str | None:
        with self.lock:
            self.requests.append((path, given_range))
            self.counts[path] += 1
            count = self.counts[path]
        fault = self.faults(path, count)
        if fault is not None:
            with self.lock:
                self.met[fault] += 1
        return fault


@contextmanager
def served(root: Path) -> Iterator[ServedArchive]:
    """Serve a folder while the block lasts."""
    archive = ServedArchive(root)

    class Handler(_Handler):
        served = archive

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    archive.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield archive
    finally:
        archive.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed, or broke a transfer off, is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    served: ServedArchive
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        with self.served.lock:
            self.served.heads.append(self.path)
        self.send_response(200)  # and no length, as behind some proxies
        self.end_headers()

    def do_GET(self) -> None:
        fault = self.served.next_fault(self.path, self.headers.get("Range"))
        if fault == "503":
            self._answer(503, b"slow down")
        elif fault == "429":
            self._answer(429, b"too many", {"Retry-After": "7"})
        elif fault == "reset":
            self.close_connection = True
        else:
            self._answer_whole(fault)

    def _answer_whole(self, fault: str | None) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        key = path.lstrip("/")
        if path == LISTING:
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self._answer(200, self._listing(query), fault=fault)
        elif path in self.served.documents:
            self._answer(200, self.served.documents[path], fault=fault)
        elif key in self.served.gone | self.served.hidden or not (self.served.root / key).is_file():
            self._answer(404, b"NoSuchKey")
        else:
            self._object(key, fault)

    def _object(self, key: str, fault: str | None) -> None:
        content = self.served.cached.get(key) or (self.served.root / key).read_bytes()
        etag = _etag(content)
        headers = {"ETag": etag} if self.served.etags else {}
        asked = self.headers.get("Range")
        if asked and self.headers.get("If-Range") == etag and fault != "whole":
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self._answer(416, b"")
                return
            if fault == "another tag":
                headers["ETag"] = '"another"'
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._answer(206, content[start:], headers, fault)
        else:
            self._answer(200, content, headers, fault)

    def _answer(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        fault: str | None = None,
    ) -> None:
        if fault == "endless":
            self._answer_without_end(status)
            return
        whole = body
        if fault in ("cut", "cut without length"):
            body = body[: len(body) * 2 // 3]
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if fault in ("no length", "cut without length"):
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(whole)))
        self.end_headers()
        third = max(1, len(body) // 3) if fault in ("slow", "stall") else len(body) or 1
        for start in range(0, len(body), third):
            if start:
                # A stalled body waits until the test is over, a slow one a moment.
                self.served.over.wait(SLOW_SECONDS if fault == "slow" else None)
            self.wfile.write(body[start : start + third])
            self.wfile.flush()
        with self.served.lock:
            self.served.sent[unquote(urlsplit(self.path).path).lstrip("/")] += len(body)
        if fault in ("cut", "cut without length", "no length"):
            self.close_connection = True

    def _answer_without_end(self, status: int) -> None:
        """Far more than any object has, until the client hangs up."""
        self.close_connection = True
        self.send_response(status)
        self.send_header("Connection", "close")
        self.end_headers()
        for _ in range(ENDLESS_BYTES // len(_PIECE)):
            self.wfile.write(_PIECE)
            with self.served.lock:
                self.served.sent[unquote(urlsplit(self.path).path).lstrip("/")] += len(_PIECE)

    def _listing(self, query: Mapping[str, str]) -> bytes:
        prefix, marker = query.get("prefix", ""), query.get("marker", "")
        found = sorted(
            (prefix + entry.name + ("/" if entry.is_dir() else ""), entry.is_dir())
            for entry in _entries(self.served.root / prefix)
        )
        found = [item for item in found if item[0] not in self.served.unlisted]
        found += [(k, False) for k in self.served.gone if k.rpartition("/")[0] + "/" == prefix]
        rest = sorted({item for item in found if item[0] > marker})
        page, cut = rest[: self.served.page_size], len(rest) > self.served.page_size
        lines = [f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{NAMESPACE}">']
        lines.append(f"<Name>archive</Name><Prefix>{escape(prefix)}</Prefix>")
        lines.append(f"<Marker>{escape(marker)}</Marker><Delimiter>/</Delimiter>")
        if cut:
            lines.append(f"<NextMarker>{escape(page[-1][0])}</NextMarker>")
        lines.append(f"<IsTruncated>{str(cut).lower()}</IsTruncated>")
        lines += [self._entry(key, is_folder) for key, is_folder in page]
        return "".join([*lines, "</ListBucketResult>"]).encode()

    def _entry(self, key: str, is_folder: bool) -> str:
        if is_folder:
            return f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>"
        path = self.served.root / key
        content = path.read_bytes() if path.is_file() else b"it was here"
        etag = escape(_etag(content), {'"': "&quot;"})
        return (
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z"
            f"</LastModified><ETag>{etag}</ETag><Size>{len(content)}</Size></Contents>"
        )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    return list(os.scandir(folder)) if folder.is_dir() else []


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def quoted(key: str) -> str:
    """An object's path as a request has it."""
    return "/" + quote(key)
