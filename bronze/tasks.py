"""The wheel task of the bronze layer."""

from lakehouse.tasks import TaskContext, TaskOutcome, task


@task("ingest_archive", "Load new and republished files of the archive into bronze.")
def ingest_archive(context: TaskContext) -> TaskOutcome:
    """Archive -> bronze.archive_files, klines and rejected_lines."""
    from bronze.ingest import run_ingest_archive  # pyspark is needed only once the task runs

    return run_ingest_archive(context)
