"""The wheel, built from a copy of the sources as in a fresh clone."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("lakehouse", "bronze", "silver", "gold", "ml")
FILES = ("Makefile", "setup.py", "pyproject.toml", "constraints.txt", "LICENSE")


def copy_sources(copy: Path) -> Path:
    """What setting up and building need."""
    copy.mkdir()
    for name in FILES:
        shutil.copy2(ROOT / name, copy)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def build_wheel(folder: Path) -> Path:
    """Build it with no download; `folder` is for the sources and the wheel."""
    copy = copy_sources(folder / "sources")
    build = ["build", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable]
    done = subprocess.run(
        [sys.executable, "-m", "uv", *build, "--out-dir", str(folder / "dist")],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = (folder / "dist").glob("*.whl")
    return built
