"""What spark-submit starts: a task of the wheel by its name, or a whole job by `run JOB`.

The wheel comes by `--py-files`, so that neither the driver nor an executor has it installed.
"""

import sys

import click

from lakehouse.cli import main
from lakehouse.installed import installed_names
from lakehouse.jobs import ENTRY_POINT_GROUP, load_task

TASKS = sorted(installed_names(ENTRY_POINT_GROUP))
USAGE = f"""Usage: launch.py TASK --conf FILE [--set KEY=VALUE]...   (TASK --help tells the rest)
       launch.py run JOB --conf FILE [--set KEY=VALUE]...
Tasks: {", ".join(TASKS)}"""

name, *arguments = sys.argv[1:] or [""]
if name in ("-h", "--help"):
    click.echo(USAGE)
    sys.exit()
if name == "run":
    main([name, *arguments])
if name not in TASKS:
    click.echo(f"{USAGE}\nError: no task {name!r}" if name else USAGE, err=True)
    sys.exit(2)
task = load_task(name)
sys.argv = [name, *arguments]  # where the entry point looks for them
try:
    task()
except click.UsageError as error:
    error.show()  # how the task is used, and what is wrong: a trace tells nothing more
    sys.exit(error.exit_code)
