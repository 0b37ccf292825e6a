"""The bundle as far as it can be proven without a workspace."""

import json
import re
import subprocess
import zipfile
from configparser import ConfigParser
from email import message_from_bytes
from importlib.metadata import requires
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from databricks.bundles.dashboards import Dashboard
from databricks.bundles.experiments import MlflowExperiment
from databricks.bundles.jobs import Job as BundleJob
from databricks.bundles.registered_models import RegisteredModel
from databricks.bundles.schemas import Schema
from databricks.bundles.volumes import Volume
from pydantic import ValidationError

from gold.contracts import INDEX_LEVELS, INDEX_STATISTICS, INDEX_WEIGHTS
from gold.risk_contracts import FACTOR_STATISTICS, PORTFOLIO_RISK
from lakehouse.contracts import LAYERS
from lakehouse.jobs import ENTRY_POINT_GROUP, find_job, load_task
from lakehouse.runs import TASK_RUNS
from lakehouse.settings import load_settings, parse_yaml
from lakehouse.tables import Lake
from ml.registry import model_name
from ml.tracking import experiment_name
from tests.lakehouse.bundle import PRINCIPAL, ROOT, USER, load_bundle
from tests.wheels import build_wheel

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TARGETS = ("dev", "prod")
GIVEN = {
    "dev": {},
    "prod": {"alert_address": "alerts@example.com", "service_principal": PRINCIPAL},
}
TYPES = {
    "jobs": BundleJob,
    "schemas": Schema,
    "volumes": Volume,
    "experiments": MlflowExperiment,
    "registered_models": RegisteredModel,
    "dashboards": Dashboard,
}
# Tasks that fit or load models of Spark ML.
MODEL_TASKS = {"pca", "kmeans", "gbt", "score"}
PLAN = Path(__file__).with_name("plan_prod.txt")

DASHBOARD: dict[str, Any] = json.loads((ROOT / "dashboard.lvdash.json").read_text())
SHOWN = (
    *(INDEX_LEVELS, INDEX_STATISTICS, INDEX_WEIGHTS),
    *(FACTOR_STATISTICS, PORTFOLIO_RISK, TASK_RUNS),
)
TABLE_OF_QUERY = re.compile(r"(?:FROM|JOIN) ([a-z]+\.[a-z_]+)")
WIDGETS = [entry["widget"] for page in DASHBOARD["pages"] for entry in page["layout"]]


@pytest.fixture(scope="module", params=TARGETS)
def bundle(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load_bundle(request.param, **GIVEN[request.param])


@pytest.fixture(scope="module")
def prod() -> dict[str, Any]:
    return load_bundle("prod", **GIVEN["prod"])


def references(parameters: dict[str, str], job: str) -> dict[str, str]:
    """What the workspace puts in the place of `{{…}}`."""
    named = {f"job.parameters.{name}": value for name, value in parameters.items()}
    return {**named, "job.name": job, "job.run_id": "1"}


def parameters_of(body: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["default"] for each in body["parameters"]}


def tables_shown() -> set[str]:
    """Tables that the dashboard's queries name."""
    queries = ("".join(dataset["queryLines"]) for dataset in DASHBOARD["datasets"])
    return {table for query in queries for table in TABLE_OF_QUERY.findall(query)}


# What Databricks checks, and what it only warns of or does not see.


def test_databricks_accepts_every_resource(bundle: dict[str, Any]) -> None:
    assert set(bundle["resources"]) == set(TYPES)
    for kind, members in bundle["resources"].items():
        for body in members.values():
            TYPES[kind].from_dict(body)


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("jobs", {"queue": {"enabld": True}}),
        ("jobs", {"schedule": {"quartz_cron_expression": "", "timezone_id": "", "paused": 1}}),
        ("jobs", {"tasks": [{"task_key": "a", "run_if": "ALWAYS"}]}),
        ("jobs", {"health": {"rules": [{"metric": "DURATION", "op": "GREATER_THAN", "value": 1}]}}),
        ("volumes", {"volume": "x"}),
        ("dashboards", {"file": "x"}),
    ],
)
def test_an_unknown_field_or_value_is_an_error_here(
    prod: dict[str, Any], kind: str, changed: dict[str, Any]
) -> None:
    body = next(iter(prod["resources"][kind].values()))
    with pytest.raises(ValueError, match=r"Unexpected field|Error while parsing|not a valid"):
        TYPES[kind].from_dict({**body, **changed})


def test_a_variable_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"alert_address|service_principal"):
        load_bundle("prod")


