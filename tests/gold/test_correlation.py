"""Correlations against numpy, pandas and scipy, and their promise of equal bits."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from gold.correlation import _gram, _unit_vectors, correlation_matrix
from gold.returns import FloatArray

ROOT = Path(__file__).parents[2]
SEEDS = st.integers(0, 2**32 - 1)


def market(seed: int, bars: int = 180, symbols: int = 12) -> FloatArray:
    """Fat-tailed returns with a common factor, late listings and symbols that never move."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((bars, 1)) * rng.random(symbols)
    matrix: FloatArray = 0.01 * (common + rng.standard_t(4, (bars, symbols)))
    listed = rng.integers(0, bars // 2, symbols)
    matrix[np.arange(bars)[:, None] < listed] = 0.0
    return matrix


def test_a_table_by_hand() -> None:
    matrix = np.array([[1.0, 3.0, 1.0], [2.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    expected = [[1.0, -1.0, 0.5], [-1.0, 1.0, -0.5], [0.5, -0.5, 1.0]]
    np.testing.assert_allclose(correlation_matrix(matrix), expected, rtol=0, atol=1e-15)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(2, 200), st.integers(1, 15))
def test_equals_numpy_and_pandas(seed: int, bars: int, symbols: int) -> None:
    matrix = np.random.default_rng(seed).standard_t(3, (bars, symbols)) * 0.02 + 0.001
    rho = correlation_matrix(matrix)
    # atol, as correlations are of the order of 1: near 0 the last digits are those of the sums.
    expected = np.corrcoef(matrix, rowvar=False).reshape(symbols, symbols)
    np.testing.assert_allclose(rho, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(rho, pd.DataFrame(matrix).corr(), rtol=1e-12, atol=1e-12)


def test_equals_scipy_pair_by_pair() -> None:
    matrix = market(7)
    rho = correlation_matrix(matrix)
    for i in range(rho.shape[0]):
        for j in range(i):
            expected = pearsonr(matrix[:, i], matrix[:, j]).statistic
            assert rho[i, j] == pytest.approx(expected, rel=1e-12, abs=1e-13)


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_is_symmetric_and_bounded_with_a_unit_diagonal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = market(seed)
    # Multiples of one column, where rounding could pass the bounds.
    matrix = np.column_stack([matrix, matrix[:, :4] * rng.uniform(-5, 5, 4)])
    rho = correlation_matrix(matrix)
    np.testing.assert_array_equal(rho, rho.T)
    np.testing.assert_array_equal(np.diag(rho), 1.0)
    assert np.abs(rho).max() <= 1.0
    np.testing.assert_allclose(np.abs(np.diag(rho[12:, :4])), 1.0, rtol=1e-13)


def test_a_constant_column_has_no_correlation_and_disturbs_no_other() -> None:
    matrix = market(1)
    rho = correlation_matrix(matrix)
    constant = np.full(matrix.shape[0], 0.1)
    assert constant.var() > 0  # the rounding residue that must not pass for a variance
    with_constant = correlation_matrix(np.column_stack([matrix[:, :5], constant, matrix[:, 5:]]))
    assert np.isnan(with_constant[5]).all()
    assert np.isnan(with_constant[:, 5]).all()
    others = np.delete(np.arange(13), 5)
    np.testing.assert_array_equal(with_constant[np.ix_(others, others)], rho)


def test_a_column_with_a_missing_value_has_no_correlation_either() -> None:
    matrix = market(2)
    rho = correlation_matrix(matrix)
    matrix[30, 4] = np.nan
    with_missing = correlation_matrix(matrix)
    assert np.isnan(with_missing[4]).all()
    others = np.delete(np.arange(12), 4)
    np.testing.assert_array_equal(with_missing[np.ix_(others, others)], rho[np.ix_(others, others)])


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (1, 3), (5, 0), (5, 3)])
def test_nothing_that_varies(shape: tuple[int, int]) -> None:
    rho = correlation_matrix(np.full(shape, 0.1))
    assert rho.shape == (shape[1], shape[1])
    assert np.isnan(rho).all()


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1e150])
def test_scale_does_not_matter(scale: float) -> None:
    matrix = market(3)
    np.testing.assert_allclose(
        correlation_matrix(matrix * scale), correlation_matrix(matrix), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("chosen", [2, 13, 61, 516])
def test_a_pair_has_the_same_bits_beside_any_other_symbols(
    full: tuple[FloatArray, FloatArray], chosen: int
) -> None:
    matrix, rho = full
    symbols = np.random.default_rng(chosen).choice(matrix.shape[1], chosen, replace=False)
    np.testing.assert_array_equal(
        correlation_matrix(matrix[:, symbols]), rho[np.ix_(symbols, symbols)]
    )


@pytest.fixture(scope="module")
def full() -> tuple[FloatArray, FloatArray]:
    """A matrix so large that BLAS sums it in blocks, and its correlations."""
    matrix = market(0, bars=2742, symbols=517)
    return matrix, correlation_matrix(matrix)


def test_the_bits_do_not_depend_on_the_processor(tmp_path: Path) -> None:
    matrix = market(4, bars=2742, symbols=60)
    np.save(tmp_path / "matrix.npy", matrix)
    program = (
        "import numpy, gold.correlation as g;"
        "numpy.save('rho.npy', g.correlation_matrix(numpy.load('matrix.npy')))"
    )
    # OpenBLAS takes its code for an old processor; other libraries ignore the variable.
    old = {**os.environ, "OPENBLAS_CORETYPE": "Nehalem", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=old, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "rho.npy"), correlation_matrix(matrix))


def extreme_rows(bars: int) -> FloatArray:
    """Two rows of length just below 1: their coarse parts cancel, coarse times fine adds up."""
    pairs = bars // 2
    coarse = np.repeat(np.rint(2.0**26 / np.sqrt(bars) * np.linspace(0.9, 1.05, pairs)), 2)
    rest = np.random.default_rng(bars).uniform(0.4, 0.4999, (2, 2 * pairs))
    rows = np.zeros((2, bars))
    rows[0, : 2 * pairs] = coarse + rest[0]
    rows[1, : 2 * pairs] = coarse * np.tile([1, -1], pairs) + rest[1]
    return rows / 2.0**26


@pytest.mark.parametrize("bars", [2, 3, 1000, 1024, 1025, 20_000])
def test_inner_products_have_the_same_bits_in_any_order_of_summation(bars: int) -> None:
    rng = np.random.default_rng(bars)
    unit = np.vstack([_unit_vectors(rng.standard_t(3, (9, bars))), extreme_rows(bars)])
    order = rng.permutation(bars)
    products = _gram(unit)
    np.testing.assert_array_equal(_gram(np.ascontiguousarray(unit[:, order])), products)
    np.testing.assert_allclose(products, unit @ unit.T, rtol=0, atol=1e-13)


def test_inner_products_are_exact_where_rounding_could_add_up() -> None:
    # All mass on one bar, and all mass spread evenly: the extremes of the integers' sizes.
    unit = np.zeros((3, 4096))
    unit[0, 17] = 1.0
    unit[1] = 1 / 64
    unit[2] = -1 / 64
    expected = [[1, 1 / 64, -1 / 64], [1 / 64, 1, -1], [-1 / 64, -1, 1]]
    np.testing.assert_array_equal(_gram(unit), expected)
