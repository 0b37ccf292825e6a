"""The wheel tasks of the gold layer; what they run needs pyspark, so it is imported late."""

from lakehouse.tasks import TaskContext, TaskOutcome, task


@task("asset_metrics", "Return, volatility, Sharpe, drawdown and liquidity of each symbol.")
def asset_metrics(context: TaskContext) -> TaskOutcome:
    """silver.candles -> gold.asset_metrics."""
    from gold.statistics import run_asset_metrics

    return run_asset_metrics(context)


@task("correlations", "Correlation of the returns of each pair of symbols.")
def correlations(context: TaskContext) -> TaskOutcome:
    """silver.candles -> gold.correlations."""
    from gold.statistics import run_correlations

    return run_correlations(context)


@task("smart_index", "Weights, decisions, levels and statistics of every index of the settings.")
def smart_index(context: TaskContext) -> TaskOutcome:
    """Candles and static statistics -> the gold.index_* tables.

    A walk-forward index is made from silver.candles and silver.listings, the static one from
    gold.asset_metrics and gold.correlations.
    """
    from gold.index import run_smart_index

    return run_smart_index(context)
