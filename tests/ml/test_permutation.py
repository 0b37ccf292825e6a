import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression

from ml.permutation import lost_squares, shuffled_copies

REPEATS = 40


def importances(weights: np.ndarray, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ours and scikit-learn's of one linear forecast, as falls of R² around the mean."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, weights.size))
    outcome = features @ weights + rng.normal(size=rows)
    line = LinearRegression().fit(features, outcome)
    line.coef_, line.intercept_ = weights, 0.0
    copies = shuffled_copies(features, REPEATS, seed)
    lost = lost_squares(outcome, features @ weights, copies @ weights)
    ours = lost / np.sum((outcome - outcome.mean()) ** 2)
    theirs = permutation_importance(line, features, outcome, n_repeats=REPEATS, random_state=seed)
    return ours, theirs.importances_mean


def test_importances_are_those_of_sklearn_but_for_the_shuffles() -> None:
    ours, theirs = importances(np.array([0.8, 0.3, 0.0]), 3_000, 1)
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    assert ours[2] == 0  # what the forecast ignores cannot be missed
    assert ours[0] > ours[1] > 0


@given(rows=st.integers(0, 30), width=st.integers(1, 4), seed=st.integers(0, 1_000))
@settings(deadline=None, max_examples=40)
def test_a_copy_moves_one_feature_and_no_value_is_lost(rows: int, width: int, seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(rows, width))
    copies = shuffled_copies(features, 3, seed)
    assert copies.shape == (width, 3, rows, width)
    np.testing.assert_array_equal(copies, shuffled_copies(features, 3, seed))
    for feature in range(width):
        others = [place for place in range(width) if place != feature]
        for copy in copies[feature]:
            np.testing.assert_array_equal(copy[:, others], features[:, others])
            np.testing.assert_array_equal(np.sort(copy[:, feature]), np.sort(features[:, feature]))


def test_a_feature_that_misleads_has_a_negative_importance() -> None:
    ours, _ = importances(np.array([0.5]), 2_000, 3)
    features = np.random.default_rng(3).normal(size=(2_000, 1))
    outcome = -features[:, 0]
    copies = shuffled_copies(features, REPEATS, 3)
    assert ours[0] > 0
    assert lost_squares(outcome, features[:, 0], copies[..., 0])[0] < 0


def test_another_seed_shuffles_otherwise() -> None:
    features = np.arange(20.0).reshape(-1, 1)
    assert (shuffled_copies(features, 1, 1) != shuffled_copies(features, 1, 2)).any()
    assert lost_squares(np.zeros(2), np.ones(2), np.ones((1, 1, 2)))[0] == pytest.approx(0)
