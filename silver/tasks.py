"""The wheel tasks of the silver layer."""

from lakehouse.tasks import TaskContext, TaskOutcome, task


@task("clean_candles", "Align, clean and de-duplicate candles: bronze.klines -> silver.")
def clean_candles(context: TaskContext) -> TaskOutcome:
    """bronze.klines -> silver.candles, rejected_candles, gaps and listings."""
    from silver.clean import run_clean_candles  # pyspark is needed only once the task runs

    return run_clean_candles(context)


@task("quality_gate", "Fail the run when more files or lines were refused than allowed.")
def quality_gate(context: TaskContext) -> TaskOutcome:
    """Count what bronze and silver refused against the `quality` settings."""
    from silver.quality import run_quality_gate

    return run_quality_gate(context)
