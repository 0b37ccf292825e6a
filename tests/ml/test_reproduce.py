import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import mlflow
import pytest

from gold.contracts import ASSET_METRICS
from lakehouse.code_version import code_version
from lakehouse.contracts import TableContract
from lakehouse.errors import CandlelakeError, ModelNotFound, ReproductionError, TableError
from lakehouse.reproduction import load_reproduce
from lakehouse.settings import Settings
from lakehouse.sql import equals
from lakehouse.tables import Lake
from lakehouse.time_travel import PinnedLake
from ml.contracts import FEATURES, PREDICTIONS
from ml.libraries import libraries
from ml.recorded import RecordedRun, find_run
from ml.reproduce import RESULTS, recorded_settings, reproduce, warnings_of
from ml.tracking import OUTPUT_FILE, tracked_run
from silver.contracts import CANDLES, LISTINGS
from tests.conftest import ContextFactory
from tests.ml import market
from tests.ml.conftest import Trained
from tests.pipelines import interpreted

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCOPE = equals({"market": "um", "interval": "4h"})


@pytest.fixture(scope="module")
def newer(trained_once: Trained) -> Trained:
    """Candles, metrics and features have all changed since the models were fitted."""
    lake = Lake(trained_once.spark, trained_once.settings.warehouse)
    lake.replace(CANDLES, market.candle_rows(trained_once.spark, market.closes(seed=8)), SCOPE)
    measured = market.metrics()
    measured["sharpe"] += 1
    lake.replace(ASSET_METRICS, market.metric_rows(trained_once.spark, measured), SCOPE)
    before = lake.read_own(FEATURES, trained_once.version(FEATURES))
    lake.replace(FEATURES, before.where("ret_lag1 > 0"), SCOPE)
    return trained_once


def recorded_clusters(trained: Trained) -> RecordedRun:
    uri = trained.settings.mlflow.tracking_uri
    return find_run(uri, "models:/candlelake-kmeans-um-4h/1", RESULTS)


@pytest.mark.parametrize(("task", "which"), [("kmeans", "/1"), ("pca", "/1"), ("gbt", "@champion")])
def test_a_model_is_had_again_to_the_last_bit_from_the_versions_it_read(
    newer: Trained, task: str, which: str
) -> None:
    with interpreted(newer.spark):
        done = reproduce(newer.settings, f"models:/candlelake-{task}-um-4h{which}")
    assert done.comparisons
    assert {each.what: each.difference for each in done.comparisons if each.difference != "0"} == {}
    assert done.differing == ()
    read = {"kmeans": ASSET_METRICS, "pca": CANDLES, "gbt": FEATURES}[task]
    assert done.notes[0] == f"{read.full_name} at version {newer.version(read)}"
    assert Lake(newer.spark, newer.settings.warehouse).version(read) > newer.version(read)
    run = mlflow.get_run(done.title.split()[-1])
    compared = {each.what for each in done.comparisons if "output" not in each.what}
    beside = {"market_integration"} if task == "pca" else set()
    assert set(run.data.metrics) == compared | beside
    assert [note.rpartition(" ")[2] for note in done.notes[1:]] == list(beside)
    [warning] = done.warnings  # the run's code was called "test"
    assert "made by code test" in warning
    assert code_version("ml") in warning


def test_the_engine_is_asked_for_its_release_while_it_is_there(
    trained_once: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = []

    @contextmanager
    def session(_: object) -> "Iterator[SparkSession]":
        there.append(trained_once.spark)
        yield trained_once.spark
        there.clear()

    for name, stub in {
        "spark_session": session,
        "fit_again": lambda *_: None,
        "compare": lambda *_: (),
        "libraries": lambda _: "an engine" if there else "none",
    }.items():
        monkeypatch.setattr(f"ml.reproduce.{name}", stub)
    done = reproduce(trained_once.settings, "models:/candlelake-kmeans-um-4h/1")
    assert "this is an engine" in done.warnings[1]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("models:/candlelake-gbt-um-4h@best", "has no model models:/candlelake-gbt-um-4h@best"),
        ("models:/candlelake-gbt-um-4h/77", "has no model"),
        ("models:/nothing@champion", "its models are candlelake-gbt-um-4h"),
        ("models:/nothing", "write models:/NAME@champion"),
        ("0123abc", "has no run 0123abc"),
    ],
)
def test_what_the_store_does_not_hold_is_named(
    trained: Trained, reference: str, words: str
) -> None:
    with pytest.raises(ModelNotFound, match=words):
        reproduce(trained.settings, reference)


