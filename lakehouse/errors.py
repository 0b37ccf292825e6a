"""Errors that a person can act on: each message is one line that says what to do.

`CandlelakeError` is the base; the command line prints its message and exits with 1, and keeps
the trace for `--debug`. Anything else that reaches the command line is a defect of Candlelake.
"""


class CandlelakeError(Exception):
    """Base of all errors that are explained to the user in one line."""


class SettingsError(CandlelakeError):
    """A settings file or a `--set` names an unknown key or an ill-typed value."""


class ArchiveError(CandlelakeError):
    """The archive is missing, empty, or not laid out as Binance's."""


class JobError(CandlelakeError):
    """jobs.yaml is wrong, a job is unknown, or a task of a run failed."""


class TableError(CandlelakeError):
    """A table is missing or differs from its contract."""


class EnvironmentProblem(CandlelakeError):
    """The machine lacks something: Java, a package, space or a permission."""


class ConservationError(CandlelakeError):
    """Rows were lost or counted twice between two layers: a defect, never the data's fault."""


class QualityError(CandlelakeError):
    """More files or lines were refused than the `quality` settings allow."""


class NotEnoughData(CandlelakeError):
    """A computation has too few rows or symbols to mean anything."""
