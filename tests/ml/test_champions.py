"""Champions of made-up runs, on a store that holds models already."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import mlflow
import pytest
from mlflow.entities import Dataset, DatasetInput, Param
from mlflow.exceptions import MlflowException

from ml import champions
from ml.champions import CHAMPION, REASON, choose_champion, find_champion

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from tests.ml.conftest import Trained

METRIC = "oos_r2"
_names = (f"champions-{number}" for number in count())


class Store:
    """A model of the test's own."""

    def __init__(self) -> None:
        self.client = mlflow.MlflowClient()
        self.name = next(_names)
        self.client.create_registered_model(self.name)
        self.experiment = self.client.create_experiment(self.name, "file:///nowhere")

    def version(
        self, value: float | None, data: str = "ml.features@v1", depth: int = 5
    ) -> ModelVersion:
        """A new version whose run measured a value."""
        run = self.client.create_run(self.experiment).info
        if value is not None:
            self.client.log_metric(run.run_id, METRIC, value)
        settings = {"ml.seed": 42, "ml.gbt.max_depth": depth, "report.folder": self.name}
        params = [Param(key, str(text)) for key, text in settings.items()]
        self.client.log_batch(run.run_id, params=params)
        dataset = Dataset(data, digest=data[-8:], source_type="delta_table", source="{}")
        self.client.log_inputs(run.run_id, [DatasetInput(dataset)])
        return self.client.create_model_version(self.name, run.artifact_uri, run.run_id)

    def choose(self, version: ModelVersion) -> str:
        return choose_champion(self.client, version, "gbt", METRIC)

    def champion(self) -> str | None:
        found = find_champion(self.client, self.name)
        return None if found is None else str(found.version)

    def said(self, version: ModelVersion) -> str:
        tags = self.client.get_model_version(self.name, version.version).tags
        return str(tags[REASON])


@pytest.fixture
def store(trained: Trained) -> Store:
    return Store()


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_version_without_a_number_is_no_champion(store: Store, value: float | None) -> None:
    assert store.choose(store.version(value)) == f"not champion: the run has no {METRIC}"
    assert store.champion() is None
    assert store.choose(store.version(-1.0)).startswith("champion: there was none")
    assert store.champion() == "2"


def test_any_number_beats_a_champion_without_one(store: Store) -> None:
    broken = store.version(float("nan"))
    store.client.set_registered_model_alias(store.name, CHAMPION, broken.version)
    assert store.choose(store.version(-1.0)).endswith("version 1 has none")
    assert store.champion() == "2"


def test_other_data_and_other_settings_are_said(store: Store) -> None:
    store.choose(store.version(0.1))
    assert store.choose(store.version(0.0)) == (
        "not champion: oos_r2 0 on ml.features@v1 does not beat 0.1 of version 1 on ml.features@v1"
    )
    newer = "ml.features@v2"
    assert store.choose(store.version(0.0, newer)).endswith(f"on {newer[:-1]}1 (other data)")
    assert store.choose(store.version(0.0, depth=3)).endswith("(other settings)")
    both = store.version(0.2, newer, depth=3)
    assert store.choose(both).endswith("(other data and other settings)")
    assert store.said(both).startswith("champion: oos_r2 0.2 on ml.features@v2 beats 0.1 of")


@pytest.mark.parametrize("moment", ["compared", "moved"])
def test_of_two_runs_that_end_at_once_the_better_one_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    store.choose(store.version(0.0))
    one, other = store.version(0.01), store.version(0.02)
    if moment == "compared":  # the better one becomes champion while the worse one is compared
        first, second = other, one
        at = "_compared"
        compared = champions._compared

        def interrupted(*args: object) -> object:
            monkeypatch.setattr(champions, at, compared)
            store.choose(first)
            return compared(*args)  # type: ignore[arg-type]  # handed on as they came

        monkeypatch.setattr(champions, at, interrupted)
        assert store.choose(second).startswith("not champion: oos_r2 0.01 ")
    else:  # the worse one, compared before, takes the alias from the better one
        set_alias = store.client.set_registered_model_alias

        def overtaken(name: str, alias: str, version: str) -> None:
            monkeypatch.setattr(store.client, "set_registered_model_alias", set_alias)
            set_alias(name, alias, version)
            set_alias(name, alias, one.version)

        monkeypatch.setattr(store.client, "set_registered_model_alias", overtaken)
        assert store.choose(other).startswith("champion: oos_r2 0.02 ")
    assert store.champion() == str(other.version)


def test_a_store_that_cannot_say_is_no_store_without_a_champion(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = store.version(0.1)

    def fails(*_: object) -> None:
        raise MlflowException("the database is locked")

    for call in ("get_model_version_by_alias", "get_run"):
        with monkeypatch.context() as patch:
            patch.setattr(store.client, call, fails)
            with pytest.raises(MlflowException, match="locked"):
                store.choose(version)
    assert store.champion() is None
    assert store.choose(version).startswith("champion: there was none")


def test_a_version_whose_run_is_gone_has_no_number(store: Store) -> None:
    gone = store.client.create_model_version(store.name, "file:///nowhere", None)
    store.client.set_registered_model_alias(store.name, CHAMPION, gone.version)
    assert store.choose(store.version(-1.0)).endswith("version 1 has none")
