import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.features import FEATURE_NAMES, TARGET, bars_in_segment, gbt_features, rolling_sum

COLUMNS = (*FEATURE_NAMES, TARGET)


def random_symbol(bars: int, seed: int, breaks: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, bars)))
    segment = np.zeros(bars, dtype=np.int64)
    for at in rng.integers(0, max(bars, 1), breaks):
        segment[at:] += 1
    return close, segment


def columns(close: np.ndarray, segment: np.ndarray) -> np.ndarray:
    features = gbt_features(close, segment)
    return np.array([getattr(features, name) for name in COLUMNS])


def with_pandas(close: np.ndarray, segment: np.ndarray) -> pd.DataFrame:
    """The same features by pandas, each segment on its own."""

    def of_segment(bars: pd.DataFrame) -> pd.DataFrame:
        returns = np.log(bars.close / bars.close.shift())
        return pd.DataFrame(
            {
                "ret_lag1": returns,
                "ret_lag2": returns.shift(1),
                "ret_lag3": returns.shift(2),
                "ma_ratio": bars.close.rolling(7).mean() / bars.close.rolling(30).mean(),
                "volatility_7": returns.rolling(7).std(),
                "target": returns.shift(-1),
            }
        )

    frame = pd.DataFrame({"close": close, "segment": segment})
    return pd.concat([of_segment(bars) for _, bars in frame.groupby("segment")])


@given(bars=st.integers(0, 200), seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
def test_matches_pandas_on_each_segment(bars: int, seed: int) -> None:
    close, segment = random_symbol(bars, seed)
    if not bars:
        assert columns(close, segment).shape == (len(COLUMNS), 0)
        return
    expected = with_pandas(close, segment)[list(COLUMNS)].to_numpy().T
    np.testing.assert_allclose(columns(close, segment), expected, rtol=1e-9, atol=1e-12)


def test_a_row_holds_what_its_bar_closes_with() -> None:
    close = np.array([100.0, 110.0, 99.0, 99.0, 120.0])
    features = gbt_features(close, np.zeros(5, dtype=np.int64))
    returns = np.log([1.1, 0.9, 1.0, 120 / 99])
    np.testing.assert_allclose(features.ret_lag1, [np.nan, *returns])
    np.testing.assert_allclose(features.ret_lag2, [np.nan, np.nan, *returns[:3]])
    np.testing.assert_allclose(features.ret_lag3, [np.nan, np.nan, np.nan, *returns[:2]])
    np.testing.assert_allclose(features.target, [*returns, np.nan])


def test_windows_start_when_they_are_full() -> None:
    close, _ = random_symbol(40, seed=1)
    features = gbt_features(close, np.zeros(40, dtype=np.int64))
    assert np.flatnonzero(np.isfinite(features.ma_ratio))[0] == 29
    assert np.flatnonzero(np.isfinite(features.volatility_7))[0] == 7


def test_nothing_crosses_a_segment_break() -> None:
    close, _ = random_symbol(80, seed=2)
    segment = np.repeat([0, 1], 40)
    close[40:] *= 1e6
    both = columns(close, segment)
    apart = [columns(close[part], segment[part]) for part in (slice(0, 40), slice(40, 80))]
    np.testing.assert_array_equal(both, np.concatenate(apart, axis=1))


@given(seed=st.integers(0, 10_000), cut=st.integers(0, 120))
@settings(deadline=None, max_examples=60)
def test_the_future_changes_no_feature(seed: int, cut: int) -> None:
    close, segment = random_symbol(120, seed)
    scrambled = close.copy()
    scrambled[cut:] = np.random.default_rng(seed + 1).uniform(1, 1e6, 120 - cut)
    whole = columns(close, segment)
    np.testing.assert_array_equal(columns(scrambled, segment)[:-1, :cut], whole[:-1, :cut])
    np.testing.assert_array_equal(columns(close[:cut], segment[:cut])[:-1], whole[:-1, :cut])
    # The target looks one bar ahead, and no further.
    np.testing.assert_array_equal(
        columns(scrambled, segment)[-1, : max(cut - 1, 0)], whole[-1, : max(cut - 1, 0)]
    )


@given(seed=st.integers(0, 10_000), start=st.integers(0, 60))
@settings(deadline=None, max_examples=60)
def test_a_window_depends_on_its_own_bars_alone(seed: int, start: int) -> None:
    close, segment = random_symbol(120, seed, breaks=0)
    whole, late = columns(close, segment), columns(close[start:], segment[start:])
    full = np.isfinite(late)
    np.testing.assert_array_equal(late[full], whole[:, start:][full])


def test_flat_prices_have_no_volatility() -> None:
    features = gbt_features(np.full(40, 3.7), np.zeros(40, dtype=np.int64))
    assert features.volatility_7[39] == 0
    assert features.ma_ratio[39] == pytest.approx(1)


def test_rolling_sum_of_fewer_values_than_the_window_is_nan() -> None:
    assert np.isnan(rolling_sum(np.ones(3), 4)).all()
    np.testing.assert_array_equal(rolling_sum(np.arange(4.0), 2), [np.nan, 1, 3, 5])


def test_bars_are_counted_from_the_start_of_their_segment() -> None:
    segment = np.array([4, 4, 4, 5, 7, 7])
    np.testing.assert_array_equal(bars_in_segment(segment), [1, 2, 3, 1, 1, 2])
