import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from ml.held_out_variance import explained_later, held_out_variance
from tests.ml import market


def share(matrix: np.ndarray, components: int, *, standardise: bool = False) -> float:
    fitted = len(matrix) * 4 // 5
    return explained_later(matrix[:fitted], matrix[fitted:], components, standardise=standardise)


def by_sklearn(matrix: np.ndarray, components: int) -> float:
    fitted = len(matrix) * 4 // 5
    first, last = matrix[:fitted], matrix[fitted:]
    pca = PCA(components).fit(first)
    residual = last - pca.inverse_transform(pca.transform(last))
    return float(1 - np.sum(residual**2) / np.sum((last - first.mean(axis=0)) ** 2))


def as_table(candles: pd.DataFrame) -> pa.Table:
    micros = candles["open_time"].astype("int64") // 1000
    return pa.Table.from_pandas(candles.assign(open_us=micros).sample(frac=1, random_state=1))


def of_market(candles: pd.DataFrame, *, standardise: bool = False, components: int = 3) -> float:
    return held_out_variance(
        as_table(candles), components=components, min_coverage=0.9, standardise=standardise
    )


@given(seed=st.integers(0, 1_000), components=st.integers(1, 6), standardise=st.booleans())
@settings(deadline=None, max_examples=30)
def test_it_is_the_variance_that_sklearns_components_reach(
    seed: int, components: int, standardise: bool
) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(100, 6)) * rng.uniform(0.1, 3, 6) + rng.normal(size=(100, 1))
    matrix[80:] *= rng.uniform(0.1, 10, 6)  # which the first bars cannot know
    scale = matrix[:80].std(axis=0, ddof=1) if standardise else 1
    found = share(matrix, components, standardise=standardise)
    assert found == pytest.approx(by_sklearn(matrix / scale, components), abs=1e-9)


@pytest.mark.parametrize("standardise", [False, True])
def test_only_symbols_that_the_first_bars_cover_count(standardise: bool) -> None:
    # C starts late, E lacks 40 of the 287 bars.
    candles = market.closes()
    covered = candles[~candles["symbol"].isin([market.LATE, market.BROKEN])]
    matrix = market.returns_matrix(covered)
    scale = matrix[: len(matrix) * 4 // 5].std(axis=0, ddof=1) if standardise else 1
    expected = by_sklearn(matrix / scale, 3)
    assert of_market(candles, standardise=standardise) == pytest.approx(expected, abs=1e-9)
    # Coins listed in the last fifth, wild as they may be, change nothing.
    rng = np.random.default_rng(1)
    late = candles.query("symbol == 'AUSDT'").tail(60)
    noise = np.exp(np.cumsum(rng.normal(0, 0.3, (3, 60)), axis=1))
    new = [late.assign(symbol=f"NEW{n}", close=close) for n, close in enumerate(noise)]
    with_new = of_market(pd.concat([candles, *new]), standardise=standardise)
    assert with_new == pytest.approx(expected, abs=1e-9)


def test_fewer_covered_symbols_than_components_have_none() -> None:
    assert np.isfinite(of_market(market.closes(), components=6))
    assert np.isnan(of_market(market.closes(), components=7))
    assert np.isnan(of_market(market.closes().head(1)))


def test_a_market_that_changes_its_direction_shows_how_little_was_learnt() -> None:
    rng = np.random.default_rng(0)
    before = np.column_stack([rng.normal(size=80), np.zeros(80)])
    after = np.column_stack([np.zeros(20), rng.normal(size=20)])
    assert share(np.vstack([before, after]), 1) < 0.05


def test_bars_without_variance_have_none() -> None:
    assert np.isnan(share(np.zeros((50, 3)), 1))
    assert np.isnan(share(np.zeros((50, 3)), 1, standardise=True))
    assert share(np.random.default_rng(1).normal(size=(50, 1)), 1) == pytest.approx(1)


def test_standardised_returns_do_not_know_their_scale() -> None:
    matrix = np.random.default_rng(2).normal(size=(60, 4)) + np.linspace(0, 1, 60)[:, None]
    scaled = np.column_stack([matrix * [1, 10, 100, 1000], np.zeros(60)])
    one, other = (share(each, 2, standardise=True) for each in (matrix, scaled))
    assert other == pytest.approx(one)
    assert share(scaled, 2) != pytest.approx(one)
