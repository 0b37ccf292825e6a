"""Batched factors, solutions and condition numbers against LAPACK, one matrix at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gold.normal_equations import factorise, solve
from gold.returns import FloatArray

SIZES = st.tuples(st.integers(1, 11), st.integers(1, 150), st.integers(1, 4))
RIDGE = 1e-3


def designs(size: int, count: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(count, size + 9, size))


def gram(x: FloatArray) -> FloatArray:
    """(k, k, T) Gram matrices of (T, n, k) designs."""
    return np.ascontiguousarray(np.einsum("tni,tnj->ijt", x, x))


def solved(
    matrices: FloatArray, right: FloatArray, ridge: float = RIDGE
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Solutions, what they explain, and condition numbers of (k, k, T) matrices."""
    packed = np.concatenate([column[j:] for j, column in enumerate(matrices)])
    condition = np.empty(matrices.shape[2])
    factorise(packed, ridge, condition)
    solution, explained = right.copy(), np.empty(right.shape[1:])
    solve(packed, ridge, solution, explained)
    return solution, explained, condition


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_against_lapack(sizes: tuple[int, int, int], seed: int) -> None:
    size, count, sides = sizes
    x = designs(size, count, seed)
    y = np.random.default_rng((seed, 1)).normal(size=(count, size + 9, sides))
    right = np.ascontiguousarray(np.einsum("tni,tns->ist", x, y))
    solution, explained, condition = solved(gram(x), right)
    for t in range(count):
        # The penalty as rows of the design: least squares without squaring it.
        rows = np.vstack([x[t], np.sqrt(RIDGE) * np.eye(size)])
        padded = np.vstack([y[t], np.zeros((size, sides))])
        expected = np.linalg.lstsq(rows, padded)[0]
        np.testing.assert_allclose(solution[:, :, t], expected, rtol=1e-7, atol=1e-11)
        residual = ((y[t] - x[t] @ expected) ** 2).sum(axis=0)
        np.testing.assert_allclose((y[t] ** 2).sum(axis=0) - explained[:, t], residual, rtol=1e-8)
        unit = rows / np.linalg.norm(rows, axis=0)
        exact = np.linalg.norm(unit) * np.linalg.norm(np.linalg.pinv(unit))
        assert condition[t] == pytest.approx(exact, rel=1e-7)


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_bits_do_not_depend_on_the_batch(sizes: tuple[int, int, int], seed: int) -> None:
    size, count, sides = sizes
    matrices = gram(designs(size, count, seed))
    right = np.random.default_rng(seed).normal(size=(size, sides, count))
    together = solved(matrices, right)
    t, side = np.random.default_rng(seed).integers((count, sides))
    for found, among in zip(
        solved(matrices[:, :, t:], right[:, side : side + 1, t:]), together, strict=True
    ):
        here = among[..., t:] if among.ndim == 1 else among[..., side : side + 1, t:]
        np.testing.assert_array_equal(found, here)


def test_a_matrix_that_is_not_positive_definite_is_nan_and_spoils_no_other() -> None:
    good = np.diag([4.0, 9.0])
    matrices = np.stack([good, np.array([[1.0, 2.0], [2.0, 1.0]]), np.zeros((2, 2))], axis=-1)
    solution, explained, condition = solved(matrices, np.ones((2, 1, 3)), 0.0)
    np.testing.assert_allclose(solution[:, 0, 0], [1 / 4, 1 / 9])
    for numbers in (*solution[:, 0], explained[0], condition):
        assert np.isnan(numbers).tolist() == [False, True, True]


def test_the_condition_of_orthogonal_columns_is_their_number_whatever_their_units() -> None:
    matrices = np.stack([np.diag([1e-12, 1.0, 1440.0]), np.eye(3)], axis=-1)
    _, _, condition = solved(matrices, np.ones((3, 1, 2)), 0.0)
    assert condition.tolist() == pytest.approx([3.0, 3.0])
