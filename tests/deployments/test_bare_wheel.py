"""The wheel in an environment with nothing else: what Databricks adds to it is not there."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from lakehouse.cli import main
from lakehouse.jobs import ENTRY_POINT_GROUP, load_task
from tests.wheels import ROOT, build_wheel

pytestmark = pytest.mark.deployment

TASKS = sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP))
COMMANDS = main.list_commands(click.Context(main))

# As Databricks starts a wheel's task.
START = """
import sys
from importlib.metadata import entry_points

(point,) = entry_points(group=sys.argv[1], name=sys.argv[2])
del sys.argv[1:3]
point.load()()
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of an environment that has the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("bare")
    wheel = build_wheel(folder)
    python = folder / "venv" / "bin" / "python"
    for command in (
        ["venv", "--python", sys.executable, folder / "venv"],
        ["pip", "install", "--python", python, "--constraint", ROOT / "constraints.txt", wheel],
    ):
        done = call([sys.executable, "-m", "uv", *command], folder)
        assert done.returncode == 0, done.stderr
    return python.parent


def call(command: list[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program that does not see this environment's packages, and no checkout."""
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name not in hidden},
        capture_output=True,
        text=True,
        check=False,
    )


def flat(text: str) -> str:
    """Without the line breaks that the width of a terminal makes."""
    return " ".join(text.split())


def require_help(command: list[str | Path], cwd: Path, purpose: str | None) -> None:
    assert purpose
    done = call([*command, "--help"], cwd)
    assert (done.returncode, done.stderr) == (0, "")
    assert flat(purpose) in flat(done.stdout)


@pytest.mark.parametrize("package", ["pyspark", "delta", "mlflow"])
def test_the_wheel_alone_brings_no_engine(bare: Path, tmp_path: Path, package: str) -> None:
    done = call([bare / "python", "-c", f"import {package}"], tmp_path)
    assert f"No module named '{package}'" in done.stderr


def test_the_code_is_that_of_the_wheel(bare: Path, tmp_path: Path) -> None:
    done = call([bare / "python", "-c", "import lakehouse; print(lakehouse.__file__)"], tmp_path)
    assert done.stdout.startswith(str(bare.parent)), done.stderr


def test_the_command_line_tells_its_purpose(bare: Path, tmp_path: Path) -> None:
    purpose = (main.help or "").partition("\n")[0]
    require_help([bare / "candlelake"], tmp_path, purpose)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_its_purpose(bare: Path, tmp_path: Path, name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    purpose = (command.help or "").partition("\n\n")[0]
    require_help([bare / "candlelake", name], tmp_path, purpose)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_tells_its_purpose(bare: Path, tmp_path: Path, name: str) -> None:
    command: list[str | Path] = [bare / "python", "-c", START, ENTRY_POINT_GROUP, name]
    require_help(command, tmp_path, load_task(name).summary)
