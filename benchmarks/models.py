"""What it costs that a fit can be had again: the trees beside the plain Spark ML call, in turn.

    .venv/bin/python benchmarks/models.py WAREHOUSE --runs 3

WAREHOUSE holds ml.features of 4h perpetuals. The plain call assembles the same columns of the same
table and fits the same trees, with rows as Spark reads them. Then a fitted model is logged,
registered and loaded again in a store of its own. Printed are medians.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click
from pyspark.ml import Pipeline
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import GBTRegressor

from lakehouse.session import spark_session
from lakehouse.settings import load_settings
from lakehouse.tables import Lake
from lakehouse.tasks import TaskContext
from ml.contracts import FEATURES
from ml.feature_table import complete, in_scope
from ml.features import FEATURE_NAMES, TARGET
from ml.fits import KEY, fit_gbt
from ml.registry import DOUBLE, Interface, load_champion, register
from ml.tracking import tracked_run


@click.command()
@click.argument("warehouse")
@click.option("--runs", default=3, show_default=True)
@click.option("--conf", default="conf/sample.yaml", show_default=True)
def main(warehouse: str, runs: int, conf: str) -> None:
    """Run and print."""
    store = f"sqlite:///{tempfile.mkdtemp()}/mlflow.db"
    settings = load_settings(Path(conf), [f"warehouse={warehouse}", f"mlflow.tracking_uri={store}"])
    with spark_session(settings.spark) as spark:
        context = TaskContext(
            spark=spark,
            settings=settings,
            lake=Lake(spark, warehouse),
            run_id="benchmark",
            job="",
            task="gbt",
            now=datetime.now(UTC),
            code_version="",
            settings_digest="",
        )
        features = complete(in_scope(context.lake.read(FEATURES), context))
        rows = features.select(*KEY, *FEATURE_NAMES, TARGET)
        count = rows.count()

        def plain() -> object:
            assembler = VectorAssembler(inputCols=list(FEATURE_NAMES), outputCol="features")
            trees = GBTRegressor(labelCol=TARGET, maxIter=20, maxDepth=5, seed=42)
            return Pipeline(stages=[assembler, trees]).fit(rows)

        pairs = [
            (seconds(plain), seconds(lambda: fit_gbt(context, rows, count))) for _ in range(runs)
        ]
        ratio = statistics.median(ours / theirs for theirs, ours in pairs)
        theirs, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(f"{count:,} rows: plain {theirs:.1f} s, ours {ours:.1f} s, ratio {ratio:.2f}")

        model = fit_gbt(context, rows.limit(20_000), 20_000)
        example = rows.select(*FEATURE_NAMES).limit(2).toPandas()
        interface = Interface(dict.fromkeys(FEATURE_NAMES, DOUBLE), DOUBLE, example)
        kept, loaded = [], []
        for _ in range(runs + 1):  # the first makes the store
            with tracked_run(context, "gbt", "walk_forward") as run:
                run.log_metrics({"oos_r2": 0.0})
                kept.append(seconds(lambda: register(run, model, "gbt", interface, "oos_r2")))
            loaded.append(seconds(lambda: load_champion(context, "gbt")))
        print(f"log and register {statistics.median(kept[1:]):.1f} s, reload ", end="")
        print(f"{statistics.median(loaded[1:]):.1f} s")


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


if __name__ == "__main__":
    main()
