"""Commands of the command line that an upper layer brings: the wheel names them."""

from importlib.metadata import entry_points
from typing import cast

import click

ENTRY_POINT_GROUP = "candlelake.commands"


def command_names() -> list[str]:
    """Names of the commands."""
    return [each.name for each in entry_points(group=ENTRY_POINT_GROUP)]


def load_command(name: str) -> click.Command | None:
    """The command of a name; None when the installed wheel has none."""
    found = [each for each in entry_points(group=ENTRY_POINT_GROUP) if each.name == name]
    return cast(click.Command, found[0].load()) if found else None
