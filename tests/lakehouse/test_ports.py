"""Ports, looked at on real sockets of 127.0.0.1."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lakehouse import ports
from tests.servers import free_port


@contextmanager
def answering(body: bytes) -> Iterator[int]:
    """The port of a server that gives this answer at /health."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_loopback() -> None:
    check = ports.check_loopback()
    assert check.ok
    assert check.remedy == ""


def test_a_sandbox_that_lets_nobody_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("not permitted")

    monkeypatch.setattr(socket, "create_server", refuse)
    check = ports.check_loopback()
    assert not check.ok
    assert "not permitted" in check.found
    assert "127.0.0.1" in check.remedy


def test_host_name() -> None:
    assert ports.check_host_name("localhost").ok
    check = ports.check_host_name("no-such-machine.invalid")
    assert not check.ok
    assert "no-such-machine.invalid" in check.found
    assert "SPARK_LOCAL_IP" in check.remedy


def test_mlflow_port() -> None:
    port = free_port()
    assert ports.check_mlflow_port(port).ok
    assert ports.check_mlflow_port(port).ok  # nobody listens because of the check
    with answering(b"OK") as port:
        check = ports.check_mlflow_port(port)
        assert (check.ok, check.found) == (True, f"{port} is MLflow's")
    with answering(b"<html>") as port:
        check = ports.check_mlflow_port(port)
        assert not check.ok
        assert f"{port} is used by another program" in check.found
        assert "--port" in check.remedy


def test_connect_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check = ports.check_connect_server(f"sc://127.0.0.1:{port}/;token=secret")
        assert check.ok
        assert check.found == f"127.0.0.1:{port} answers"
    check = ports.check_connect_server(f"sc://127.0.0.1:{port}/;token=secret")
    assert not check.ok
    assert "secret" not in check.found + check.remedy


@pytest.mark.parametrize("remote", ["localhost:15002", "sc://", "sc://host:99999", "http://h:1"])
def test_a_connect_address_that_is_none(remote: str) -> None:
    check = ports.check_connect_server(remote)
    assert not check.ok
    assert "sc://HOST:15002" in check.remedy
