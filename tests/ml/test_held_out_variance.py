import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from ml.held_out_variance import held_out_variance


@given(seed=st.integers(0, 1_000), components=st.integers(1, 6))
@settings(deadline=None, max_examples=30)
def test_it_is_the_variance_that_sklearns_components_reach(seed: int, components: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(100, 6)) * rng.uniform(0.1, 3, 6) + rng.normal(size=(100, 1))
    pca = PCA(components).fit(matrix[:80])
    residual = matrix[80:] - pca.inverse_transform(pca.transform(matrix[80:]))
    expected = 1 - np.sum(residual**2) / np.sum((matrix[80:] - matrix[:80].mean(axis=0)) ** 2)
    assert held_out_variance(matrix, components) == pytest.approx(expected, abs=1e-9)


def test_a_market_that_changes_its_direction_shows_how_little_was_learnt() -> None:
    rng = np.random.default_rng(0)
    before = np.column_stack([rng.normal(size=80), np.zeros(80)])
    after = np.column_stack([np.zeros(20), rng.normal(size=20)])
    assert held_out_variance(np.vstack([before, after]), 1) < 0.05


def test_bars_without_variance_have_none() -> None:
    assert np.isnan(held_out_variance(np.zeros((50, 3)), 1))
    assert held_out_variance(np.random.default_rng(1).normal(size=(50, 1)), 1) == pytest.approx(1)


def test_standardised_returns_do_not_know_their_scale() -> None:
    matrix = np.random.default_rng(2).normal(size=(60, 4)) + np.linspace(0, 1, 60)[:, None]
    scaled = np.column_stack([matrix * [1, 10, 100, 1000], np.zeros(60)])
    one, other = (held_out_variance(each, 2, standardise=True) for each in (matrix, scaled))
    assert other == pytest.approx(one)
    assert held_out_variance(scaled, 2) != pytest.approx(one)
