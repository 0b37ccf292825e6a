"""What one look at a machine saw, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """What one check saw.

    Attributes:
        name: What was checked.
        ok: Whether Candlelake can run with it.
        found: What there is, in a few words.
        remedy: What to do about it; empty when all is well.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""


def checked(name: str, ok: bool, found: str, remedy: str) -> Check:
    """A check whose remedy is shown only when it is needed."""
    return Check(name, ok, found, "" if ok else remedy)
