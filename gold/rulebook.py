"""The indices of a run: each is a name and its rules."""

from dataclasses import dataclass
from typing import Final

from lakehouse.settings import IndexSettings, RuleSettings

STATIC_INDEX: Final = "smart_static"
MONTHLY_INDEX: Final = "smart_monthly"


@dataclass(frozen=True)
class Rulebook:
    """An index that a run makes.

    Attributes:
        name: `index_name` in the tables.
        rules: Its rules.
        in_sample: Whether it is determined once, from the whole history that it then holds. Of
            the rules such an index takes those of the tournament, the ranking and the weights; it
            has no exclusions and no liquidity rule.
    """

    name: str
    rules: RuleSettings
    in_sample: bool = False


def rulebooks(index: IndexSettings) -> tuple[Rulebook, ...]:
    """The indices that the settings ask for: the Smart Index by its mode, then the named ones."""
    made = []
    if index.mode in ("static", "both"):
        made.append(Rulebook(STATIC_INDEX, index, in_sample=True))
    if index.mode in ("monthly", "both"):
        made.append(Rulebook(MONTHLY_INDEX, index))
    return (*made, *(Rulebook(name, rules) for name, rules in sorted(index.rulebooks.items())))
