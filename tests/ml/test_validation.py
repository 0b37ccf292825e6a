from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score, mean_absolute_error, mean_squared_error, r2_score

from lakehouse.errors import NotEnoughData
from ml.features import LABEL_BARS, gbt_features
from ml.validation import (
    Fold,
    ForecastScore,
    daily_rank_correlations,
    forecast_score,
    rank_correlations,
    walk_forward_splits,
)

STEP = 4
# Length of a day in which bars are named by 0, 100, 200 …
DAY = 300


def test_folds_of_eight_bars() -> None:
    # Bars 100, 104 … 128; blocks of three bars; one bar of purge. The last block is not yet full.
    assert walk_forward_splits(100, 128, STEP, day=20, block=3, purge=1, embargo=0) == (
        Fold(train_end=108, test_start=112, test_end=124),
        Fold(train_end=120, test_start=124, test_end=136),
    )


def test_blocks_begin_with_a_day() -> None:
    # Bars 104, 108 … 164, six to a day of 24, the first of which begins with bar 120.
    assert walk_forward_splits(104, 164, STEP, day=24, block=6, purge=1, embargo=0) == (
        Fold(train_end=140, test_start=144, test_end=168),
    )


@given(
    bars=st.integers(20, 400),
    block=st.integers(1, 100),
    purge=st.integers(0, 3),
    embargo=st.integers(0, 3),
)
@settings(deadline=None, max_examples=100)
def test_folds_cover_the_time_after_the_first_block_once(
    bars: int, block: int, purge: int, embargo: int
) -> None:
    first, last = 1_000, 1_000 + (bars - 1) * STEP
    try:
        splits = walk_forward_splits(
            first, last, STEP, day=STEP, block=block, purge=purge, embargo=embargo
        )
    except NotEnoughData:
        assert block <= purge + embargo or bars <= block
        return
    assert splits[0].test_start == first + block * STEP
    assert splits[-1].test_start <= last < splits[-1].test_end
    for fold, after in pairwise(splits):
        assert fold.test_end == after.test_start
    for fold in splits:
        assert fold.test_end - fold.test_start == block * STEP
        assert first < fold.train_end <= fold.test_start
        # The label of the last fitted row is realised before the first bar that is predicted.
        assert (fold.train_end - STEP) + purge * STEP < fold.test_start - embargo * STEP


@given(bars=st.integers(10, 300), cut=st.integers(1, 300), block=st.integers(3, 40))
@settings(deadline=None, max_examples=60)
def test_later_bars_change_no_fold(bars: int, cut: int, block: int) -> None:
    def folds(count: int) -> tuple[Fold, ...]:
        try:
            return walk_forward_splits(0, count - 1, 1, day=7, block=block, purge=1, embargo=1)
        except NotEnoughData:
            return ()

    early = folds(min(cut, bars))
    assert folds(bars)[: len(early)] == early


@given(seed=st.integers(0, 1_000))
@settings(deadline=None, max_examples=25)
def test_no_fitted_row_has_seen_the_test_block(seed: int) -> None:
    bars = 160
    rng = np.random.default_rng(seed)
    close = np.exp(np.cumsum(rng.normal(0, 0.01, bars)))
    segment = np.zeros(bars, dtype=np.int64)
    for fold in walk_forward_splits(0, bars - 1, 1, day=1, block=40, purge=LABEL_BARS, embargo=0):
        scrambled = close.copy()
        scrambled[fold.test_start :] = rng.uniform(1, 100, bars - fold.test_start)
        before, after = gbt_features(close, segment), gbt_features(scrambled, segment)
        train = slice(0, fold.train_end)
        for name in before.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(before, name)[train], getattr(after, name)[train])


@pytest.mark.parametrize(("bars", "block"), [(0, 1), (3, 3), (40, 1)])
def test_too_few_bars_are_refused(bars: int, block: int) -> None:
    with pytest.raises(NotEnoughData, match=r"ml\.gbt\.fold_days"):
        walk_forward_splits(0, (bars - 1) * STEP, STEP, day=STEP, block=block, purge=1, embargo=0)


def scored(
    time: np.ndarray, prediction: np.ndarray, outcome: np.ndarray, mean: float = 0.0
) -> ForecastScore:
    return forecast_score(time, prediction, outcome, mean, day=DAY)


