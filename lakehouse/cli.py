"""The command line `candlelake`.

Errors are one line that says what to do; `--debug` adds the trace. The exit status is 0 when all
went well, 1 when something failed, 2 for wrong usage and 130 after Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from lakehouse.commands import command_names, load_command
from lakehouse.console import err
from lakehouse.errors import ArchiveError, CandlelakeError, JobError, in_one_line
from lakehouse.jobs import find_job, load_task
from lakehouse.listings import load_listing
from lakehouse.logs import LOG_FORMAT_OPTION, LogFormat, about, configure_logs, remark, tell_failure
from lakehouse.reproduction import load_reproduce, print_reproduction
from lakehouse.session import spark_session
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import register_tables, require_tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

out = Console(soft_wrap=True, emoji=False)

# What a shell gives a program that Ctrl-C ended.
_INTERRUPTED = 130

# What `--resume` without a run stands for.
_NEWEST = "newest"

# Columns of a file or pipe, which has no width: no table's line is broken and no value cut.
_PIPE_WIDTH = 10_000


class _Group(click.Group):
    """Shows an explained error as one line, and any error's trace with `--debug`.

    Commands of other modules, which the wheel names, stand among its own.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *command_names()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or load_command(cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CandlelakeError as error:
            if ctx.params.get("debug"):
                raise
            self._tell(ctx, in_one_line(error))
            ctx.exit(1)
        except KeyboardInterrupt:  # click's own end is "Aborted!" and 1, as of a failure
            self._tell(ctx, "stopped")
            ctx.exit(_INTERRUPTED)

    def _tell(self, ctx: click.Context, problem: str) -> None:
        with about(**(ctx.obj or {})):
            tell_failure(problem, ctx.params["log_format"])


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `--conf` and `--set`."""
    command = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override one setting, such as archive.url=/data/binance; may be repeated.",
    )(command)
    return click.option(
        "--conf",
        type=click.Path(path_type=Path),
        default=Path("conf/sample.yaml"),
        show_default=True,
        envvar="CANDLELAKE_CONF",
        help="Settings of the environment; base.yaml is read from the same folder.",
    )(command)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("candlelake"), prog_name="candlelake")
@click.option("--debug", is_flag=True, help="Show the whole trace of an error, and each commit.")
@click.option("--log-format", **LOG_FORMAT_OPTION)
def main(debug: bool, log_format: LogFormat) -> None:
    """From a crypto exchange's raw candles to research that can be trusted.

    \b
    candlelake run medallion     raw ZIPs -> bronze, silver, gold and ml tables
    candlelake runs              what was run, and how it ended
    candlelake tables            what the warehouse holds
    candlelake sql "SELECT …"    ask it, also about the past: … VERSION AS OF 0
    candlelake report            one HTML page and CSV files from the results
    candlelake reproduce MODEL   fit a recorded model again and compare
    candlelake risk              a portfolio's exposures, risk and stress by the factor model

    Every command takes its settings from --conf (conf/sample.yaml unless given, or the
    environment variable CANDLELAKE_CONF) and --set.
    """
    if not out.is_terminal:
        out.width = _PIPE_WIDTH
    configure_logs(log_format, debug=debug)


@main.command()
@click.argument("job")
@settings_options
@click.option(
    "--jobs",
    "jobs_file",
    type=click.Path(path_type=Path),
    help="File of the jobs; jobs.yaml in the folder above --conf unless given.",
)
@click.option(
    "--resume",
    is_flag=False,
    flag_value=_NEWEST,
    metavar="[RUN_ID]",
    help="Go on with the job's newest recorded run, or with RUN_ID: only tasks that failed, were "
    "skipped or did not end, and those that depend on them, are run.",
)
@click.pass_context
def run(
    ctx: click.Context,
    job: str,
    conf: Path,
    overrides: Sequence[str],
    jobs_file: Path | None,
    resume: str | None,
) -> None:
    """Run JOB of jobs.yaml, its tasks in dependency order.

    What has not changed since the last run is not done again. A failed task stops the tasks that
    depend on it and no others; the exit status is then 1.

    \b
    candlelake run medallion
    candlelake run medallion --conf conf/sample.yaml --set archive.url=/data/binance
    candlelake run medallion --set archive.market=spot
    candlelake run medallion --resume
    """
    from lakehouse.doctor import check_archive
    from lakehouse.invocation import new_run_id
    from lakehouse.resume import earlier_run
    from lakehouse.runner import run_job
    from lakehouse.summary import print_summary

    settings = load_settings(conf, overrides)
    jobs = jobs_file or conf.absolute().parent.parent / "jobs.yaml"
    if not jobs.exists():
        raise JobError(f"{jobs} does not exist, in the folder above --conf: name one by --jobs")
    found = find_job(jobs, job)
    # A server that is busy now may answer a moment later, when the task asks it again and again.
    wanted = settings.with_candles_of(found.candles).archive
    if wanted.is_folder:
        archive = check_archive(wanted, found.candles)
        if not archive.ok:
            raise ArchiveError(f"{archive.found}: {archive.remedy}")
    # What an error is about, from here on.
    subject = ctx.find_root().obj = {"job": found.name}
    if resume is None:
        subject["run_id"] = new_run_id(datetime.now(UTC))
        result = run_job(found, settings, conf, overrides, subject["run_id"])
    else:
        with spark_session(settings.spark) as spark:
            earlier = earlier_run(spark, settings, found, None if resume == _NEWEST else resume)
            subject["run_id"] = earlier.run_id
            result = run_job(found, settings, conf, overrides, earlier.run_id, earlier.done)
    again = ["run", job, "--conf", str(conf)]
    again += [part for override in overrides for part in ("--set", override)]
    again += ["--jobs", str(jobs_file)] if jobs_file else []
    print_summary(out, result, settings, conf, again)
    failed = [task for task in result.tasks if task.status == "failed"]
    if failed and ctx.find_root().params["debug"] and failed[0].error is not None:
        raise failed[0].error
    if failed:
        raise JobError("; ".join(f"{task.task} failed: {task.message}" for task in failed))


@main.command()
@click.argument("query")
@settings_options
@click.option("--limit", default=50, show_default=True, help="Rows shown at the most.")
def sql(query: str, conf: Path, overrides: Sequence[str], limit: int) -> None:
    """Run a SQL QUERY on the tables, in any of their versions.

    \b
    candlelake sql "SELECT as_of, symbol, weight FROM gold.index_weights
      WHERE index_name = 'smart_static' ORDER BY as_of DESC, rank"
    candlelake sql "SELECT count(*) FROM bronze.klines VERSION AS OF 0"
    candlelake sql "DESCRIBE silver.candles"
    """
    with tables_of(load_settings(conf, overrides)) as (spark, names), _explained(names):
        _print_frame(spark.sql(query), limit)


@main.command()
@click.argument("table")
@settings_options
def history(table: str, conf: Path, overrides: Sequence[str]) -> None:
    """Show the versions of TABLE, such as silver.candles: when, what and how many rows."""
    columns = ["version", "timestamp", "operation", "operationMetrics.numOutputRows as rows"]
    with tables_of(load_settings(conf, overrides)) as (spark, names):
        if table not in names:
            raise CandlelakeError(f"no table {table!r}: there are {', '.join(names)}")
        frame = spark.sql(f"DESCRIBE HISTORY {table}").selectExpr(*columns)
        _print_frame(frame, limit=1000)


@main.command()
@settings_options
@click.option("--limit", default=50, show_default=True, help="Rows shown at the most.")
def republished(conf: Path, overrides: Sequence[str], limit: int) -> None:
    """List the source files whose content was replaced: when, by what, and how many rows differ.

    Each is compared with its former rows by time travel. A daily file is replaced by its monthly
    one; any other file by its republication.
    """
    settings = load_settings(conf, overrides)
    with tables_of(settings) as (spark, _):
        with err.status("comparing replaced files with what took their place"):
            found = load_listing("republished_files")(spark, settings)
        _print_frame(found, limit)


@main.command()
@click.argument("reference")
@settings_options
def reproduce(reference: str, conf: Path, overrides: Sequence[str]) -> None:
    """Fit a recorded model again and compare it with its record, to the last bit.

    REFERENCE is models:/NAME@champion, models:/NAME/VERSION or the id of an MLflow run. Data of
    the recorded Delta versions, the recorded settings and seed are used. The exit status is 1 when
    anything differs.

    \b
    candlelake reproduce models:/candlelake-gbt-um-4h@champion
    """
    settings = load_settings(conf, overrides)
    if not settings.catalog:
        require_tables(settings.warehouse)
    with err.status("fitting again"):
        done = load_reproduce()(settings, reference)
    print_reproduction(out, done)
    done.require_same()


@main.command()
@settings_options
def tables(conf: Path, overrides: Sequence[str]) -> None:
    """List the tables of the warehouse with version, rows and size."""
    with tables_of(load_settings(conf, overrides)) as (spark, names):
        listing = folding_table("table", "version", "rows", "MB", "what it holds")
        for name in names:
            detail = spark.sql(f"DESCRIBE DETAIL {name}").collect()[0]
            newest = spark.sql(f"DESCRIBE HISTORY {name} LIMIT 1").collect()[0]
            listing.add_row(
                escape(name),
                str(newest["version"]),
                f"{spark.table(name).count():,}",
                f"{detail['sizeInBytes'] / 1e6:,.1f}",
                escape(detail["description"] or ""),
            )
        out.print(listing)


@main.command()
@settings_options
@click.pass_context
def doctor(ctx: click.Context, conf: Path, overrides: Sequence[str]) -> None:
    """Say what is missing on this machine, and how to get it."""
    from lakehouse.doctor import run_checks

    checks = run_checks(load_settings(conf, overrides))
    listing = folding_table("", "check", "found", "what to do")
    for check in checks:
        sign = "[green]ok[/]" if check.ok else "[bold red]missing[/]"
        listing.add_row(sign, *map(escape, (check.name, check.found, check.remedy)))
    out.print(listing)
    ctx.exit(0 if all(check.ok for check in checks) else 1)


@main.command()
@settings_options
def report(conf: Path, overrides: Sequence[str]) -> None:
    """Write the HTML page and the CSV exports of the newest results into report.folder."""
    settings = load_settings(conf, overrides)
    if not settings.catalog:
        require_tables(settings.warehouse)
    arguments = ["--conf", str(conf)]
    arguments += [part for override in overrides for part in ("--set", override)]
    done = load_task("report").main(arguments)
    if done is not None:
        out.print(escape(done.message), highlight=False)


@contextmanager
def tables_of(settings: Settings) -> Iterator[tuple[SparkSession, list[str]]]:
    """A session in which the warehouse's tables have their names, and those names."""
    if not settings.catalog:
        require_tables(settings.warehouse)
    with ExitStack() as stack:
        with err.status("starting Spark"):
            spark = stack.enter_context(spark_session(settings.spark))
            names = register_tables(spark, settings.warehouse, settings.catalog)
        yield spark, names


@contextmanager
def _explained(names: Sequence[str]) -> Iterator[None]:
    """Make an error that the user's own SQL leads to, at once or while it runs, one line."""
    try:
        yield
    except Exception as error:
        is_unknown = "TABLE_OR_VIEW_NOT_FOUND" in str(error)
        hint = f" The tables are {', '.join(names)}." if is_unknown else ""
        raise CandlelakeError(in_one_line(error) + hint) from error


def folding_table(*headers: str) -> Table:
    """An empty table that breaks a long value on a terminal, where it would be cut."""
    return Table(*(Column(escape(header), overflow="fold") for header in headers))


def _print_frame(frame: DataFrame, limit: int) -> None:
    # Arrow and not collect(), which turns timestamps into this machine's local time.
    rows = frame.limit(limit + 1).toArrow()
    listing = folding_table(*frame.columns)
    shown = (column.to_pylist() for column in rows.slice(0, limit).columns)
    for row in zip(*shown, strict=True):
        listing.add_row(*("NULL" if value is None else escape(str(value)) for value in row))
    out.print(listing)
    if rows.num_rows > limit:
        remark(f"only the first {limit} rows are shown: --limit shows more")
