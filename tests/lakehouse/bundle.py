"""databricks.yml and what it includes, resolved for a target as `databricks bundle validate` does.

Databricks' own command line asks a workspace for that; here its user has a made-up name.
"""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from lakehouse.settings import parse_yaml

ROOT = Path(__file__).parents[2]
USER = "me@example.com"
PRINCIPAL = "00000000-principal"
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class _Body(BaseModel):
    # The command line only warns of a field or a value that it does not know.
    model_config = ConfigDict(extra="forbid", strict=True)


class _Bundle(_Body):
    name: str
    databricks_cli_version: str


class _Wheel(_Body):
    type: Literal["whl"]
    build: str
    path: str
    dynamic_version: Literal[True]


class _Artifacts(_Body):
    wheel: _Wheel


class _Sync(_Body):
    exclude: list[str]


class _Lookup(_Body):
    warehouse: str


class _Variable(_Body):
    description: str
    default: str | None = None
    lookup: _Lookup | None = None


class _Presets(_Body):
    tags: dict[str, str]
    trigger_pause_status: Literal["PAUSED", "UNPAUSED"] | None = None


class _Workspace(_Body):
    root_path: str


class _RunAs(_Body):
    service_principal_name: str


class _Permission(_Body):
    level: Literal["CAN_VIEW", "CAN_RUN", "CAN_MANAGE"]
    group_name: str | None = None
    service_principal_name: str | None = None


class _Target(_Body):
    presets: _Presets
    variables: dict[str, str]
    default: bool = False
    mode: Literal["development", "production"] | None = None
    workspace: _Workspace | None = None
    run_as: _RunAs | None = None
    permissions: list[_Permission] = []


class _Root(_Body):
    """The fields of databricks.yml that this bundle uses."""

    bundle: _Bundle
    include: list[str]
    artifacts: _Artifacts
    sync: _Sync
    variables: dict[str, _Variable]
    targets: dict[str, _Target]


class _Included(_Body):
    resources: dict[str, dict[str, dict[str, Any]]]


def load_bundle(target: str, folder: Path = ROOT, **variables: str) -> dict[str, Any]:
    """The bundle of a target, with every `${…}` replaced.

    Raises:
        yaml.YAMLError: A file is no YAML, or has a key twice.
        pydantic.ValidationError: A field of databricks.yml is unknown, or has no value of its kind.
        KeyError: A reference, or a variable without a value.
    """
    root = _read(folder / "databricks.yml", _Root)
    for name in root["include"]:
        for kind, members in _read(folder / name, _Included)["resources"].items():
            assert kind not in root.setdefault("resources", {})
            root["resources"][kind] = members
    chosen = root.pop("targets")[target]
    declared, named = root.pop("variables"), chosen.pop("variables")
    assert named.keys() <= declared.keys()
    merged = _merge(root, chosen)
    merged["bundle"]["target"] = target
    root_path = f"/Workspace/Users/{USER}/.bundle/{merged['bundle']['name']}/{target}"
    given = {"root_path": root_path, "current_user": {"userName": USER}}
    merged["workspace"] = _merge(given, merged.get("workspace", {}))
    merged["workspace"]["file_path"] = "${workspace.root_path}/files"
    merged["var"] = {name: _default(body) for name, body in declared.items()} | named | variables
    bundle = {key: _resolve(value, merged) for key, value in merged.items()}
    _apply_presets(bundle)
    return bundle


def _read(path: Path, model: type[_Body]) -> dict[str, Any]:
    content = parse_yaml(path.read_text(encoding="utf-8"))
    model.model_validate(content)
    return dict(content)


def _default(declared: dict[str, Any]) -> str | None:
    """What a variable stands for; a workspace looks some of them up."""
    if "lookup" in declared:
        return f"<{next(iter(declared['lookup'].values()))}>"
    return declared.get("default")


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            merged[key] = _merge(below[key], above[key])
    return merged


def _apply_presets(bundle: dict[str, Any]) -> None:
    """Give jobs what their target presets: only where a job does not say it itself."""
    presets = bundle["presets"]
    for job in bundle["resources"]["jobs"].values():
        job["tags"] = {**presets["tags"], **job.get("tags", {})}
        paused = presets.get("trigger_pause_status", "UNPAUSED")  # the workspace's own default
        job["schedule"].setdefault("pause_status", paused)


def _resolve(value: Any, root: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _resolve(each, root) for key, each in value.items()}
    if isinstance(value, list):
        return [_resolve(each, root) for each in value]
    if not isinstance(value, str):
        return value
    return _REFERENCE.sub(lambda match: _look_up(match[1], root), value)


def _look_up(path: str, root: dict[str, Any]) -> str:
    found: Any = root
    for part in path.split("."):
        found = found[part]
    if found is None:
        raise KeyError(path)
    return str(_resolve(found, root))
