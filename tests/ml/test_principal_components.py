import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from ml.principal_components import (
    WindowComponents,
    oriented,
    principal_components,
    window_components,
)
from tests.ml import market

WINDOW = 180
AS_OF = int((market.START + market.BAR * WINDOW).value // 1000)


def returns(seed: int, bars: int = 60, symbols: int = 7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.normal(0, 2, symbols))
    return rng.normal(0, 0.01, (bars, symbols)) * scale + rng.normal(0, 0.01, (bars, 1))


@given(seed=st.integers(0, 10_000), standardise=st.booleans())
@settings(deadline=None, max_examples=50)
def test_components_match_sklearn(seed: int, standardise: bool) -> None:
    matrix = returns(seed)
    found = principal_components(matrix, 4, standardise=standardise)
    assert found is not None
    reference = PCA(4).fit(StandardScaler().fit_transform(matrix) if standardise else matrix)
    expected = reference.explained_variance_ratio_
    np.testing.assert_allclose(found.explained, expected, rtol=1e-9, atol=1e-12)
    signs = np.sign(np.sum(found.loadings * reference.components_, axis=1))
    np.testing.assert_allclose(found.loadings, signs[:, None] * reference.components_, atol=1e-6)


@pytest.mark.parametrize("standardise", [False, True])
def test_a_symbol_that_never_moves_has_no_loading(standardise: bool) -> None:
    matrix = returns(1)
    matrix[:, 2] = 0.1  # its mean is not 0.1 to the last bit
    found = principal_components(matrix, 3, standardise=standardise)
    without = principal_components(np.delete(matrix, 2, axis=1), 3, standardise=standardise)
    assert found is not None
    assert without is not None
    np.testing.assert_allclose(found.loadings[:, 2], 0, atol=1e-12)
    np.testing.assert_allclose(found.explained, without.explained, rtol=1e-12)


def test_nothing_moves() -> None:
    assert principal_components(np.full((20, 3), 0.1), 2, standardise=False) is None


def test_a_component_goes_up_when_its_symbols_do() -> None:
    loadings = np.array([[-0.8, -0.6], [0.6, -0.8], [0.8, 0.6]])
    assert oriented(loadings).tolist() == [[0.8, 0.6], [-0.6, 0.8], [0.8, 0.6]]


def window(candles: pd.DataFrame, components: int = 3, coverage: float = 0.9) -> WindowComponents:
    opens = candles["open_time"]
    inside = candles[opens < market.START + market.BAR * WINDOW]
    micros = inside["open_time"].astype("int64") // 1000
    table = pa.Table.from_pandas(inside.assign(open_us=micros).sample(frac=1, random_state=1))
    return window_components(
        AS_OF,
        table,
        window_bars=WINDOW,
        min_coverage=coverage,
        components=components,
        standardise=False,
    )


def test_a_window_holds_the_symbols_that_it_covers() -> None:
    # E lacks 20 bars of the 180, C the first 100.
    whole = tuple(name for name in market.SYMBOLS if name not in (market.LATE, market.BROKEN))
    assert window(market.closes()).symbols == whole
    found = window(market.closes(), coverage=0.85)
    assert found.symbols == tuple(sorted({*whole, market.BROKEN}))
    # Both closes of a return lie inside.
    assert found.bars == WINDOW - 1
    covered = market.closes().query("symbol != @market.LATE")
    until = covered[covered["open_time"] < market.START + market.BAR * WINDOW]
    matrix = market.returns_matrix(until)
    assert found.found is not None
    np.testing.assert_allclose(
        found.found.explained, PCA(3).fit(matrix).explained_variance_ratio_, rtol=1e-9
    )
    correlated = PCA(3).fit(StandardScaler().fit_transform(matrix))
    np.testing.assert_allclose(found.integration, correlated.explained_variance_ratio_, rtol=1e-9)


def test_volatile_newcomers_do_not_undo_the_integration_of_the_market() -> None:
    # Two thirds of the symbols move as one; the others on their own, and ten times as much.
    rng = np.random.default_rng(1)
    common = rng.normal(0, 0.01, WINDOW)
    moves = [common + rng.normal(0, 0.002, WINDOW) for _ in range(6)]
    moves += [rng.normal(0, 0.1, WINDOW) for _ in range(3)]
    opens = market.START + market.BAR * np.arange(WINDOW)
    frames = [
        pd.DataFrame({"symbol": f"S{n}", "open_time": opens, "close": np.exp(np.cumsum(r))})
        for n, r in enumerate(moves)
    ]
    found = window(pd.concat(frames).assign(segment=1), components=1)
    assert found.found is not None
    assert found.found.explained[0] < 0.5 < found.integration[0] < 0.8


def test_a_window_that_the_data_fill_by_half_covers_no_symbol() -> None:
    half = market.closes()
    half = half[half["open_time"] >= market.START + market.BAR * (WINDOW // 2)]
    assert window(half).symbols == ()


def test_a_window_of_too_few_symbols_is_passed_over_with_its_reason() -> None:
    found = window(market.closes(), components=8)
    assert found.found is None
    assert found.skipped == "6 symbols over 179 bars are too few for 8 components"
    nobody = window(market.closes(), coverage=2.0)
    assert nobody.skipped == "0 symbols over 0 bars are too few for 3 components"


def test_a_window_in_which_nothing_moves_is_passed_over() -> None:
    assert window(market.closes().assign(close=5.0)).skipped == "no close ever changes"
