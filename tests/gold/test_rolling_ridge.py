"""Rolling ridge regressions against the literal formula, statsmodels, and hard cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.regression.rolling import RollingOLS

from gold.returns import FloatArray
from gold.rolling_ridge import RollingRidge, rolling_ridge
from tests.gold.minutes import exact_ridge, literal_ridge, real_factors, real_minutes

WINDOW, RIDGE = 1440, 1e-6
FIELDS = ("coefficients", "r2", "adj_r2", "residual_variance", "bars", "condition_number")


@pytest.fixture(scope="module")
def real() -> RollingRidge:
    minutes = real_minutes()
    return rolling_ridge(real_factors(), minutes.returns, minutes.first_bar, WINDOW, RIDGE)


def random_windows(number: int) -> list[tuple[int, int]]:
    minutes, rng = real_minutes(), np.random.default_rng(42)
    ends = minutes.returns.shape[1] - WINDOW + 1
    coins = rng.integers(0, len(minutes.symbols), number).tolist()
    return list(zip(coins, rng.integers(0, ends, number).tolist(), strict=True))


def made_up(
    seed: int, coins: int = 3, factors: int = 3, bars: int = 90
) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1e-3, (factors, bars))
    return x, rng.normal(1, 0.5, (coins, factors)) @ x + rng.normal(0, 5e-4, (coins, bars))


def same(one: RollingRidge, other: RollingRidge, coins: slice, ends: slice) -> None:
    """That `one` is these coins and windows of `other`, to the last bit."""
    for name in FIELDS:
        np.testing.assert_array_equal(
            getattr(one, name), getattr(other, name)[..., coins, ends], err_msg=name
        )


def test_the_literal_formula_at_a_thousand_windows_of_real_minutes(real: RollingRidge) -> None:
    x, returns = real_factors(), real_minutes().returns
    for coin, end in random_windows(1000):
        window = slice(end, end + WINDOW)
        expected = literal_ridge(x[:, window], returns[coin, window], RIDGE)
        found = real.coefficients[:, coin, end]
        # Relative to the window's largest coefficient: of one near 0, the literal inverse itself
        # keeps fewer digits than that, as the next test shows.
        largest = np.abs(expected.coefficients).max()
        np.testing.assert_allclose(found, expected.coefficients, rtol=1e-9, atol=1e-9 * largest)
        assert real.r2[coin, end] == pytest.approx(expected.r2, rel=1e-9)
        assert real.adj_r2[coin, end] == pytest.approx(expected.adj_r2, rel=1e-9)
    assert (real.bars == WINDOW).all()


def test_the_formula_in_extended_precision_is_met_closer_than_the_literal_inverse(
    real: RollingRidge,
) -> None:
    x, returns = real_factors(), real_minutes().returns
    off, literally_off = [], []
    for coin, end in random_windows(100):
        window = slice(end, end + WINDOW)
        exact = exact_ridge(x[:, window], returns[coin, window], RIDGE)
        literal = literal_ridge(x[:, window], returns[coin, window], RIDGE)
        largest = np.abs(exact.coefficients).max()
        off.append(np.abs(real.coefficients[:, coin, end] - exact.coefficients).max() / largest)
        literally_off.append(np.abs(literal.coefficients - exact.coefficients).max() / largest)
        assert real.r2[coin, end] == pytest.approx(exact.r2, rel=1e-12)
    assert max(off) < 1e-10
    assert np.median(off) < np.median(literally_off)


def test_statsmodels_with_a_vanishing_penalty() -> None:
    minutes = real_minutes()
    # Some buckets are left out: all three of a sort add up to the market. And in thousandths:
    # beside a constant of 1, statsmodels takes returns of 0.001 for a matrix without full rank.
    x = real_factors()[[0, 1, 3, 4, 6, 7], :3000] * 1e3
    returns = minutes.returns[:2, :3000] * 1e3
    found = rolling_ridge(x, returns, minutes.first_bar, WINDOW, 1e-12)
    design = np.column_stack([np.ones(x.shape[1]), x.T])
    for coin, y in enumerate(returns):
        expected = RollingOLS(y, design, window=WINDOW).fit()
        params = expected.params[WINDOW - 1 :].T
        largest = np.abs(params).max(axis=0)
        assert (np.abs(found.coefficients[:, coin] - params) / largest).max() < 1e-8
        np.testing.assert_allclose(found.r2[coin], expected.rsquared[WINDOW - 1 :], rtol=1e-8)
        adjusted = expected.rsquared_adj[WINDOW - 1 :]
        np.testing.assert_allclose(found.adj_r2[coin], adjusted, rtol=1e-8)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 20),
    st.integers(1, 40),
    st.integers(0, 10**8),
    st.data(),
)
def test_blocks_of_any_size_and_coins_alone_give_the_same_bits(
    seed: int, number: int, window: int, first_bar: int, data: st.DataObject
) -> None:
    x, y = made_up(seed, coins=number)
    missing = np.random.default_rng(seed).random(y.shape) < data.draw(st.sampled_from([0, 0.05]))
    y[missing] = np.nan
    whole = rolling_ridge(x, y, first_bar, window, RIDGE, 3)
    ends = y.shape[1] - window + 1
    start = data.draw(st.integers(0, ends - 1))
    stop = data.draw(st.integers(start + 1, ends))
    first = data.draw(st.integers(0, number - 1))
    coins = slice(first, data.draw(st.integers(first + 1, number)))
    block = slice(start, stop + window - 1)
    part = rolling_ridge(x[:, block], y[coins, block], first_bar + start, window, RIDGE, 3)
    same(part, whole, coins, slice(start, stop))


def test_a_real_block_gives_the_same_bits(real: RollingRidge) -> None:
    minutes = real_minutes()
    block = slice(1_000, 4_321)
    part = rolling_ridge(
        real_factors()[:, block],
        minutes.returns[2:4, block],
        minutes.first_bar + 1_000,
        WINDOW,
        RIDGE,
    )
    same(part, real, slice(2, 4), slice(1_000, 4_321 - WINDOW + 1))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 40))
def test_a_spike_leaves_no_trace_once_it_has_left(seed: int, window: int) -> None:
    x, y = made_up(seed)
    rng = np.random.default_rng(seed)
    at = int(rng.integers(0, y.shape[1] - window))
    spiked_x, spiked_y = x.copy(), y.copy()
    spiked_y[0, at] = 1e8
    spiked_x[:, at] = 1e8
    plain = rolling_ridge(x, y, 7, window, RIDGE)
    spiked = rolling_ridge(spiked_x, spiked_y, 7, window, RIDGE)
    # While it is there, all factors are one and the same number: nobody could tell them apart.
    held = slice(max(0, at - window + 1), at + 1)
    assert np.isnan(spiked.coefficients[:, :, held]).all()
    assert not (spiked.condition_number[:, held] < 1e6).any()
    for ends in (slice(0, max(0, at - window + 1)), slice(at + 1, None)):
        for name in FIELDS:
            np.testing.assert_array_equal(
                getattr(spiked, name)[..., ends], getattr(plain, name)[..., ends]
            )


def test_a_spike_of_one_coin_spoils_no_other_and_is_regressed_itself() -> None:
    x, y = made_up(1)
    spiked = y.copy()
    spiked[0, 40] = 1e8
    plain, found = (rolling_ridge(x, returns, 0, 30, RIDGE) for returns in (y, spiked))
    np.testing.assert_array_equal(found.coefficients[:, 1:], plain.coefficients[:, 1:])
    expected = exact_ridge(x[:, 20:50], spiked[0, 20:50], RIDGE)
    np.testing.assert_allclose(found.coefficients[:, 0, 20], expected.coefficients, rtol=1e-8)


def test_missing_bars_are_left_out_of_that_coin_alone() -> None:
    x, y = made_up(2, bars=120)
    holes = y.copy()
    holes[1, [10, 50, 51, 99]] = np.nan
    whole, found = (rolling_ridge(x, returns, 5, 60, RIDGE) for returns in (y, holes))
    for coin in (0, 2):
        np.testing.assert_array_equal(found.coefficients[:, coin], whole.coefficients[:, coin])
    for end in range(61):
        present = np.flatnonzero(~np.isnan(holes[1, end : end + 60])) + end
        expected = exact_ridge(x[:, present], holes[1, present], RIDGE)
        assert found.bars[1, end] == present.size
        np.testing.assert_allclose(
            found.coefficients[:, 1, end], expected.coefficients, rtol=1e-9, atol=1e-12
        )
        assert found.r2[1, end] == pytest.approx(expected.r2, rel=1e-10)
        assert found.adj_r2[1, end] == pytest.approx(expected.adj_r2, rel=1e-10)


def test_a_bar_without_a_factor_is_left_out_of_all_coins() -> None:
    x, y = made_up(3)
    x[1, 33] = np.nan
    found = rolling_ridge(x, y, 0, 40, RIDGE)
    kept = [t for t in range(10, 50) if t != 33]
    expected = exact_ridge(x[:, kept], y[0, kept], RIDGE)
    assert found.bars[:, 10].tolist() == [39, 39, 39]
    np.testing.assert_allclose(found.coefficients[:, 0, 10], expected.coefficients, rtol=1e-9)


def test_a_coin_listed_inside_the_window_is_regressed_once_it_has_enough_bars() -> None:
    x, y = made_up(4, bars=100)
    y[0, :70] = np.nan
    found = rolling_ridge(x, y, 11, 50, RIDGE, min_bars=20)
    assert found.bars[0].tolist() == [max(0, end + 50 - 70) for end in range(51)]
    enough = found.bars[0] >= 20
    assert np.isnan(found.coefficients[:, 0, ~enough]).all()
    assert np.isnan(found.condition_number[0, ~enough]).all()
    expected = exact_ridge(x[:, 70:90], y[0, 70:90], RIDGE)
    first = int(np.argmax(enough))
    np.testing.assert_allclose(found.coefficients[:, 0, first], expected.coefficients, rtol=1e-9)
    # Its bars do not depend on when it is found to be listed.
    assert np.isfinite(found.r2[0, enough]).all()


@pytest.mark.parametrize("level", [0.0, 0.1, 1e-17])
def test_a_constant_coin_has_no_r2(level: float) -> None:
    x, y = made_up(5)
    y[1] = level
    found = rolling_ridge(x, y, 0, 40, RIDGE)
    assert np.isnan(found.r2[1]).all()
    assert np.isnan(found.adj_r2[1]).all()
    expected = exact_ridge(x[:, :40], y[1, :40], RIDGE)
    np.testing.assert_allclose(
        found.coefficients[:, 1, 0], expected.coefficients, rtol=1e-8, atol=1e-12 * level
    )
    assert np.isfinite(found.r2[[0, 2]]).all()


@pytest.mark.parametrize("spread", [1e-15, 1e-9, 1e-6, 1e-2, 1.0])
def test_a_coin_that_hardly_varies_about_its_mean_has_a_true_r2_or_none(spread: float) -> None:
    x, y = made_up(5)
    y[1] = 0.1 + spread * y[1]
    found = rolling_ridge(x, y, 0, 40, RIDGE).r2[1]
    assert np.isnan(found).all() == (spread < 1e-4)
    for end in np.flatnonzero(np.isfinite(found)):
        expected = exact_ridge(x[:, end : end + 40], y[1, end : end + 40], RIDGE)
        assert found[end] <= 1
        assert found[end] == pytest.approx(expected.r2, abs=1e-3)


def test_a_flat_stretch_ends_with_the_first_move() -> None:
    x, y = made_up(6)
    y[0, :60] = 0.0
    found = rolling_ridge(x, y, 0, 40, RIDGE)
    # Windows 0 to 20 end within the stretch.
    assert np.isnan(found.r2[0, :21]).all()
    assert (found.coefficients[:, 0, :21] == 0).all()
    assert np.isfinite(found.r2[0, 21:]).all()


def nearly_collinear(apart: float, ridge: float) -> tuple[FloatArray, FloatArray, RollingRidge]:
    """Three factors, the third but for a share the sum of the others, and their regressions."""
    x, y = made_up(7, bars=WINDOW + 30)
    x[2] = x[0] + x[1] + apart * x[2]
    return x, y, rolling_ridge(x, y, 0, WINDOW, ridge)


@pytest.mark.parametrize(
    ("apart", "condition"), [(1e-3, 4e3), (1e-4, 4e4), (1e-5, 4e5), (4.2e-6, 9.5e5)]
)
def test_nearly_collinear_factors_lose_twice_the_digits_of_the_condition(
    apart: float, condition: float
) -> None:
    # A penalty that does not count: all that keeps the factors apart is their difference.
    x, y, found = nearly_collinear(apart, 1e-16)
    assert (found.condition_number > condition).all()
    for end in (0, 17, 30):
        window = slice(end, end + WINDOW)
        exact = exact_ridge(x[:, window], y[0, window], 1e-16).coefficients
        off = np.abs(found.coefficients[:, 0, end] - exact).max() / np.abs(exact).max()
        assert off < 4 * np.finfo(np.float64).eps * found.condition_number[0, end] ** 2


@pytest.mark.parametrize("apart", [3.8e-6, 1e-6, 0.0])
def test_factors_too_near_to_collinear_have_no_coefficients(apart: float) -> None:
    *_, found = nearly_collinear(apart, 1e-16)
    assert (found.condition_number > 1e6).all()
    for name in ("coefficients", "r2", "adj_r2", "residual_variance"):
        assert np.isnan(getattr(found, name)).all(), name
    assert (found.bars == WINDOW).all()


def test_the_penalty_tells_equal_factors_apart() -> None:
    x, y, found = nearly_collinear(0.0, RIDGE)
    assert (found.condition_number < 200).all()
    exact = exact_ridge(x[:, :WINDOW], y[0, :WINDOW], RIDGE).coefficients
    np.testing.assert_allclose(found.coefficients[:, 0, 0], exact, rtol=1e-9)


def test_windows_with_few_bars_have_no_adjusted_r2() -> None:
    x, y = made_up(8)
    found = rolling_ridge(x, y, 0, 4, RIDGE)
    assert np.isfinite(found.r2).all()
    assert np.isnan(found.adj_r2).all()


def test_no_bar_at_all() -> None:
    x, y = made_up(9)
    y[0] = np.nan
    found = rolling_ridge(x, y, 0, 30, RIDGE)
    assert (found.bars[0] == 0).all()
    assert np.isnan(found.coefficients[:, 0]).all()
    with pytest.raises(ValueError, match="90 bars hold no window of 91"):
        rolling_ridge(x, y, 0, 91, RIDGE)


def test_residual_variance_is_that_of_the_residuals() -> None:
    x, y = made_up(10)
    y[0, [10, 33]] = np.nan
    found = rolling_ridge(x, y, 0, 40, RIDGE)
    for coin, end in ((0, 0), (0, 20), (1, 50), (2, 7)):
        bars = np.flatnonzero(~np.isnan(y[coin, end : end + 40])) + end
        constant, *betas = found.coefficients[:, coin, end]
        residuals = y[coin, bars] - constant - np.array(betas) @ x[:, bars]
        expected = (residuals**2).sum() / (bars.size - 1)
        assert found.residual_variance[coin, end] == pytest.approx(expected, rel=1e-9)
        unexplained = (1 - found.r2[coin, end]) * y[coin, bars].var(ddof=1)
        assert found.residual_variance[coin, end] == pytest.approx(unexplained, rel=1e-9)


def test_one_bar_has_no_residual_variance() -> None:
    x, y = made_up(11)
    assert np.isnan(rolling_ridge(x, y, 0, 1, RIDGE).residual_variance).all()
