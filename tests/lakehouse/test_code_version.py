import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from lakehouse.code_version import code_version

ROOT = Path(__file__).parents[2]
LAYERS = ("lakehouse", "bronze", "silver", "gold", "ml")


@pytest.fixture
def versions(tmp_path: Path) -> Callable[..., list[str]]:
    """The versions of a copy of the sources, layer by layer from the lowest up."""
    for layer in LAYERS:
        shutil.copytree(
            ROOT / layer, tmp_path / layer, ignore=shutil.ignore_patterns("__pycache__")
        )

    def ask(path: str = "") -> list[str]:
        script = (
            "import sys; from lakehouse.code_version import code_version as of; "
            "print(*map(of, sys.argv[1:]))"
        )
        return subprocess.run(
            [sys.executable, "-B", "-c", script, *LAYERS],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()

    return ask


def test_a_layer_s_version_is_of_its_code_and_of_what_it_stands_on(
    versions: Callable[..., list[str]], tmp_path: Path
) -> None:
    before = versions()
    assert before == [code_version(layer) for layer in LAYERS]
    assert len(set(before)) == len(LAYERS)
    for each in before:
        assert each.startswith(f"{version('candlelake')}+")
        assert len(each.partition("+")[2]) == 12

    (tmp_path / "silver" / "notes.txt").write_text("no code")
    assert versions() == before
    (tmp_path / "silver" / "contracts.py").touch()
    assert versions() == before
    with (tmp_path / "silver" / "contracts.py").open("a") as file:
        file.write("# edited\n")
    after = versions()
    changed = [old != new for old, new in zip(before, after, strict=True)]
    assert changed == [False, False, True, True, True]

    (tmp_path / "lakehouse" / "new.py").write_text("")
    assert all(old != new for old, new in zip(after, versions(), strict=True))


def test_a_zip_on_the_path_has_the_version_of_its_sources(
    versions: Callable[..., list[str]], tmp_path: Path
) -> None:
    with (tmp_path / "gold" / "contracts.py").open("a") as file:
        file.write("# not as it is installed\n")
    expected = versions()
    packed = shutil.make_archive(str(tmp_path / "sources"), "zip", tmp_path)
    for layer in LAYERS:
        shutil.rmtree(tmp_path / layer)
    assert versions(packed) == expected != versions()


def test_sources_that_are_deployed_again_keep_their_version(
    versions: Callable[..., list[str]], tmp_path: Path
) -> None:
    before = versions()
    for deployed_at in (1741091696780123321, 1741091696780123322):
        # What Databricks' command line makes of a wheel with a dynamic version.
        number = f"{version('candlelake')}+{deployed_at}"
        about = tmp_path / f"candlelake-{number}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: candlelake\nVersion: {number}\n"
        )
        assert versions() == before
        shutil.rmtree(about)


def test_code_of_no_layer_stands_on_all_of_them() -> None:
    assert code_version("tests") == code_version("ml")
