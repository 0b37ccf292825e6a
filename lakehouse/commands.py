"""Commands of the command line that stand in modules of their own: the wheel names them."""

from typing import cast

import click

from lakehouse.installed import installed, installed_names

ENTRY_POINT_GROUP = "candlelake.commands"


def command_names() -> list[str]:
    """Names of the commands."""
    return installed_names(ENTRY_POINT_GROUP)


def load_command(name: str) -> click.Command | None:
    """The command of a name; None when the installed wheel has none."""
    found = installed(ENTRY_POINT_GROUP, name)
    return None if found is None else cast(click.Command, found.load())
