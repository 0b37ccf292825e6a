"""Compiled loops do what is written: the bits of the same lines run by Python itself."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gold import normal_equations, rolling_sums
from gold.returns import FloatArray

ROOT = Path(__file__).parents[2]


def as_it_is(function: Any) -> Any:
    return function


def interpreted(function: Any) -> Any:
    return function.py_func


def results(run: Callable[[Any], Any]) -> list[FloatArray]:
    """What all loops give, on 70 systems of 4 unknowns: more than are worked on at a time."""
    rng = np.random.default_rng(42)
    x, y = rng.normal(size=(3, 2, 4, 19)), rng.normal(size=(2, 2, 4, 19))
    design, right = rng.normal(size=(9, 4, 70)), rng.normal(size=(4, 2, 70))
    sums, condition, explained = np.empty((4, 1, 4, 19)), np.empty(70), np.empty((2, 70))
    pairs = np.array([0, 1, 2, 2]), np.array([0, 1, 0, 1])
    run(rolling_sums.sums_of_products)(x, y, *pairs, sums)
    columns, rows = np.triu_indices(4)
    gram = np.array((design[:, rows] * design[:, columns]).sum(axis=0))
    run(normal_equations.factorise)(gram, 1e-3, condition)
    run(normal_equations.solve)(gram, 1e-3, right, explained)
    return [sums, gram, condition, right, explained]


def test_nothing_is_fused_or_reordered() -> None:
    for compiled, plain in zip(results(as_it_is), results(interpreted), strict=True):
        assert np.isfinite(plain).all()
        np.testing.assert_array_equal(compiled, plain)


def test_it_runs_from_an_archive_without_any_folder_for_its_cache(tmp_path: Path) -> None:
    """As an executor imports it, and where nobody has a home."""
    archive = tmp_path / "candlelake.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in ("__init__", "compiled", "returns", "rolling_sums"):
            packed.write(ROOT / f"gold/{name}.py", f"gold/{name}.py")
    line = "from gold.rolling_sums import rolling_sum; import numpy as np;"
    line += "print(rolling_sum(np.ones(9), 4, 7).tolist())"
    none = {"PYTHONPATH": str(archive), "HOME": "/proc/none"}
    for environment in (none, none | {"HOME": str(tmp_path)}):
        ran = subprocess.run(
            [sys.executable, "-P", "-c", line],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.strip() == "[1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]"
    assert list(tmp_path.rglob("*.nbc"))
