"""Where files lie: in a folder of this machine, or at a URI that the engine reaches."""

from pathlib import Path


def is_uri(place: str) -> bool:
    """Whether a place is a URI (`s3a://…`, `https://…`) and no folder."""
    return "://" in place


def sqlite_file(address: str) -> Path | None:
    """The database's file of a `sqlite:///` address; None of any other."""
    path = address.removeprefix("sqlite:///")
    return Path(path) if path != address else None


def absolute(place: str) -> str:
    """A folder's absolute path, or a URI; without a slash at its end."""
    return place.rstrip("/") if is_uri(place) else str(Path(place).absolute())
