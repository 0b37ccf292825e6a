import json
from pathlib import Path

import mlflow
import pytest
from mlflow.artifacts import download_artifacts, load_text
from mlflow.models import Model

from gold.contracts import ASSET_METRICS
from lakehouse.contracts import TableContract
from lakehouse.settings import MlflowSettings, Settings
from ml.contracts import CLUSTERS, FEATURE_IMPORTANCES, FEATURES, PCA_COMPONENTS
from ml.features import FEATURE_NAMES
from ml.tracking import experiment_name, tracked_run
from silver.contracts import CANDLES
from tests.conftest import ContextFactory
from tests.ml.conftest import RUN_ID, Trained

RUNS = {
    "pca": (PCA_COMPONENTS, CANDLES),
    "kmeans": (CLUSTERS, ASSET_METRICS),
    "gbt": (FEATURE_IMPORTANCES, FEATURES),
}
PLOTS = {
    "pca": {
        *("scree.png", "loadings.png", "market_integration.png"),
        *("windows.csv", "model_output.csv"),
    },
    "kmeans": {"clusters.png", "sweep.png", "clusters.csv", "model_output.csv"},
    "gbt": {"importances.png", "permutation_importances.png", "model_output.csv"},
}
SIGNATURES = {
    "pca": ({"returns": "sparkml_vector"}, "sparkml_vector"),
    "kmeans": (
        dict.fromkeys(("annual_return", "annual_volatility", "sharpe"), "double"),
        "integer",
    ),
    "gbt": (dict.fromkeys(FEATURE_NAMES, "double"), "double"),
}


HONEST = {"pca": "held_out_variance", "kmeans": "resampled_agreement", "gbt": "oos_r2"}


def parent_run(trained: Trained, task: str) -> mlflow.entities.Run:
    return mlflow.get_run(trained.table(RUNS[task][0])["mlflow_run_id"][0])


@pytest.mark.parametrize("task", RUNS)
def test_a_run_names_what_it_read_with_the_delta_version(trained: Trained, task: str) -> None:
    contract: TableContract = RUNS[task][1]
    used = {each.tags[0].value: each for each in parent_run(trained, task).inputs.dataset_inputs}
    assert set(used) == ({"training", "testing"} if task == "gbt" else {"training"})
    found = used["training"]
    assert not found.dataset.profile  # all rows
    if task == "gbt":
        assert used["testing"].dataset.name == found.dataset.name
        rows = json.loads(used["testing"].dataset.profile)["rows"]
        assert rows == "open_time from 2024-10-26 00:00 UTC"
    version = trained.version(contract)
    source = json.loads(found.dataset.source)
    assert found.dataset.name == f"{contract.full_name}@v{version}"
    assert found.dataset.source_type == "delta_table"
    assert source == {
        "path": f"{trained.settings.warehouse}/{contract.layer}/{contract.name}",
        "delta_table_version": version,
    }
    columns = json.loads(found.dataset.schema)["mlflow_colspec"]
    assert [column["name"] for column in columns] == list(contract.column_names)


@pytest.mark.parametrize(
    ("store", "folder", "name"),
    [
        ("sqlite:///mlflow.db", "candlelake", "candlelake/pca"),
        ("databricks", "candlelake", "/Shared/candlelake/pca"),
        ("databricks", "/Users/me/dev", "/Users/me/dev/pca"),
    ],
)
def test_an_experiment_is_named_as_its_store_names_them(store: str, folder: str, name: str) -> None:
    settings = MlflowSettings(tracking_uri=store, experiments=folder)
    assert experiment_name(settings, "pca") == name


@pytest.mark.parametrize("task", RUNS)
def test_a_run_says_with_what_it_was_made(trained: Trained, task: str) -> None:
    run = parent_run(trained, task)
    assert run.info.status == "FINISHED"
    assert mlflow.get_experiment(run.info.experiment_id).name == f"candlelake/{task}"
    tags = {key: value for key, value in run.data.tags.items() if key.startswith("candlelake.")}
    assert tags == {
        "candlelake.run_id": RUN_ID,
        "candlelake.job": "test",
        "candlelake.task": task,
        "candlelake.code_version": "test",
        "candlelake.settings_digest": trained.settings.digest(),
        "candlelake.evaluation": "walk_forward" if task == "gbt" else "in_sample",
        "candlelake.libraries": tags["candlelake.libraries"],
        **({"candlelake.skill": tags.get("candlelake.skill")} if task == "gbt" else {}),
    }
    settings = load_text(f"{run.info.artifact_uri}/settings.json")
    assert Settings.model_validate_json(settings) == trained.settings
    assert not [name for name in run.data.metrics if name.startswith("system/")]
    assert run.data.params["ml.seed"] == "42"
    assert run.data.params["ml.gbt.embargo_bars"] == "5"
    assert run.data.params["archive.interval"] == "4h"


