"""What spark-submit starts: a task of the wheel by its name, or a whole job by `run JOB`.

The wheel comes by `--py-files`, so that neither the driver nor an executor has it installed.
"""

import sys

import click

from lakehouse.cli import main
from lakehouse.jobs import load_task

if not sys.argv[1:]:
    sys.exit("name a task of the wheel and its arguments, or a job: run medallion --conf …")
name, *arguments = sys.argv[1:]
if name == "run":
    main([name, *arguments])
task = load_task(name)
sys.argv = [name, *arguments]  # where the entry point looks for them
try:
    task()
except click.UsageError as error:
    error.show()  # how the task is used, and what is wrong: a trace tells nothing more
    sys.exit(error.exit_code)
