"""Time of the job `medallion` on an archive, task by task, beside the same arithmetic by hand.

    .venv/bin/python benchmarks/medallion.py ../shared/archive --runs 3

Each run starts in an empty warehouse; the peer (`benchmarks/plain.py`) runs in turn with it.
Printed are medians, and the ratio of the wall times pair by pair.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import click
import polars as pl

ROOT = Path(__file__).parent.parent


def timed(command: list[str]) -> float:
    """Wall time of a whole process, seconds."""
    started = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.monotonic() - started


@click.command()
@click.argument("archive")
@click.option("--runs", default=3, show_default=True)
@click.option("--conf", default="conf/sample.yaml", show_default=True)
def main(archive: str, runs: int, conf: str) -> None:
    """Run and print."""
    ours, plain, tasks = [], [], defaultdict(list)
    candlelake = str(Path(sys.executable).with_name("candlelake"))
    for _ in range(runs):
        place = Path(tempfile.mkdtemp())
        settings = {
            "archive.url": archive,
            "warehouse": place / "lake",
            "mlflow.tracking_uri": f"sqlite:///{place}/mlflow.db",
            "report.folder": place / "report",
        }
        options = [part for k, v in settings.items() for part in ("--set", f"{k}={v}")]
        ours.append(timed([candlelake, "run", "medallion", "--conf", conf, *options]))
        plain.append(timed([sys.executable, "benchmarks/plain.py", archive]))
        done = pl.scan_delta(str(place / "lake/ops/task_runs")).select(
            "task",
            seconds=(pl.col("ended_at") - pl.col("started_at")).dt.total_milliseconds() / 1e3,
        )
        for task, seconds in done.collect().iter_rows():
            tasks[task].append(seconds)
        shutil.rmtree(place)
    for task, seconds in tasks.items():
        print(f"| {task} | {statistics.median(seconds):.1f} |")
    ratio = statistics.median(a / b for a, b in zip(ours, plain, strict=True))
    print(f"| whole process | {statistics.median(ours):.0f} |")
    print(f"plain {statistics.median(plain):.1f} s, ratio {ratio:.1f}, of {runs} runs each")


if __name__ == "__main__":
    main()
