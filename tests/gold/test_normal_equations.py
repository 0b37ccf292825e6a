"""Batched factors, solutions and condition numbers against LAPACK, one matrix at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gold.normal_equations import (
    backward,
    cholesky,
    column_starts,
    condition_numbers,
    forward,
)
from gold.returns import FloatArray

SIZES = st.tuples(st.integers(1, 11), st.integers(2, 5), st.integers(1, 4))


def designs(size: int, count: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(count, size + 9, size))


def gram(x: FloatArray) -> FloatArray:
    """(k, k, T) Gram matrices of (T, n, k) designs."""
    return np.ascontiguousarray(np.einsum("tni,tnj->ijt", x, x))


def factorised(matrices: FloatArray) -> FloatArray:
    """Factors of (k, k, T) matrices; what lies above the diagonals is whatever memory held."""
    packed = np.concatenate([column[j:] for j, column in enumerate(matrices)])
    assert [len(packed), 0] == column_starts(len(matrices))[:: -len(matrices)]
    factor = np.full(matrices.shape, np.nan)
    cholesky(packed, factor)
    return factor


def conditions(factor: FloatArray, matrices: FloatArray) -> FloatArray:
    diagonal = np.einsum("iit->it", matrices)
    return condition_numbers(factor, diagonal, np.full(matrices.shape, np.nan))


def solved(matrices: FloatArray, right: FloatArray) -> FloatArray:
    factor, solution = factorised(matrices), right.copy()
    forward(factor, solution)
    backward(factor, solution)
    return solution


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_against_lapack(sizes: tuple[int, int, int], seed: int) -> None:
    size, count, sides = sizes
    x = designs(size, count, seed)
    matrices = gram(x)
    right = np.random.default_rng(seed).normal(size=(size, sides, count))
    solution = solved(matrices, right)
    condition = conditions(factorised(matrices), matrices)
    for t in range(count):
        expected = np.linalg.solve(matrices[:, :, t], right[:, :, t])
        np.testing.assert_allclose(solution[:, :, t], expected, rtol=1e-6, atol=1e-10)
        unit = x[t] / np.linalg.norm(x[t], axis=0)
        exact = np.linalg.norm(unit) * np.linalg.norm(np.linalg.pinv(unit))
        assert condition[t] == pytest.approx(exact, rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_bits_do_not_depend_on_the_batch(sizes: tuple[int, int, int], seed: int) -> None:
    size, count, sides = sizes
    matrices = gram(designs(size, count, seed))
    right = np.random.default_rng(seed).normal(size=(size, sides, count))
    together, condition = solved(matrices, right), conditions(factorised(matrices), matrices)
    for t in range(count - 1):
        two = matrices[:, :, t : t + 2]
        np.testing.assert_array_equal(conditions(factorised(two), two), condition[t : t + 2])
        for n in range(sides):
            fewer = solved(two, right[:, n : n + 1, t : t + 2])
            np.testing.assert_array_equal(fewer[:, 0], together[:, n, t : t + 2])


def test_a_matrix_that_is_not_positive_definite_is_nan_and_spoils_no_other() -> None:
    good = np.diag([4.0, 9.0])
    matrices = np.stack([good, np.array([[1.0, 2.0], [2.0, 1.0]]), np.zeros((2, 2))], axis=-1)
    solution = solved(matrices, np.ones((2, 1, 3)))
    np.testing.assert_allclose(solution[:, 0, 0], [1 / 4, 1 / 9])
    assert np.isnan(solution[:, 0, 1:]).all()


def test_the_condition_of_orthogonal_columns_is_their_number_whatever_their_units() -> None:
    matrices = np.stack([np.diag([1e-12, 1.0, 1440.0]), np.eye(3)], axis=-1)
    assert conditions(factorised(matrices), matrices).tolist() == pytest.approx([3.0, 3.0])
