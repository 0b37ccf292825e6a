"""What is said of a portfolio, by numpy and by hand."""

import numpy as np
import pytest

from gold.portfolio_risk import FactorModel, Holdings, PortfolioRisk, portfolio_risk
from gold.returns import FloatArray

NAN = np.nan
FACTORS = ("market_return", "liquidity_low", "liquidity_high", "liquidity_high_minus_low")
COVARIANCE = np.array(
    [[4.0, 3.0, 5.0, 2.0], [3.0, 4.0, 2.0, -2.0], [5.0, 2.0, 8.0, 6.0], [2.0, -2.0, 6.0, 8.0]]
)
BETAS = np.array([[1.0, 0.5, NAN, NAN], [NAN] * 4, [0.5, -0.5, NAN, NAN]])
WEIGHTS = np.array([0.5, 0.2, 0.3])


def risk(
    betas: FloatArray = BETAS,
    residual: tuple[float, ...] = (1.0, NAN, 2.0),
    moves: tuple[float, ...] = (-0.2, NAN, NAN, NAN),
    covariance: FloatArray = COVARIANCE,
) -> PortfolioRisk:
    model = FactorModel(FACTORS, covariance, np.array(moves), bars_per_year=100.0)
    return portfolio_risk(
        Holdings(("AUSDT", "BUSDT", "CUSDT"), WEIGHTS, betas, np.array(residual)), model
    )


def test_risk_is_that_of_the_holdings_with_exposures_per_year() -> None:
    found = risk()
    assert found.symbols == ("AUSDT", "CUSDT")
    assert found.uncovered == {"BUSDT": 0.2}
    assert found.factors == FACTORS[:2]
    weights, betas = WEIGHTS[[0, 2]], BETAS[[0, 2], :2]
    coins = betas @ COVARIANCE[:2, :2] @ betas.T + np.diag([1.0, 2.0])
    assert found.annual_volatility == pytest.approx(np.sqrt(100 * weights @ coins @ weights))
    assert found.decomposition.exposures == pytest.approx([0.65, 0.1])


@pytest.mark.parametrize("lacking", ["beta", "residual"])
def test_a_holding_that_lacks_a_part_is_uncovered(lacking: str) -> None:
    betas, residual = BETAS.copy(), [1.0, NAN, 2.0]
    if lacking == "beta":
        betas[2, 1] = NAN
    else:
        residual[2] = NAN
    assert risk(betas, tuple(residual)).uncovered == {"BUSDT": 0.2, "CUSDT": 0.3}


@pytest.mark.parametrize("betas", [np.full((3, 4), NAN), BETAS], ids=["no beta", "no residual"])
def test_when_nothing_is_covered_all_is_named_and_no_risk_is_known(betas: FloatArray) -> None:
    found = risk(betas, residual=(NAN,) * 3)
    assert found.uncovered == {"AUSDT": 0.5, "BUSDT": 0.2, "CUSDT": 0.3}
    assert found.symbols == found.factors == ()
    for figure in (found.annual_volatility, found.factor_variance, found.specific_variance):
        assert np.isnan(figure)
    assert np.isnan([found.stress_return, found.conditional_stress_return]).all()


def test_stress_alone_and_with_the_factors_that_go_along() -> None:
    found = risk()
    assert found.stress_return == pytest.approx(0.65 * -0.2)
    along = 3.0 / 4.0 * -0.2
    assert found.conditional_stress_return == pytest.approx(0.65 * -0.2 + 0.1 * along)


@pytest.mark.parametrize("beside", [NAN, 0.05])
def test_what_a_factor_out_of_use_does_alone_is_unknown(beside: float) -> None:
    assert np.isnan(risk(moves=(beside, NAN, -0.1, NAN)).stress_return)
    assert np.isnan(risk(moves=(beside, NAN, NAN, -0.1)).stress_return)


def test_a_factor_out_of_use_still_moves_those_in_use() -> None:
    found = risk(moves=(NAN, NAN, -0.1, NAN))
    market, low = 5.0 / 8.0 * -0.1, 2.0 / 8.0 * -0.1
    assert found.conditional_stress_return == pytest.approx(0.65 * market + 0.1 * low)


def test_without_a_scenario_nothing_moves() -> None:
    found = risk(moves=(NAN,) * 4)
    assert found.stress_return == found.conditional_stress_return == 0.0


def test_risk_is_unknown_where_the_covariance_is() -> None:
    found = risk(covariance=np.full((4, 4), NAN))
    assert np.isnan(found.annual_volatility)
    assert np.isnan(found.conditional_stress_return)
    assert found.stress_return == pytest.approx(0.65 * -0.2)


def test_a_perfect_hedge_has_no_volatility() -> None:
    model = FactorModel(FACTORS[:1], np.array([[0.3]]), np.array([NAN]), 1.0)
    pair = Holdings(("A", "B"), np.array([0.1, -0.3]), np.array([[0.3], [0.1]]), np.zeros(2))
    assert portfolio_risk(pair, model).annual_volatility == pytest.approx(0.0, abs=1e-9)