@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        ("databricks.yml", "dynamic_version: true", "dynamic_verison: true", "dynamic_verison"),
        ("databricks.yml", "dynamic_version: true", "dynamic_version: yse", "dynamic_version"),
        ("databricks.yml", "databricks_cli_version", "cli_version", "cli_version"),
        ("databricks.yml", "lookup:\n      warehouse", "lookup:\n      warehose", "warehose"),
        ("databricks.yml", "mode: production", "mode: prod", "mode"),
        ("databricks.yml", "trigger_pause_status", "pause_status", "pause_status"),
        ("databricks.yml", "      root_path: /Workspace/Users/${var", "      root: /${var", "root"),
        ("databricks.yml", "group_name: users", "group: users", "group"),
        ("databricks.yml", "level: CAN_VIEW", "level: CAN_SEE", "level"),
        ("databricks.yml", "\nsync:", "\nsynch: {}\nsync:", "synch"),
        ("databricks.yml", "    path: .", "    path: .\n    path: ..", "path"),
        ("resources.yaml", "name: bronze", "name: bronze\n      name: brass", "name"),
        ("resources.yaml", "\nresources:", "\nresource: {}\nresources:", "resource"),
        ("jobs.yaml", "\nresources:", "\ntargets: {}\nresources:", "targets"),
    ],
)
def test_a_misspelt_or_repeated_field_is_an_error_here(
    tmp_path: Path, file: str, right: str, wrong: str, said: str
) -> None:
    for name in ("databricks.yml", "jobs.yaml", "resources.yaml"):
        text = (ROOT / name).read_text()
        if name == file:
            assert right in text
            text = text.replace(right, wrong, 1)
        (tmp_path / name).write_text(text)
    with pytest.raises((ValidationError, yaml.YAMLError), match=said):
        load_bundle("prod", tmp_path, **GIVEN["prod"])


def test_the_jobs_file_has_jobs_alone() -> None:
    jobs = parse_yaml((ROOT / "jobs.yaml").read_text())
    assert set(jobs["resources"]) == {"jobs"}


def test_the_command_line_is_new_enough(bundle: dict[str, Any]) -> None:
    # 0.281 is the first that knows a dashboard's catalog; the docs name it too.
    required = bundle["bundle"]["databricks_cli_version"]
    assert required == ">= 0.281.0"
    assert "0.281 or newer" in (ROOT / "docs" / "databricks.md").read_text()


def test_production_is_its_service_principals(prod: dict[str, Any]) -> None:
    principal = {"service_principal_name": PRINCIPAL}
    assert prod["mode"] == "production"
    assert prod["run_as"] == principal
    assert {**principal, "level": "CAN_MANAGE"} in prod["permissions"]
    # What all users may write, they could have run as the service principal.
    assert prod["workspace"]["root_path"].startswith(f"/Workspace/Users/{PRINCIPAL}/")
    others = [each for each in prod["permissions"] if "service_principal_name" not in each]
    assert {each["level"] for each in others} == {"CAN_VIEW"}


@pytest.mark.parametrize(("target", "readers"), [("dev", USER), ("prod", "account users")])
def test_who_looks_at_the_dashboard_may_read_what_it_shows(target: str, readers: str) -> None:
    made = load_bundle(target, **GIVEN[target])["resources"]
    # Its queries are those of the person who looks at it.
    assert "embed_credentials" not in made["dashboards"]["candlelake"]
    granted = {
        (body["name"], grant["principal"]): set(grant["privileges"])
        for kind in ("schemas", "volumes")
        for body in made[kind].values()
        for grant in body.get("grants", ())
    }
    shown = {table.partition(".")[0] for table in tables_shown()}
    assert granted == {
        **{(schema, readers): {"USE_SCHEMA", "SELECT"} for schema in shown},
        ("report", readers): {"READ_VOLUME"},
    }
    assert made["volumes"]["report"]["schema_name"] in shown


def test_what_a_build_leaves_behind_is_not_uploaded() -> None:
    left = ("build/x.py", "candlelake.egg-info/x", "dist/x.whl", ".databricks/x", ".venv-airflow/x")
    command = ["git", "check-ignore", *left]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == list(left)
    for pattern in load_bundle("dev")["sync"]["exclude"]:
        assert any(ROOT.glob(pattern)), pattern  # one that matches nothing is warned of


def test_no_deployment_takes_away_what_holds_data(prod: dict[str, Any]) -> None:
    for kind in ("schemas", "volumes", "experiments", "registered_models"):
        for name, body in prod["resources"][kind].items():
            assert body.get("lifecycle") == {"prevent_destroy": True}, (kind, name)


# Names: what the bundle makes is what the tasks use.


