"""Which indices the settings ask for."""

import pytest

from gold.rulebook import Rulebook, rulebooks
from tests.gold.markets import index_with, rules_with


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("static", ["smart_static"]),
        ("monthly", ["smart_monthly"]),
        ("both", ["smart_static", "smart_monthly"]),
    ],
)
def test_the_mode_says_which_smart_index_is_made(mode: str, names: list[str]) -> None:
    made = rulebooks(index_with(mode=mode))
    assert [each.name for each in made] == names
    assert [each.name for each in made if each.in_sample] == [
        n for n in names if n == "smart_static"
    ]


def test_named_rulebooks_follow_by_name_and_are_never_in_sample() -> None:
    named = {"weekly": {"calendar": "weekly"}, "concentrated": {"top_n": 5}}
    made = rulebooks(index_with(mode="static", rulebooks=named))
    assert made[1:] == (
        Rulebook("concentrated", rules_with(top_n=5)),
        Rulebook("weekly", rules_with(calendar="weekly")),
    )
