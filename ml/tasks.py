"""The wheel tasks of the ml layer; what they run needs pyspark and mlflow, imported late."""

from lakehouse.tasks import TaskContext, TaskOutcome, task


@task("pca", "Principal components of the returns of all symbols.")
def pca(context: TaskContext) -> TaskOutcome:
    """silver.candles -> ml.pca_components."""
    from ml.pca import run_pca

    return run_pca(context)


@task("kmeans", "Clusters of symbols by return, volatility and Sharpe ratio.")
def kmeans(context: TaskContext) -> TaskOutcome:
    """gold.asset_metrics -> ml.clusters."""
    from ml.kmeans import run_kmeans

    return run_kmeans(context)


@task("gbt_features", "Features and target of the gradient-boosted trees.")
def gbt_features(context: TaskContext) -> TaskOutcome:
    """silver.candles -> ml.features."""
    from ml.feature_table import run_gbt_features

    return run_gbt_features(context)


@task("gbt", "Gradient-boosted trees for the next bar's return, judged by walking forward.")
def gbt(context: TaskContext) -> TaskOutcome:
    """ml.features -> ml.predictions and ml.feature_importances."""
    from ml.gbt import run_gbt

    return run_gbt(context)


@task("score", "Predictions of the newest bar by the champion of the registry.")
def score(context: TaskContext) -> TaskOutcome:
    """ml.features -> ml.predictions."""
    from ml.score import run_score

    return run_score(context)


@task("index_run", "An MLflow run for each walk-forward index.")
def index_run(context: TaskContext) -> TaskOutcome:
    """Gold tables of the indices -> MLflow."""
    from ml.index_run import run_index_run

    return run_index_run(context)


@task("report", "One HTML page and CSV files of the newest results.")
def report(context: TaskContext) -> TaskOutcome:
    """Gold and ml tables -> the report's folder."""
    from ml.report import run_report

    return run_report(context)
