"""What spark-submit starts: a task of the wheel by its name, or a whole job by `run JOB`.

The wheel comes by `--py-files`, so that neither the driver nor an executor has it installed. What
ends a task is one line here and the exit status 1: the wheel's own entry point raises, as
Databricks wants it.
"""

import sys
from collections.abc import Sequence

import click

from lakehouse.cli import main
from lakehouse.errors import CandlelakeError, in_one_line
from lakehouse.installed import installed_names
from lakehouse.invocation import log_format_of
from lakehouse.jobs import ENTRY_POINT_GROUP, load_task
from lakehouse.logs import about, configure_logs, tell_failure

TASKS = sorted(installed_names(ENTRY_POINT_GROUP))
USAGE = f"""Usage: launch.py TASK --conf FILE [--set KEY=VALUE]...   (TASK --help tells the rest)
       launch.py run JOB --conf FILE [--set KEY=VALUE]...
Tasks: {", ".join(TASKS)}"""


def run_task(name: str, arguments: Sequence[str]) -> int:
    """Run a task; returns the exit status."""
    task = load_task(name)
    log_format = log_format_of(task.command(), arguments)
    configure_logs(log_format)
    subject = {"task": name}
    try:
        given = task.parse(arguments)
        if given is not None:
            subject |= {"run_id": given.run_id, "job": given.job}
            run = task.start(given)
            if log_format == "plain":  # as JSON, the figures are in the last line
                for figure, value in run.figures.items():
                    click.echo(f"  {figure}: {value}")
    except click.UsageError as error:
        error.show()  # how the task is used, and what is wrong: a trace tells nothing more
        return error.exit_code
    except CandlelakeError as error:
        with about(**subject):
            tell_failure(in_one_line(error), log_format)
        return 1
    return 0


name, *arguments = sys.argv[1:] or [""]
if name in ("-h", "--help"):
    click.echo(USAGE)
    sys.exit()
if name == "run":
    main([name, *arguments])
if name not in TASKS:
    click.echo(f"{USAGE}\nError: no task {name!r}" if name else USAGE, err=True)
    sys.exit(2)
sys.exit(run_task(name, arguments))
