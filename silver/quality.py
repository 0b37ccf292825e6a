"""The task `quality_gate`: the job's last, which fails the run when too much was refused.

The good rest has gone through all layers by then: the results are there, and the run is still
seen to need a person.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bronze.contracts import ARCHIVE_FILES
from bronze.universe import historical_usdt_universe, top100_universe
from lakehouse.errors import QualityError
from lakehouse.settings import Settings
from lakehouse.sql import is_in
from lakehouse.tasks import TaskContext, TaskOutcome
from silver.changes import in_scope
from silver.cleaning import DUPLICATE
from silver.contracts import REJECTED_CANDLES

# Files named in the error; the ledger has them all.
_NAMED_FILES = 5


def run_quality_gate(context: TaskContext) -> TaskOutcome:
    """Compare the refused files and rows of the market and interval with the settings.

    Files count when the settings ask for them. Rows are refused in bronze (lines that do not
    parse) and in silver (rows that break a rule); the share is of all lines that were read.

    Raises:
        QualityError: More was refused than allowed; names the files and the commands to look.
    """
    limits = context.settings.quality
    ledger = _wanted(in_scope(context.lake.read(ARCHIVE_FILES), context), context)
    failed = (
        ledger.where("status != 'ingested'")
        .select("source_file", "status")
        .orderBy("source_file")
        .collect()
    )
    lines = ledger.agg(F.sum("rows"), F.sum("rejected_lines")).collect()[0]
    published, unparsed = int(lines[0] or 0), int(lines[1] or 0)
    refused = in_scope(context.lake.read(REJECTED_CANDLES), context).join(
        ledger.select("source_file"), "source_file", "left_semi"
    )
    # A bar that two files tell of is no defect: one of the two rows is kept.
    broken = refused.where(~F.col("rules").eqNullSafe(F.array(F.lit(DUPLICATE)))).count()
    share = (unparsed + broken) / max(published + unparsed, 1)
    facts = f"{len(failed)} failed files, {unparsed + broken:,} rejected rows ({share:.3%})"
    problems = []
    if len(failed) > limits.max_failed_files:
        names = ", ".join(f"{_name(row[0])} ({row[1]})" for row in failed[:_NAMED_FILES])
        more = len(failed) - _NAMED_FILES
        named = f"{names} and {more} more" if more > 0 else names
        problems.append(
            f"{len(failed)} files failed, quality.max_failed_files is {limits.max_failed_files}: "
            f"{named}; see bronze.archive_files, mend the files and begin a new run: a resumed one "
            "does not read them again"
        )
    if share > limits.max_rejected_share:
        problems.append(
            f"{share:.3%} of the rows were rejected, quality.max_rejected_share is "
            f"{limits.max_rejected_share:.3%}: see bronze.rejected_lines and "
            "silver.rejected_candles"
        )
    if problems:
        raise QualityError("; ".join(problems))
    return TaskOutcome(f"passed: {facts}")


def _wanted(ledger: DataFrame, context: TaskContext) -> DataFrame:
    """The files that a run with these settings asks for: those of its months and universe.

    A daily file whose month has come as a whole is asked for no more.
    """
    archive = context.settings.archive
    inside = ledger.where(F.col("month").between(archive.start, archive.end))
    symbols = _universe(inside, context.settings)
    if symbols is not None:
        inside = inside.where(is_in("symbol", symbols))
    whole = inside.where("cadence = 'monthly' AND status = 'ingested'").select("symbol", "month")
    superseded = inside.where("cadence = 'daily'").join(whole, ["symbol", "month"], "left_semi")
    return inside.join(superseded.select("source_file"), "source_file", "left_anti")


def _universe(ledger: DataFrame, settings: Settings) -> tuple[str, ...] | None:
    """The symbols of the universe among the ledger's; None if only the exchange could tell."""
    universe, assets = settings.universe, settings.assets
    if universe.mode == "symbols":
        return universe.symbols
    if universe.mode in ("all-usdt", "diversified"):
        return None
    known = {row["symbol"] for row in ledger.select("symbol").distinct().collect()}
    if universe.mode == "top100":
        return top100_universe(assets.top100, assets.reviewed, known).symbols
    return historical_usdt_universe(known).symbols


def _name(source_file: str) -> str:
    return source_file.rsplit("/", 1)[-1]