def cross_sections(seed: int, bars: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bars of 1 to 30 rows in random order, with many ties."""
    rng = np.random.default_rng(seed)
    time = np.repeat(rng.permutation(bars) * 100, rng.integers(1, 30, bars))
    time = rng.permutation(time)
    return time, rng.integers(0, 6, time.size) / 7, rng.integers(0, 12, time.size) / 7


def one_by_one(time: np.ndarray, prediction: np.ndarray, outcome: np.ndarray) -> dict[int, float]:
    """Open time of each bar that has a rank correlation, with it."""
    found = {}
    for bar in np.unique(time):
        rows = time == bar
        varied = len(set(prediction[rows])) > 1 and len(set(outcome[rows])) > 1
        if rows.sum() >= 3 and varied:
            found[int(bar)] = stats.spearmanr(prediction[rows], outcome[rows]).statistic
    return found


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
def test_rank_correlations_match_scipy(seed: int) -> None:
    time, prediction, outcome = cross_sections(seed)
    expected = pd.Series(one_by_one(time, prediction, outcome))
    bars, found = rank_correlations(time, prediction, outcome)
    assert bars.tolist() == list(expected.index)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    # A day may have three correlations, or two, one or none.
    by_day = expected.groupby(expected.index // DAY).mean()
    found = daily_rank_correlations(time, prediction, outcome, DAY)
    np.testing.assert_allclose(found, by_day, atol=1e-12)
    score = scored(time, prediction, outcome)
    assert score.rank_ic_days == len(by_day) < len(expected)
    assert score.rank_information_coefficient == pytest.approx(by_day.mean(), abs=1e-12)
    student = stats.ttest_1samp(by_day, 0).statistic
    assert score.rank_ic_t_statistic == pytest.approx(student, rel=1e-9)


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_scores_of_disjoint_bars_add_up(seed: int) -> None:
    time, prediction, outcome = cross_sections(seed)
    early = time < 600  # the first two days of four
    parts = [scored(time[part], prediction[part], outcome[part], 0.1) for part in (early, ~early)]
    whole = scored(time, prediction, outcome, 0.1).metrics()
    assert (parts[0] + parts[1]).metrics() == pytest.approx(whole, rel=1e-9)


def test_rows_with_nan_are_left_out() -> None:
    time, prediction, outcome = cross_sections(5)
    broken = outcome.copy()
    broken[::4] = np.nan
    unknown = prediction.copy()
    unknown[1::4] = np.nan
    kept = ~np.isnan(broken + unknown)
    assert scored(time, unknown, broken, 0.2) == scored(
        time[kept], prediction[kept], outcome[kept], 0.2
    )


def test_a_bar_without_variance_or_with_two_rows_has_no_correlation() -> None:
    time = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    prediction = np.array([1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 2.0, 3.0])
    outcome = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 2.0, 1.0])
    bars, found = rank_correlations(time, prediction, outcome)
    assert (bars.tolist(), found.tolist()) == ([2], [-1.0])


def test_equal_correlations_have_no_t_statistic() -> None:
    # 0.5 on each day, whose squares sum up with a rounding error.
    time = np.repeat(np.arange(10) * DAY, 3)
    score = scored(time, np.tile([1.0, 2, 3], 10), np.tile([1.0, 3, 2], 10), 0.0)
    assert score.rank_information_coefficient == pytest.approx(0.5)
    assert "rank_ic_t" not in score.metrics()


def test_no_rows_have_no_scores_and_no_error() -> None:
    none = np.array([])
    score = scored(none.astype(np.int64), none, none, 0.0)
    assert score == ForecastScore()
    assert score.metrics() == {"rank_ic_days": 0, "rows": 0}


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_errors_match_sklearn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcome = rng.normal(0, 0.02, 200)
    prediction = 0.3 * outcome + rng.normal(0, 0.02, 200)
    mean = float(rng.normal(0, 0.01))
    score = scored(np.arange(200), prediction, outcome, mean)
    assert score.mae == pytest.approx(mean_absolute_error(outcome, prediction))
    signs = np.sign(prediction), np.sign(outcome)
    assert score.directional_accuracy == pytest.approx(accuracy_score(*signs))
    assert score.rmse == pytest.approx(mean_squared_error(outcome, prediction) ** 0.5)
    assert score.zero_rmse == pytest.approx(mean_squared_error(outcome, np.zeros(200)) ** 0.5)
    # Beside its own mirror image the outcome has the mean zero, which is R²'s usual benchmark.
    mirrored = r2_score(np.append(outcome, -outcome), np.append(prediction, -prediction))
    assert score.out_of_sample_r2 == pytest.approx(mirrored)
    around = np.append(outcome, 2 * mean - outcome)
    mirrored = r2_score(around, np.append(prediction, 2 * mean - prediction))
    assert score.out_of_sample_r2_mean == pytest.approx(mirrored)


def test_the_mean_forecast_has_zero_r2_against_itself() -> None:
    outcome = np.array([0.01, -0.02, 0.03])
    score = scored(np.arange(3), np.full(3, 0.004), outcome, 0.004)
    assert score.out_of_sample_r2_mean == 0
    assert score.out_of_sample_r2 != 0


def test_an_outcome_of_zero_has_no_direction_and_a_forecast_of_zero_is_wrong() -> None:
    outcome = np.array([0.0, 0.0, 0.01, -0.02, 0.03])
    prediction = np.array([0.01, 0.0, 0.0, -0.01, 0.02])
    score = scored(np.arange(5), prediction, outcome, 0.0)
    assert (score.moves, score.hits) == (3, 2)
    still = scored(np.arange(2), np.ones(2), np.zeros(2), 0.0)
    assert "directional_accuracy" not in still.metrics()


def test_the_zero_forecast_has_zero_r2_and_the_truth_has_one() -> None:
    time, outcome = np.arange(3), np.array([0.01, -0.02, 0.03])
    assert scored(time, np.zeros(3), outcome, 0.0).out_of_sample_r2 == 0
    assert scored(time, outcome, outcome, 0.0).out_of_sample_r2 == 1