@pytest.mark.parametrize("task", RUNS)
def test_a_run_keeps_plots_and_a_model_with_its_signature(trained: Trained, task: str) -> None:
    run = parent_run(trained, task)
    folder = Path(download_artifacts(run_id=run.info.run_id))
    assert {path.name for path in folder.iterdir()} == {*PLOTS[task], "settings.json", "model"}
    assert all((folder / plot).stat().st_size > 50 for plot in PLOTS[task])
    inputs, output = SIGNATURES[task]
    model = Model.load(str(folder / "model"))
    example = model.load_input_example(str(folder / "model"))
    assert list(example.columns) == list(inputs)
    assert len(example)
    signature = model.signature
    found = {column["name"]: column["type"] for column in signature.inputs.to_dict()}
    assert found == inputs
    assert [column["type"] for column in signature.outputs.to_dict()] == [output]
    requirements = (folder / "model" / "requirements.txt").read_text()
    assert "pyspark==" in requirements
    assert "numpy==" in requirements


def test_a_store_keeps_its_artifacts_beside_it(trained: Trained) -> None:
    store = Path(trained.settings.warehouse).parent
    run = parent_run(trained, "pca")
    assert run.info.artifact_uri.startswith((store / "mlartifacts").as_uri())
    assert {path.name for path in store.iterdir()} == {"lake", "mlflow.db", "mlartifacts"}


@pytest.mark.parametrize("task", RUNS)
def test_a_model_is_registered_and_can_be_loaded(trained: Trained, task: str) -> None:
    from pyspark.ml import PipelineModel

    client = mlflow.MlflowClient()
    name = f"candlelake-{task}-um-4h"
    version = client.get_model_version(name, "1")
    run = parent_run(trained, task)
    assert version.run_id == run.info.run_id
    metric = HONEST[task]
    said = f"champion: there was none, {metric} {run.data.metrics[metric]:.6g} on "
    assert version.tags["candlelake.champion"].startswith(said)
    folder = download_artifacts(f"models:/{name}/1")
    assert PipelineModel.load(f"{folder}/sparkml").stages


def test_a_run_tells_no_password(make_context: ContextFactory, in_store: Settings) -> None:
    archive = in_store.archive.model_copy(update={"url": "https://me:p@ss@archive.test/a@b"})
    context = make_context("pca", settings=in_store.model_copy(update={"archive": archive}))
    with tracked_run(context, "pca", "in_sample") as run:
        pass
    record = mlflow.get_run(run.mlflow_run_id)
    assert record.data.params["archive.url"] == "https://***@archive.test/a@b"
    text = load_text(f"{record.info.artifact_uri}/settings.json")
    assert Settings.model_validate_json(text).archive.url == "https://***@archive.test/a@b"
    assert "p@ss" not in text


def test_an_error_marks_the_run_as_failed(make_context: ContextFactory, in_store: Settings) -> None:
    context = make_context("pca", settings=in_store)
    with pytest.raises(ValueError, match="broken"), tracked_run(context, "pca", "in_sample") as run:
        raise ValueError("broken")
    assert mlflow.get_run(run.mlflow_run_id).info.status == "FAILED"
    assert mlflow.active_run() is None


def test_version_zero_is_named_too(make_context: ContextFactory, in_store: Settings) -> None:
    context = make_context("pca", settings=in_store)
    assert context.lake.read(CANDLES).isEmpty()
    with tracked_run(context, "pca", "in_sample") as run:
        run.log_inputs(CANDLES)
    [found] = mlflow.get_run(run.mlflow_run_id).inputs.dataset_inputs
    assert found.dataset.name == "silver.candles@v0"
    assert json.loads(found.dataset.source)["delta_table_version"] == "0"