def test_a_part_of_a_run_names_the_whole(trained: Trained) -> None:
    parent = trained.table(PREDICTIONS)["mlflow_run_id"][0]
    [child, *_] = mlflow.search_runs(
        experiment_names=["candlelake/gbt"],
        filter_string=f"tags.`mlflow.parentRunId` = '{parent}'",
        output_format="list",
    )
    with pytest.raises(ReproductionError, match=f"one part of run {parent}"):
        reproduce(trained.settings, child.info.run_id)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("index_run", r"is of the task 'index_run': only runs of gbt, kmeans, pca can be"),
        ("kmeans", r"\(run-1\) is no finished run: there is no model_output\.csv"),
    ],
)
def test_a_run_that_has_no_fit_is_named(
    make_context: ContextFactory, in_store: Settings, task: str, words: str
) -> None:
    with tracked_run(make_context(task, settings=in_store), task, "in_sample") as run:
        pass
    with pytest.raises(ReproductionError, match=words):
        reproduce(in_store, run.mlflow_run_id)


def test_a_store_that_fails_is_no_store_without_the_run(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise mlflow.MlflowException("the database is locked")

    monkeypatch.setattr(mlflow.MlflowClient, "get_run", fails)
    with pytest.raises(mlflow.MlflowException, match="locked"):
        find_run(trained.settings.mlflow.tracking_uri, "0123abc", RESULTS)


def test_other_libraries_are_a_warning(trained: Trained, make_context: ContextFactory) -> None:
    recorded = recorded_clusters(trained)
    here = make_context(settings=trained.settings)
    assert recorded.libraries == libraries(here)
    for name in ("numpy", "pyspark", "scikit-learn"):
        assert f"{name} {version(name)}" in recorded.libraries
    older = replace(recorded, libraries="numpy 1.0", code_version=here.code_version)
    [warning] = warnings_of(older, here)
    assert warning.startswith(f"the run was made by numpy 1.0, and this is {recorded.libraries}: ")
    assert warnings_of(replace(older, libraries=""), here) == []


def test_another_warehouse_is_named(trained: Trained, settings: Settings) -> None:
    elsewhere = trained.settings.model_copy(update={"warehouse": settings.warehouse})
    with pytest.raises(ReproductionError, match=r"read gold\.asset_metrics in .* --set warehouse"):
        reproduce(elsewhere, "models:/candlelake-kmeans-um-4h/1")


def test_settings_of_another_time_name_the_code_to_install(trained: Trained) -> None:
    recorded = recorded_clusters(trained)
    tree = json.loads(recorded.settings)
    tree["ml"]["kmeans"]["forgotten"] = 1
    older = replace(recorded, settings=json.dumps(tree))
    with pytest.raises(
        ReproductionError, match=r"ml\.kmeans\.forgotten\): install candlelake test"
    ):
        recorded_settings(older, trained.settings)


def test_the_recorded_settings_decide_and_the_place_is_the_present_one(
    trained: Trained, settings: Settings
) -> None:
    recorded = recorded_clusters(trained)
    found = recorded_settings(recorded, settings)
    assert found.ml == trained.settings.ml != settings.ml
    assert found.warehouse == settings.warehouse


def test_a_version_that_was_vacuumed_is_named(
    make_context: ContextFactory, in_store: Settings
) -> None:
    context = make_context("kmeans", settings=in_store)
    lake = context.lake
    lake.append(ASSET_METRICS, market.metric_rows(context.spark, market.metrics()))
    with tracked_run(context, "kmeans", "in_sample") as run:
        run.log_inputs(ASSET_METRICS)
        run.log_csv(OUTPUT_FILE, {"symbol": ["AAAUSDT"], "cluster": [0]})
    files = lake.read_own(ASSET_METRICS).inputFiles()
    lake.replace(ASSET_METRICS, market.metric_rows(context.spark, market.metrics()), SCOPE)
    for file in files:  # what VACUUM does, half a minute faster
        Path(unquote(urlsplit(file).path)).unlink()
    with pytest.raises(
        ReproductionError, match=r"gold\.asset_metrics at version 1, which is no longer kept"
    ):
        reproduce(in_store, run.mlflow_run_id)


def test_a_lake_of_the_past_reads_what_was_recorded_and_writes_nothing(trained: Trained) -> None:
    lake = PinnedLake(trained.spark, trained.settings.warehouse, None, {CANDLES.full_name: 1})
    rows = lake.read(CANDLES)
    assert rows.count() == len(market.closes())
    assert lake.version(CANDLES) == 1
    with pytest.raises(TableError, match=r"silver\.listings is none of the tables"):
        lake.read(LISTINGS)
    gone = TableContract("silver", "gone", comment="", columns=(), key=())
    with pytest.raises(TableError, match=r"silver\.gone is not there any more"):
        PinnedLake(trained.spark, trained.settings.warehouse, None, {gone.full_name: 1}).read(gone)
    assert not lake.exists(gone)
    for write in (lambda: lake.append(CANDLES, rows), lambda: lake.replace(CANDLES, rows, SCOPE)):
        with pytest.raises(CandlelakeError, match="cannot be written"):
            write()


def test_the_command_line_finds_it_by_the_name_that_the_wheel_gives_it() -> None:
    assert load_reproduce() is reproduce
