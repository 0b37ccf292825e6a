"""What spark-submit starts: a task of the wheel by its name, or a whole job by `run JOB`.

The wheel comes by `--py-files`, so that neither the driver nor an executor has it installed.
"""

import sys

from lakehouse.cli import main
from lakehouse.jobs import load_task

if not sys.argv[1:]:
    sys.exit("name a task of the wheel and its arguments, or a job: run medallion --conf …")
name, *arguments = sys.argv[1:]
if name == "run":
    main([name, *arguments])
else:
    sys.argv = [name, *arguments]  # where the entry point looks for them
    load_task(name)()
