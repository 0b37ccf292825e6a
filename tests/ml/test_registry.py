import os
import time
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.feature import VectorAssembler

from lakehouse.settings import Settings
from ml.champions import CHAMPION, REASON
from ml.registry import DOUBLE, VECTOR, Interface, load_champion, register
from ml.tracking import tracked_run
from tests.conftest import ContextFactory

EXAMPLE = pd.DataFrame({"x": [1.0]})


@pytest.fixture
def spot(in_store: Settings) -> Settings:
    """A market of the test's own in the store that is there already."""
    return in_store.model_copy(
        update={"archive": in_store.archive.model_copy(update={"market": "spot"})}
    )


def test_the_champion_moves_to_a_better_version_alone(
    make_context: ContextFactory, spot: Settings
) -> None:
    context = make_context("gbt", settings=spot)
    model = PipelineModel([VectorAssembler(inputCols=["x"], outputCol="prediction")])
    interface = Interface({"x": DOUBLE}, VECTOR, EXAMPLE)
    name = "candlelake-made_up-spot-4h"
    client = mlflow.MlflowClient()
    champions, reasons = [], []
    folder = Path(spot.warehouse, "_models")
    killed, busy = folder / "of a killed run", folder / "of a run that goes on"
    for each in (killed, busy):
        each.mkdir(parents=True)
    os.utime(killed, (time.time() - 2 * 86_400,) * 2)
    for value in (None, -0.2, -0.3, -0.2, 0.1, None):
        with tracked_run(context, "made_up", "walk_forward") as run:
            run.log_metrics({"oos_r2": value} if value is not None else {"rmse": 1.0})
            registered = register(run, model, "made_up", interface, "oos_r2")
        assert registered.name == name
        held = client.get_registered_model(name).aliases.get(CHAMPION)
        champions.append(None if held is None else int(held))
        tags = client.get_model_version(name, str(registered.version)).tags
        assert tags[REASON] == registered.reason
        reasons.append(registered.reason)
    assert champions == [None, 2, 2, 2, 5, 5]
    assert reasons[0] == reasons[5] == "not champion: the run has no oos_r2"
    assert reasons[1].startswith("champion: there was none, oos_r2 -0.2")
    assert reasons[2].startswith("not champion: oos_r2 -0.3 ")
    assert "does not beat -0.2 of version 2" in reasons[3]
    assert reasons[4].startswith("champion: oos_r2 0.1 ")
    assert "beats -0.2 of version 2" in reasons[4]
    dethroned = client.get_model_version(name, "2").tags[REASON]
    assert dethroned.startswith("no longer champion: version 5 is, oos_r2 0.1 ")
    champion, loaded = load_champion(context, "made_up")  # and not the newest
    assert (champion.version, champion.reason) == (5, reasons[4])
    assert len(loaded.stages) == 1
    assert [each.name for each in folder.iterdir()] == [busy.name]
