"""What a misspelt name was meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`: did you mean archive?` of `archve`; empty when no known name is like it."""
    found = get_close_matches(name, list(known), n=1)
    return f": did you mean {found[0]}?" if found else ""
