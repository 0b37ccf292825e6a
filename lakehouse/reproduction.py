"""A recorded model run, had again: what the command line shows of it.

The ml layer does the work; the command line finds it by the entry point that the wheel names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lakehouse.errors import EnvironmentProblem, ReproductionError
from lakehouse.installed import installed
from lakehouse.logs import remark
from lakehouse.settings import Settings

ENTRY_POINT_GROUP = "candlelake.reproduction"


@dataclass(frozen=True)
class Comparison:
    """One recorded value beside the reproduced one.

    Attributes:
        what: Metric, or column of what the model says.
        recorded: As it was recorded, in words.
        reproduced: As it was had again, in words.
        difference: `0`, or how far they are apart.
        same: Whether they are equal to the last bit.
    """

    what: str
    recorded: str
    reproduced: str
    difference: str
    same: bool


@dataclass(frozen=True)
class Reproduction:
    """A run and its comparison.

    Attributes:
        title: Which run it is.
        notes: What it was made from, a line each.
        warnings: What may make the values differ, a line each.
        comparisons: All values compared.
    """

    title: str
    notes: Sequence[str]
    warnings: Sequence[str]
    comparisons: Sequence[Comparison]

    @property
    def differing(self) -> tuple[str, ...]:
        """What is not the same."""
        return tuple(each.what for each in self.comparisons if not each.same)

    def require_same(self) -> None:
        """Go on only when nothing differs.

        Raises:
            ReproductionError: Something does.
        """
        if self.differing:
            raise ReproductionError(
                f"{len(self.differing)} of {len(self.comparisons)} values differ: "
                f"{', '.join(self.differing)}"
            )


Reproduce = Callable[[Settings, str], Reproduction]


def load_reproduce() -> Reproduce:
    """The installed wheel's way to have a run again.

    Raises:
        EnvironmentProblem: The wheel has none.
    """
    found = installed(ENTRY_POINT_GROUP, "reproduce")
    if found is None:
        raise EnvironmentProblem(
            "the installed candlelake cannot reproduce models: install the wheel again"
        )
    return cast(Reproduce, found.load())


def print_reproduction(out: Console, done: Reproduction) -> None:
    """Print the comparison, and beside it what may make values differ."""
    listing = Table("value", "recorded", "reproduced", "difference")
    listing.title, listing.title_justify = escape(done.title), "left"
    for column in listing.columns:
        column.overflow = "fold"  # a long number is broken, not cut
    for each in done.comparisons:
        cells = (each.what, each.recorded, each.reproduced, each.difference)
        listing.add_row(*map(escape, cells), style=None if each.same else "bold red")
    out.print(listing)
    for note in done.notes:
        out.print(escape(note), highlight=False)
    for warning in done.warnings:
        remark(f"warning: {warning}")