@pytest.mark.parametrize("target", TARGETS)
def test_the_tasks_are_told_the_names_of_what_the_bundle_makes(target: str) -> None:
    given = {**GIVEN[target], "catalog": "other"}
    bundle = load_bundle(target, **given)
    made = bundle["resources"]
    for name, body in made["jobs"].items():
        told = references({**parameters_of(body), "conf": str(ROOT / f"conf/{target}.yaml")}, name)
        for task in find_job(ROOT / "jobs.yaml", name).tasks:
            parsed = load_task(task.entry_point).parse(task.arguments(told))
            assert parsed is not None
            settings = parsed.settings
            assert (parsed.job, parsed.run_id) == (name, "1")
            assert settings.catalog == "other"
            assert settings.archive.landing == "/Volumes/other/bronze/landing"
            assert settings.report.folder == "/Volumes/other/gold/report"
            for experiment, body in made["experiments"].items():
                assert experiment_name(settings.mlflow, experiment) == body["name"]
    volumes = {
        f"/Volumes/{each['catalog_name']}/{each['schema_name']}/{each['name']}"
        for each in made["volumes"].values()
    }
    (cluster,) = made["jobs"]["medallion"]["job_clusters"]
    assert volumes == {
        *("/Volumes/other/bronze/landing", "/Volumes/other/gold/report"),
        cluster["new_cluster"]["spark_env_vars"]["MLFLOW_DFS_TMP"],
    }
    assert {each["name"] for each in made["schemas"].values()} == set(LAYERS)
    assert made["dashboards"]["candlelake"]["dataset_catalog"] == "other"


@pytest.mark.parametrize("target", TARGETS)
def test_the_settings_of_a_target_are_the_defaults_of_its_variables(target: str) -> None:
    settings = load_settings(ROOT / "conf" / f"{target}.yaml")
    told = load_bundle(target, **GIVEN[target])["var"]
    assert settings.catalog == told["catalog"]
    assert settings.archive.landing == told["landing"]
    assert settings.report.folder == told["report"]
    assert settings.spark.master is None
    models = load_bundle(target, **GIVEN[target])["resources"]["registered_models"]
    for experiment, body in models.items():
        full_name = f"{body['catalog_name']}.{body['schema_name']}.{body['name']}"
        assert full_name == model_name(settings, experiment)


@pytest.mark.parametrize("target", TARGETS)
def test_each_catalog_has_a_deployment_of_its_own(target: str) -> None:
    one, other = (
        load_bundle(target, **{**GIVEN[target], "catalog": name}) for name in ("one", "other")
    )
    # What was deployed for the one is not taken for that of the other, and moved or deleted.
    assert one["workspace"]["root_path"] != other["workspace"]["root_path"]
    for kind, key in (("experiments", "name"), ("schemas", "catalog_name")):
        names = [{body[key] for body in each["resources"][kind].values()} for each in (one, other)]
        assert not names[0] & names[1]


def test_experiments_lie_in_the_folder_of_the_deployment(bundle: dict[str, Any]) -> None:
    folder = bundle["workspace"]["root_path"].removeprefix("/Workspace")
    names = {each["name"] for each in bundle["resources"]["experiments"].values()}
    assert names == {f"{folder}/{name}" for name in ("pca", "kmeans", "gbt", "index")}


@pytest.mark.parametrize(("target", "status"), [("dev", "PAUSED"), ("prod", "UNPAUSED")])
def test_a_development_deployment_starts_nothing_by_itself(target: str, status: str) -> None:
    jobs = load_bundle(target, **GIVEN[target])["resources"]["jobs"]
    assert {name: job["schedule"]["pause_status"] for name, job in jobs.items()} == dict.fromkeys(
        jobs, status
    )
    assert all(job["tags"] == {"environment": target} for job in jobs.values())


def test_development_keeps_the_names_that_the_tasks_use() -> None:
    assert "mode" not in load_bundle("dev")  # which would rename them


# Jobs and tasks.


def test_every_job_and_task_has_its_limits_and_says_when_it_is_slow(prod: dict[str, Any]) -> None:
    events = ("on_failure", "on_duration_warning_threshold_exceeded")
    told = {event: ["alerts@example.com"] for event in events}
    for job in prod["resources"]["jobs"].values():
        assert job["queue"] == {"enabled": True}
        assert job["max_concurrent_runs"] == 1
        for limited in (job, *job["tasks"]):
            (rule,) = limited["health"]["rules"]
            assert (rule["metric"], rule["op"]) == ("RUN_DURATION_SECONDS", "GREATER_THAN")
            assert 0 < rule["value"] < limited["timeout_seconds"] <= job["timeout_seconds"]
            # A run whose last task succeeds counts as no failed one, whatever became of the others.
            assert limited["email_notifications"] == told
        for task in job["tasks"]:
            # Not of an attempt that is followed by another.
            assert task["notification_settings"] == {"alert_on_last_attempt": True}
            tried_again = task.get("max_retries", 0) > 0
            assert tried_again != (task["task_key"] == "quality_gate")


