"""Two processes that run the same job on one warehouse at once end as one run does."""

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from bronze.tasks import ingest_archive
from lakehouse.runs import TASK_RUNS
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from silver.tasks import clean_candles
from tests.pipelines import lake_of, rows, run
from tests.support import rows_of
from tests.test_killed_run import TABLES, TASKS, command, environment, publish

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_two_processes_at_once_on_one_warehouse_end_as_one(
    spark: "SparkSession", base_settings: Settings, tmp_path: Path
) -> None:
    publish(tmp_path / "archive")
    settings = lake_of(base_settings, tmp_path, tmp_path / "archive", "12h")
    warehouse = tmp_path / "both"
    arguments = command(tmp_path, settings, warehouse)
    logs = [tmp_path / f"{number}.log" for number in range(2)]
    processes = []
    for log in logs:
        with log.open("wb") as output:
            processes.append(
                subprocess.Popen(
                    arguments, cwd=tmp_path, env=environment(), stdout=output, stderr=output
                )
            )
    run(spark, settings, "alone", *TASKS)
    for process, log in zip(processes, logs, strict=True):
        assert process.wait() == 0, log.read_text()
    both, one = (Lake(spark, str(each)) for each in (warehouse, settings.warehouse))
    for contract in TABLES:
        expected = rows_of(one, contract)
        assert expected, contract.full_name
        assert rows_of(both, contract) == expected, contract.full_name
    # The second of each found nothing left to do: it had waited for its turn.
    found = [(row["task"], row["status"]) for row in rows(both, TASK_RUNS)]
    for task in (ingest_archive, clean_candles):
        statuses = sorted(status for name, status in found if name == task.name)
        assert statuses == ["succeeded", "unchanged"]
