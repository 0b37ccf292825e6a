"""The checkout as a user meets it: make, the check of changes, the wheel and the lock."""

import configparser
import email
import importlib
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.wheels import PACKAGES, ROOT, build_wheel, copy_sources

SETTING_UP = ("run", "test", "cluster-test", "test-connect", "airflow-test", "ui", "wheel", "lock")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_sources(tmp_path / "checkout")


def run(
    command: list[str], cwd: Path, programs: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as from a fresh shell; `programs` is a folder to put before the PATH."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "JAVA_HOME"}
    if programs is not None:
        clean["PATH"] = f"{programs}:{clean['PATH']}"
    return subprocess.run(
        command, cwd=cwd, env=clean | environment, capture_output=True, text=True, check=False
    )


def make_program(folder: Path, name: str, body: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def test_make_alone_lists_every_target() -> None:
    listed = run(["make"], ROOT).stdout
    assert listed == run(["make", "help"], ROOT).stdout
    targets = re.findall(r"^make ([\w-]+) +\S", listed, re.MULTILINE)
    assert sorted(targets) == sorted(["help", *SETTING_UP, "clean"])


@pytest.mark.parametrize("target", SETTING_UP)
def test_wrong_java_is_told_in_one_line_before_anything_is_made(
    checkout: Path, tmp_path: Path, target: str
) -> None:
    make_program(tmp_path / "programs", "java", """echo 'openjdk version "11.0.2"' >&2""")
    before = sorted(checkout.rglob("*"))
    done = run(["make", target], checkout, tmp_path / "programs")
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "Java 17, 21 or 25" in line
    assert "11.0.2" in line
    assert "install" in line
    assert sorted(checkout.rglob("*")) == before


def test_java_home_counts_as_it_does_for_spark(checkout: Path, tmp_path: Path) -> None:
    make_program(tmp_path / "programs", "java", """echo 'openjdk version "17.0.2"' >&2""")
    done = run(["make", "run"], checkout, tmp_path / "programs", JAVA_HOME="/nowhere")
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "JAVA_HOME=/nowhere" in line
    assert not (checkout / ".venv").exists()


def test_old_python_is_told_in_one_line(checkout: Path, tmp_path: Path) -> None:
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        body = '[ "$1" = --version ] && echo Python 3.9.2; exit 1'
        make_program(tmp_path / "programs", name, body)
    done = run(["make", "run"], checkout, tmp_path / "programs")
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "Python 3.11 or newer" in line
    assert "Python 3.9.2" in line
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("named", ["requirements.txt", "constraints.txt"])
def test_airflow_is_installed_anew_when_what_it_needs_changes(checkout: Path, named: str) -> None:
    shutil.copytree(ROOT / "dags", checkout / "dags")
    for ready in (".venv/.ready", ".venv/bin/uv", ".venv-airflow/.ready"):
        (checkout / ready).parent.mkdir(parents=True, exist_ok=True)
        (checkout / ready).touch()
    assert "uv venv" not in run(["make", "--dry-run", "airflow-test"], checkout).stdout
    late = (checkout / ".venv-airflow" / ".ready").stat().st_mtime + 10
    os.utime(checkout / "dags" / named, (late, late))
    assert "uv venv" in run(["make", "--dry-run", "airflow-test"], checkout).stdout


def test_clean_keeps_what_cannot_be_made_again(checkout: Path) -> None:
    kept = sorted(checkout.rglob("*"))
    for name in (".venv/bin/python", "lake/gold/x", "report/index.html", "mlflow.db", "dist/x.whl"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).touch()
    (checkout / "gold" / "__pycache__").mkdir()
    (checkout / "lake-local").mkdir()
    done = run(["make", "clean"], checkout)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(checkout.rglob("*")) == sorted([*kept, checkout / "lake-local"])


CHECKS = ("test", "cluster-test", "test-connect", "airflow-test")


@pytest.mark.parametrize("failing", [*CHECKS, "none"])
def test_the_check_of_changes_is_every_kind_of_test_until_one_fails(
    tmp_path: Path, failing: str
) -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    (tmp_path / ".ci").mkdir()
    shutil.copy2(script, tmp_path / ".ci")
    rules = [f"{name}:\n\t@echo $@ $(TESTS)\n\t@test $@ != {failing}\n" for name in CHECKS]
    (tmp_path / "Makefile").write_text("\n".join(["other:", *rules]))
    done = run([str(tmp_path / ".ci" / "run")], cwd=Path("/"))
    ran = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, *_ in ran] == list(CHECKS)[: len(ran)]
    assert ran[-1][0] == (CHECKS[-1] if failing == "none" else failing)
    assert (done.returncode == 0) == (failing == "none")
    assert all((ROOT / path).is_file() for _, *paths in ran for path in paths)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def metadata(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [p for p in archive.namelist() if p.endswith(f".dist-info/{name}")]
        return archive.read(path).decode()


def requirements(wheel: Path) -> list[Requirement]:
    message = email.message_from_string(metadata(wheel, "METADATA"))
    return [Requirement(text) for text in message.get_all("Requires-Dist", [])]


def test_wheel_holds_the_five_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == sources


def test_wheel_leaves_to_databricks_what_databricks_brings(wheel: Path) -> None:
    hard = {r.name for r in requirements(wheel) if r.marker is None}
    assert not hard & {"pyspark", "delta-spark", "mlflow"}
    assert {"click", "numpy", "pydantic"} <= hard


def test_every_entry_point_can_be_called(wheel: Path) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(metadata(wheel, "entry_points.txt"))
    groups = (
        "candlelake.tasks",
        "candlelake.commands",
        "candlelake.listings",
        "candlelake.reproduction",
        "console_scripts",
    )
    points = {name: target for group in groups for name, target in parser[group].items()}
    assert "ingest_archive" in points
    assert points["candlelake"] == "lakehouse.cli:main"
    for name, target in points.items():
        module, _, attribute = target.partition(":")
        assert callable(getattr(importlib.import_module(module), attribute)), name


def test_help_of_everything_in_the_wheel_needs_neither_spark_nor_mlflow(
    wheel: Path, tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "sys.modules.update(dict.fromkeys(('pyspark', 'delta', 'mlflow')))\n"  # not importable
        "import click, lakehouse\n"
        "from lakehouse.cli import main\n"
        "from lakehouse.installed import installed_names\n"
        "from lakehouse.jobs import ENTRY_POINT_GROUP, load_task\n"
        "for name in installed_names(ENTRY_POINT_GROUP):\n"
        "    load_task(name).main(['--help'])\n"
        "for name in main.list_commands(click.Context(main)):\n"
        "    main([name, '--help'], standalone_mode=False)\n"
        "print(lakehouse.__file__)\n"
    )
    done = run([sys.executable, "-I", "-c", script, str(wheel)], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: ") >= 25
    assert done.stdout.splitlines()[-1].startswith(str(wheel))


def test_lock_satisfies_every_requirement(wheel: Path) -> None:
    lock = (ROOT / "constraints.txt").read_text()
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))
    for requirement in requirements(wheel):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert requirement.specifier.contains(pins[name]), requirement


@pytest.mark.parametrize("name", ["constraints.txt", "dags/constraints.txt"])
def test_lock_names_no_registry(name: str) -> None:
    lock = (ROOT / name).read_text()
    assert "://" not in lock