def test_models_are_fitted_on_a_cluster_and_the_rest_is_serverless(prod: dict[str, Any]) -> None:
    extra = [text for text in requires("candlelake") or [] if text.startswith("mlflow")]
    mlflow = extra[0].partition(";")[0].strip()
    for name, job in prod["resources"]["jobs"].items():
        (environment,) = job["environments"]
        assert environment["spec"]["dependencies"] == ["./dist/*.whl", mlflow]
        for task in job["tasks"]:
            assert ("job_cluster_key" in task) == (task["task_key"] in MODEL_TASKS), name
            assert ("environment_key" in task) != ("job_cluster_key" in task)
            if "job_cluster_key" in task:
                assert task["libraries"] == [
                    {"whl": "./dist/*.whl"},
                    {"pypi": {"package": mlflow}},
                ]


def test_every_entry_point_is_in_the_built_wheel(bundle: dict[str, Any], tmp_path: Path) -> None:
    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        (points,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
        (about,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        parser = ConfigParser()
        parser.read_string(wheel.read(points).decode())
        package = message_from_bytes(wheel.read(about))["Name"]
    used = [task for job in bundle["resources"]["jobs"].values() for task in job["tasks"]]
    assert {task["python_wheel_task"]["entry_point"] for task in used} == set(
        parser[ENTRY_POINT_GROUP]
    )
    assert {task["python_wheel_task"]["package_name"] for task in used} == {package}


def plan_of(bundle: dict[str, Any]) -> str:
    """The jobs as a person would ask about them, in the order in which their tasks may run."""
    lines = [f"Production: {bundle['workspace']['root_path']}"]
    for name, job in bundle["resources"]["jobs"].items():
        told = references(parameters_of(job), name)
        bodies = {task["task_key"]: task for task in job["tasks"]}
        schedule = job["schedule"]
        lines += ["", f"{name}: {job['description']}"]
        when = f"{schedule['quartz_cron_expression']} {schedule['timezone_id']}"
        lines.append(f"  starts {when}, {schedule['pause_status'].lower()}")
        lines.append(f"  at most {_hours(job['timeout_seconds'])}")
        tasks = find_job(ROOT / "jobs.yaml", name).tasks
        common = tasks[0].arguments(told)
        lines += [
            f"    {option} {value}" for option, value in zip(common[::2], common[1::2], strict=True)
        ]
        for task in tasks:
            assert task.arguments(told) == common
            body = bodies[task.key]
            where = "cluster" if "job_cluster_key" in body else "serverless"
            after = ", ".join(task.depends_on) or "-"
            lines.append(
                f"  {task.key:<17}{where:<11}{_hours(task.timeout_seconds):>6}"
                f"  tries {task.max_retries + 1}  after {after}"
                f"{' (one is enough)' if task.run_if != 'ALL_SUCCESS' else ''}"
            )
    return "\n".join(lines) + "\n"


def _hours(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds < 3600 else f"{seconds / 3600:g} h"


def test_the_plan_of_production_is_as_written_down(prod: dict[str, Any]) -> None:
    assert plan_of(prod) == PLAN.read_text()


# The dashboard.


def test_every_widget_shows_columns_of_its_dataset() -> None:
    datasets = {each["name"] for each in DASHBOARD["datasets"]}
    shown = set()
    for widget in WIDGETS:
        (query,) = widget["queries"]
        shown.add(query["query"]["datasetName"])
        fields = {field["name"] for field in query["query"]["fields"]}
        encoded = set(re.findall(r'"fieldName": "(\w+)"', json.dumps(widget["spec"])))
        assert encoded == fields, widget["name"]
    assert shown == datasets
    assert len({widget["name"] for widget in WIDGETS}) == len(WIDGETS)


def test_no_widget_covers_another_or_leaves_the_page() -> None:
    for page in DASHBOARD["pages"]:
        taken: set[tuple[int, int]] = set()
        for entry in page["layout"]:
            at = entry["position"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["width"])
                for y in range(at["y"], at["y"] + at["height"])
            }
            assert not cells & taken
            assert max(x for x, _ in cells) < 6
            taken |= cells


def test_every_query_names_columns_of_the_contracts(spark: "SparkSession", lake: Lake) -> None:
    views = {contract.full_name: f"{contract.layer}_{contract.name}" for contract in SHOWN}
    for contract in SHOWN:
        lake.frame(contract, []).createOrReplaceTempView(views[contract.full_name])
    for dataset in DASHBOARD["datasets"]:
        query = "".join(dataset["queryLines"])
        for table in TABLE_OF_QUERY.findall(query):
            query = re.sub(rf"\b{re.escape(table)}\b", views[table], query)
        columns = set(spark.sql(query).columns)  # Spark resolves it, and runs nothing
        used = {
            field["name"]
            for widget in WIDGETS
            for each in widget["queries"]
            if each["query"]["datasetName"] == dataset["name"]
            for field in each["query"]["fields"]
        }
        assert used <= columns, dataset["name"]
