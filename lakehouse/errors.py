"""Errors that a person can act on: each message is one line that says what to do.

`CandlelakeError` is the base; the command line prints its message and exits with 1, and keeps
the trace for `--debug`. Anything else that reaches the command line is a defect of Candlelake.
"""

_PY4J_OPENING = "An error occurred while calling"


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


class WriteConflict(TableError):
    """Another run changed the same rows meanwhile; the task must be planned again from them."""


class EnvironmentProblem(CandlelakeError):
    """The machine lacks something: Java, a package, space or a permission."""


class ConservationError(CandlelakeError):
    """Rows were lost or counted twice between two layers: a defect, never the data's fault."""


class QualityError(CandlelakeError):
    """More files or lines were refused than the `quality` settings allow."""


class PortfolioError(CandlelakeError):
    """A portfolio is unknown, or its file is missing, malformed or names unknown symbols."""


class NotEnoughData(CandlelakeError):
    """A computation has too few rows or symbols to mean anything."""


class ModelNotFound(CandlelakeError):
    """A run or a registered model that the MLflow store does not hold."""


class ReproductionError(CandlelakeError):
    """A recorded fit cannot be had again, or differs from its record."""


def in_one_line(error: BaseException) -> str:
    """What an error says, in one line; one that Candlelake does not explain begins with its type.

    The first line that says something is taken: py4j's own opening line never does, and Spark's
    traces follow below.
    """
    if isinstance(error, CandlelakeError):
        return " ".join(str(error).split())
    lines = [line.strip(": ") for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(_PY4J_OPENING)]
    return ": ".join([type(error).__name__, *said[:1]])
