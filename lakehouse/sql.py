"""Pieces of SQL text, for what takes no Column: names, `replaceWhere`, views, partitions."""

import re
from collections.abc import Iterable, Mapping


def literal(text: object) -> str:
    """A SQL string literal; quotes and backslashes in the text cannot end it."""
    return "'" + str(text).replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """A name as SQL reads it, in back-quotes unless it is a plain word."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else f"`{name.replace('`', '``')}`"


def is_in(column: str, values: Iterable[str]) -> str:
    """Condition that a column has one of these texts; `false` without any."""
    texts = ", ".join(literal(value) for value in sorted(values))
    return f"{column} IN ({texts})" if texts else "false"


def equals(values: Mapping[str, str]) -> str:
    """Condition that each column has its text."""
    return " AND ".join(f"{column} = {literal(value)}" for column, value in values.items())
