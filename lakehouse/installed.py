"""What the installed wheel names for this layer to find: tasks, commands and functions above it."""

from importlib.metadata import EntryPoint, entry_points


def installed_names(group: str) -> list[str]:
    """Names of a group of entry points."""
    return [point.name for point in entry_points(group=group)]


def installed(group: str, name: str) -> EntryPoint | None:
    """The entry point of a name; None when the installed wheel has none."""
    return next((point for point in entry_points(group=group) if point.name == name), None)
