"""databricks.yml and what it includes, resolved for a target as `databricks bundle validate` does.

Databricks' own command line asks a workspace for that; here its user has a made-up name.
"""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
USER = "me@example.com"
PRINCIPAL = "00000000-principal"
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def load_bundle(target: str, **variables: str) -> dict[str, Any]:
    """The bundle of a target, with every `${…}` replaced.

    Raises:
        KeyError: A reference, or a variable without a value.
    """
    root = _read("databricks.yml")
    for name in root["include"]:
        for kind, members in _read(name)["resources"].items():
            assert kind not in root.setdefault("resources", {})
            root["resources"][kind] = members
    chosen = root.pop("targets")[target]
    declared, named = root.pop("variables"), chosen.pop("variables")
    merged = _merge(root, chosen)
    merged["bundle"]["target"] = target
    folder = f"/Workspace/Users/{USER}/.bundle/{merged['bundle']['name']}/{target}"
    given = {"root_path": folder, "current_user": {"userName": USER}}
    merged["workspace"] = _merge(given, merged.get("workspace", {}))
    merged["workspace"]["file_path"] = "${workspace.root_path}/files"
    merged["var"] = {name: _default(body) for name, body in declared.items()} | named | variables
    bundle = {key: _resolve(value, merged) for key, value in merged.items()}
    _apply_presets(bundle)
    return bundle


def _read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


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
