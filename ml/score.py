"""The task `score`: the champion of the registry and ml.features -> the newest ml.predictions."""

from __future__ import annotations

from pyspark.sql import functions as F

from lakehouse.errors import NotEnoughData
from lakehouse.sql import equals
from lakehouse.tasks import TaskContext, TaskOutcome
from ml.contracts import FEATURES, NEWEST, PREDICTIONS
from ml.feature_table import in_scope, newest
from ml.gbt import EXPERIMENT
from ml.registry import load_champion


def run_score(context: TaskContext) -> TaskOutcome:
    """Predict the return of the bar after the newest one, for each symbol that has all features.

    Raises:
        ModelNotFound: No model of the market and interval is the champion.
        NotEnoughData: No symbol has all features at the newest bar.
    """
    champion, model = load_champion(context, EXPERIMENT)
    rows = newest(in_scope(context.lake.read(FEATURES), context))
    stamps = {
        "run_id": context.run_id,
        "mlflow_run_id": champion.mlflow_run_id,
        "split": NEWEST,
        **context.settings.scope,
    }
    constants = {name: F.lit(value) for name, value in stamps.items()}
    constants["model_version"] = F.lit(champion.version).cast("bigint")
    predicted = model.transform(rows).withColumns(constants)
    mine = equals({"run_id": context.run_id, "split": NEWEST})
    context.lake.replace(PREDICTIONS, predicted.select(*PREDICTIONS.column_names), mine)
    written = context.lake.read_own(PREDICTIONS).where(mine)
    bar = F.date_format(F.max("open_time"), "yyyy-MM-dd HH:mm")
    count, at = written.agg(F.count("*"), bar).collect()[0]
    if not count:
        scope = " ".join(context.settings.scope.values())
        raise NotEnoughData(
            f"no symbol of {scope} has all features at the newest bar: run gbt_features first"
        )
    return TaskOutcome(
        f"{count:,} predictions of the bar after {at} UTC by {champion.name}, version "
        f"{champion.version}"
    )
