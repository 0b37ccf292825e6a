"""A run that is killed for real between two commits, run again, ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from bronze.contracts import ARCHIVE_FILES, KLINES, REJECTED_LINES
from bronze.tasks import ingest_archive
from gold.contracts import ASSET_METRICS
from gold.tasks import asset_metrics
from lakehouse.runs import TASK_RUNS
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from silver.contracts import CANDLES, GAPS, LISTINGS, REJECTED_CANDLES
from silver.tasks import clean_candles
from tests.pipelines import lake_of, rows, run
from tests.support import as_csv, month_of_candles, put_file, rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[1]
TABLES = (
    *(ARCHIVE_FILES, KLINES, REJECTED_LINES),
    *(CANDLES, REJECTED_CANDLES, GAPS, LISTINGS),
    ASSET_METRICS,
)
TASKS = (ingest_archive, clean_candles, asset_metrics)
DEADLINE_SECONDS = 300
POLL_SECONDS = 0.001
ATTEMPTS = 5
"""On a busy machine the kill can come after the ledger, which shows nothing."""
SPARK = (
    "{spark.driver.memory: 1g, "
    "spark.driver.extraJavaOptions: '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC'}"
)


def publish(root: Path) -> None:
    """Two months of two symbols, with a bad line, a bad row, a hole and a bad file."""
    january, february = (month_of_candles(month, 12) for month in ("2025-01", "2025-02"))
    put_file(root, "AUSDT", "2025-01", as_csv(january), interval="12h")
    put_file(root, "AUSDT", "2025-02", as_csv(february) + b"broken\n", interval="12h")
    put_file(root, "BUSDT", "2025-01", as_csv([*january[:20], *january[30:]]), interval="12h")
    high_below_low = [*february[:5], [*february[5][:2], 1.0, *february[5][3:]], *february[6:]]
    put_file(root, "BUSDT", "2025-02", as_csv(high_below_low), interval="12h")
    put_file(root, "CUSDT", "2025-01", as_csv(january), interval="12h", checksum=None)


def jobs_file(folder: Path) -> Path:
    """A job of the tasks under test alone, as jobs.yaml has them."""
    jobs = yaml.safe_load((ROOT / "jobs.yaml").read_text())
    job = jobs["resources"]["jobs"]["medallion"]
    names = [task.name for task in TASKS]
    job["tasks"] = [task for task in job["tasks"] if task["task_key"] in names]
    assert [task["task_key"] for task in job["tasks"]] == names
    path = folder / "jobs.yaml"
    path.write_text(yaml.safe_dump(jobs))
    return path


def command(folder: Path, settings: Settings, warehouse: Path) -> list[str]:
    overrides = {
        "warehouse": warehouse,
        "archive.url": settings.archive.url,
        "archive.interval": settings.archive.interval,
        "spark.master": "local[2]",
        "spark.conf": SPARK,
    }
    program = str(Path(sys.executable).with_name("candlelake"))
    jobs, conf = str(jobs_file(folder)), str(ROOT / "conf" / "sample.yaml")
    options = [part for key, value in overrides.items() for part in ("--set", f"{key}={value}")]
    return [program, "run", "medallion", "--jobs", jobs, "--conf", conf, *options]


def environment() -> dict[str, str]:
    """These sources and no other, whatever the working directory."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def kill_once_there(arguments: list[str], cwd: Path, commit: Path) -> None:
    """Start the command and kill it and all its children as soon as a file has appeared."""
    log = cwd / "killed.log"
    deadline = time.monotonic() + DEADLINE_SECONDS
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, cwd=cwd, env=environment(), stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            while not commit.exists():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(POLL_SECONDS)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # the JVM is in the group
            process.wait()
    assert process.returncode == -signal.SIGKILL


def commit_1(warehouse: Path, table: str, layer: str = "bronze") -> Path:
    return warehouse / layer / table / "_delta_log" / "00000000000000000001.json"


def killed_between(folder: Path, settings: Settings) -> tuple[Path, list[str]]:
    """The warehouse of a run that was killed after the rows and before the ledger; its command."""
    for number in range(ATTEMPTS):
        warehouse = folder / f"killed-{number}"
        arguments = command(folder, settings, warehouse)
        kill_once_there(arguments, folder, commit_1(warehouse, "klines"))
        if not commit_1(warehouse, "archive_files").exists():
            return warehouse, arguments
    raise AssertionError(f"the ledger was written before the kill, {ATTEMPTS} times")


def test_killed_between_rows_and_ledger_then_between_tasks_and_resumed(
    spark: "SparkSession", base_settings: Settings, tmp_path: Path
) -> None:
    publish(tmp_path / "archive")
    settings = lake_of(base_settings, tmp_path, tmp_path / "archive", "12h")
    warehouse, arguments = killed_between(tmp_path, settings)
    lake = Lake(spark, str(warehouse))
    # Files that are good in every line come first; the one with the broken line was not read yet.
    assert len(rows(lake, KLINES)) == 62 + 52 + 56
    assert rows(lake, ARCHIVE_FILES) == []
    assert rows(lake, TASK_RUNS) == []

    # Run again, and killed again once its first task is recorded: the rest is resumed.
    kill_once_there(arguments, tmp_path, commit_1(warehouse, "task_runs", "ops"))
    (ingested,) = rows(lake, TASK_RUNS)
    assert (ingested["task"], ingested["status"]) == ("ingest_archive", "succeeded")
    resumed = subprocess.run(
        [*arguments, "--resume"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    run(spark, settings, "undisturbed", *TASKS)
    undisturbed = Lake(spark, settings.warehouse)
    for contract in TABLES:
        expected = rows_of(undisturbed, contract)
        assert expected, contract.full_name
        assert rows_of(lake, contract) == expected, contract.full_name
    recorded = {row["task"]: row for row in rows(lake, TASK_RUNS)}
    assert recorded.keys() == {task.name for task in TASKS}
    assert {(row["run_id"], row["status"]) for row in recorded.values()} == {
        (ingested["run_id"], "succeeded")
    }
    assert recorded["ingest_archive"] == ingested  # it was not run again
