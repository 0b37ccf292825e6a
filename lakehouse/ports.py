"""Whether the ports that Spark, Spark Connect and MLflow's UI need can be had.

Nothing is left listening, and no address is shown with what it may hold of a secret.
"""

import socket
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit

from lakehouse.checks import Check, checked

MLFLOW_UI_PORT = 5000
"""Port of `make ui`."""

_LOOPBACK = "127.0.0.1"
_CONNECT_PORT = 15002  # of an address that names none
_TIMEOUT_SECONDS = 10


def check_loopback() -> Check:
    """Whether a server can listen on this machine, as Spark's driver and its workers do."""
    try:
        with socket.create_server((_LOOPBACK, 0)) as server:
            port = server.getsockname()[1]
    except OSError as error:
        remedy = f"allow programs to listen on {_LOOPBACK}: a sandbox or a firewall forbids it"
        return Check("ports", False, f"no port of {_LOOPBACK} can be bound: {error}", remedy)
    return Check("ports", True, f"{_LOOPBACK} can be bound, such as port {port}")


def check_host_name(name: str) -> Check:
    """Whether this machine's own name has an address: Spark asks for it unless it is told."""
    try:
        address = socket.gethostbyname(name)
    except OSError:
        return Check(
            "host name", False, f"{name} has no address", "export SPARK_LOCAL_IP=127.0.0.1"
        )
    return Check("host name", True, f"{name} is {address}")


def check_mlflow_port(port: int = MLFLOW_UI_PORT) -> Check:
    """Whether MLflow's UI can be started, or runs already."""
    name = "MLflow UI port"
    try:
        with socket.create_server((_LOOPBACK, port)):
            return Check(name, True, f"{port} is free")
    except OSError:
        pass  # who has it?
    try:
        with urllib.request.urlopen(
            f"http://{_LOOPBACK}:{port}/health", timeout=_TIMEOUT_SECONDS
        ) as answer:
            is_mlflow = answer.read(2) == b"OK"
    except (OSError, HTTPException):
        is_mlflow = False
    return checked(
        name,
        is_mlflow,
        f"{port} is MLflow's" if is_mlflow else f"{port} is used by another program",
        f"stop what listens on {port}, or give `mlflow ui` another --port",
    )


def check_connect_server(remote: str) -> Check:
    """Whether a Spark Connect server listens at an address (`sc://host:15002/;token=…`)."""
    name, place = "Spark Connect", urlsplit(remote)
    try:
        host, port = place.hostname or "", place.port or _CONNECT_PORT
    except ValueError:  # a port that is none
        host, port = "", 0
    if place.scheme != "sc" or not host:
        return Check(name, False, "`spark.remote` is no address", "write it as sc://HOST:15002")
    try:
        with socket.create_connection((host, port), _TIMEOUT_SECONDS):
            return Check(name, True, f"{host}:{port} answers")
    except OSError:
        return Check(
            name,
            False,
            f"no server answers at {host}:{port}",
            "start it, as docs/connect.md says, or correct `spark.remote`",
        )
