"""Which code is running: that of a checkout, of an installed wheel, or of a ZIP on the path."""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable

# From the lowest layer up.
_PACKAGES = ("lakehouse", "bronze", "silver", "gold", "ml")


@cache
def code_version(layer: str) -> str:
    """The wheel's version and a digest of its sources: `0.1.0+3f2a9c01b2d4`.

    The digest is over every Python file of the layer's package and those below it, on which its
    results depend, so that two runs of one version with an edit between them are told apart.

    Args:
        layer: Package of the task; one that is none of Candlelake's counts as the uppermost.
    """
    digest = hashlib.sha256()
    depth = _PACKAGES.index(layer) + 1 if layer in _PACKAGES else len(_PACKAGES)
    for package in _PACKAGES[:depth]:
        for name, file in sorted(_sources(files(package), (package,)), key=lambda each: each[0]):
            digest.update("/".join(name).encode())
            digest.update(file.read_bytes())
    try:
        # Databricks' command line adds `+` and the time to the version of each wheel it deploys.
        number = version("candlelake").partition("+")[0]
    except PackageNotFoundError:
        number = "0"  # on a Python path without metadata
    return f"{number}+{digest.hexdigest()[:12]}"


def _sources(
    folder: Traversable, parts: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Traversable]]:
    """Name and content of every Python file below a folder, which may lie in a ZIP."""
    for entry in folder.iterdir():
        name = (*parts, entry.name)
        if entry.is_dir():
            yield from _sources(entry, name)
        elif entry.name.endswith(".py"):
            yield name, entry
