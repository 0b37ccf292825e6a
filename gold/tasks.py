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


@task("factor_returns", "Return of the market and of coins sorted into buckets, bar by bar.")
def factor_returns(context: TaskContext) -> TaskOutcome:
    """silver.candles -> gold.factor_buckets and factor_returns."""
    from gold.factor_returns import run_factor_returns

    return run_factor_returns(context)


@task("factor_exposures", "Exposure of each coin to the factors, by rolling ridge regression.")
def factor_exposures(context: TaskContext) -> TaskOutcome:
    """silver.candles and gold.factor_returns -> gold.factor_exposures."""
    from gold.factor_exposures import run_factor_exposures

    return run_factor_exposures(context)


@task("factor_risk", "Statistics of the factors, and the risk of portfolios day by day.")
def factor_risk(context: TaskContext) -> TaskOutcome:
    """gold.factor_returns, factor_exposures and index_weights -> the risk tables."""
    from gold.risk import run_factor_risk

    return run_factor_risk(context)
