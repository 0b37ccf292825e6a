"""Which code is running, in a checkout and in an installed wheel alike."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    depth = _PACKAGES.index(layer) + 1 if layer in _PACKAGES else len(_PACKAGES)
    for package in _PACKAGES[:depth]:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    try:
        number = version("candlelake")
    except PackageNotFoundError:
        number = "0"  # on a Python path without metadata, as on an executor
    return f"{number}+{digest.hexdigest()[:12]}"
