"""The risk tables beside pandas and plain numpy, day by day, and the command beside the tables."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gold.factor_names import MARKET_RETURN, beta_name
from gold.risk_at import Measured, measure, measure_days
from gold.risk_contracts import (
    FACTOR_CORRELATIONS,
    FACTOR_STATISTICS,
    PORTFOLIO_RISK,
    RISK_CONTRIBUTIONS,
    TABLES,
)
from gold.risk_rows import FACTORS
from gold.tasks import factor_risk
from lakehouse.errors import PortfolioError, TableError
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from tests.gold import made_up_factors as made_up
from tests.gold.made_up_factors import DAY, HOUR, START, USED, WEIGHTS, WINDOW, YEAR
from tests.pipelines import interpreted, rows, run, versions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAYS = 5


@pytest.fixture(scope="module")
def settings(base_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    warehouse = str(tmp_path_factory.mktemp("risk") / "lake")
    return made_up.factor_settings(base_settings.model_copy(update={"warehouse": warehouse}))


@pytest.fixture(scope="module")
def lake(spark: SparkSession, settings: Settings) -> Lake:
    """Four days, the risk of them, a fifth day and the risk again."""
    found = Lake(spark, settings.warehouse)
    with interpreted(spark):
        made_up.write_listings(found)
        made_up.write_index(spark, found)
        made_up.write_market(spark, found, range(4), "run-1")
        run(spark, settings, "run-1", factor_risk)
        made_up.write_market(spark, found, [4], "run-2")
        run(spark, settings, "run-2", factor_risk)
    return found


def held(as_of: pd.Timestamp) -> dict[str, float]:
    """Weights of the index at a time, looked up by pandas."""
    dates = pd.Series(list(WEIGHTS), index=list(WEIGHTS))
    return WEIGHTS[dates[:as_of].iloc[-1]]


def expected(as_of: pd.Timestamp, weights: dict[str, float]) -> dict[str, Any]:
    """Risk in matrix form; weights of coins that have exposures at the bar that closes then."""
    exposures = made_up.exposures(DAYS)
    at = exposures[exposures["open_time"] == as_of - HOUR].set_index("symbol")
    covered = sorted(set(weights) & set(at.index))
    weight = np.array([weights[symbol] for symbol in covered])
    betas = at.loc[covered, [beta_name(name) for name in USED]].to_numpy()
    returns = made_up.factor_returns(DAYS).set_index("open_time")
    inside = (returns.index < as_of) & (returns.index >= as_of - WINDOW * HOUR)
    window = returns.loc[inside, list(USED)].dropna()
    covariance = window.cov().to_numpy() * YEAR
    specific = weight**2 * at.loc[covered, "residual_variance"].to_numpy() * YEAR
    exposure = betas.T @ weight
    along = covariance[:, 0] / covariance[0, 0] * -0.2
    return {
        "bars": len(window),
        "covered_weight": weight.sum(),
        "uncovered": {symbol: weights[symbol] for symbol in weights if symbol not in covered},
        "factor_variance": exposure @ covariance @ exposure,
        "specific_variance": specific.sum(),
        "stress_return": exposure[0] * -0.2,
        "conditional_stress_return": exposure @ along,
        "by_factor": dict(zip(USED, exposure * (covariance @ exposure), strict=True)),
        "exposures": dict(zip(USED, exposure, strict=True)),
        "by_holding": dict(zip(covered, weight * (betas @ covariance @ exposure), strict=True)),
        "specific": dict(zip(covered, specific, strict=True)),
    }


def test_risk_of_every_portfolio_at_the_end_of_every_day(lake: Lake) -> None:
    found = {
        (row["portfolio"], pd.Timestamp(row["as_of"])): row for row in rows(lake, PORTFOLIO_RISK)
    }
    ends = [START + day * DAY for day in range(1, DAYS + 1)]
    # From February 3 on the index holds nobody; no coin has exposures in the first two days.
    of_index = [end for end in ends if held(end)]
    assert set(found) == {(made_up.INDEX, end) for end in of_index} | {
        ("all_coins", end) for end in ends[2:]
    }
    for (portfolio, as_of), row in found.items():
        coins = made_up.COINS if as_of < START + 3.5 * DAY else made_up.COINS[:3]
        weights = dict.fromkeys(coins, 1 / len(coins))
        if portfolio == made_up.INDEX:
            weights = held(as_of)
            assert row["weights_interval"] == "4h"
        if as_of in ends[:2]:
            # The market alone has returns on the first day, whose bars the second one's lack.
            assert row["bars"] == 24
            assert row["annual_volatility"] is row["conditional_stress_return"] is None
            assert dict(row["uncovered"]) == weights
            assert row["covered_weight"] == 0.0
            continue
        figures = expected(as_of, weights)
        for name in ("bars", "covered_weight", "factor_variance", "specific_variance"):
            assert row[name] == pytest.approx(figures[name], rel=1e-9), name
        for name in ("stress_return", "conditional_stress_return"):
            assert row[name] == pytest.approx(figures[name], rel=1e-9, abs=1e-12), name
        assert dict(row["uncovered"]) == figures["uncovered"]
        assert row["annual_volatility"] ** 2 == pytest.approx(
            figures["factor_variance"] + figures["specific_variance"], rel=1e-9
        )
        assert dict(row["stress"]) == {MARKET_RETURN: -0.2}


def test_contributions_name_factors_and_holdings_and_sum_to_the_risk(lake: Lake) -> None:
    frame = pd.DataFrame(rows(lake, RISK_CONTRIBUTIONS))
    risk = pd.DataFrame(rows(lake, PORTFOLIO_RISK)).set_index(["portfolio", "as_of"])
    assert len(frame.groupby(["portfolio", "as_of"])) == 4
    for (portfolio, as_of), part in frame.groupby(["portfolio", "as_of"]):
        whole = risk.loc[(portfolio, as_of)]
        for component, of_one in part.groupby("component"):
            assert of_one["factor_variance"].sum() == pytest.approx(
                whole["factor_variance"], rel=1e-12
            ), component
        holdings = part[part["component"] == "holding"]
        assert holdings["specific_variance"].sum() == pytest.approx(
            whole["specific_variance"], rel=1e-12
        )
    as_of = START + 3 * DAY
    mine = frame[(frame["portfolio"] == made_up.INDEX) & (frame["as_of"] == as_of)]
    figures = expected(as_of, held(as_of))
    by_name = mine.set_index("name")
    for name, value in {**figures["by_factor"], **figures["by_holding"]}.items():
        assert by_name.loc[name, "factor_variance"] == pytest.approx(value, rel=1e-9, abs=1e-12)
    for name, value in {**figures["exposures"], **held(as_of)}.items():
        assert by_name.loc[name, "exposure"] == pytest.approx(value, rel=1e-9), name
    for name, value in figures["specific"].items():
        assert by_name.loc[name, "specific_variance"] == pytest.approx(value, rel=1e-9)


def test_a_new_day_costs_a_day_and_changes_no_other(lake: Lake) -> None:
    runs = {row["as_of"]: row["run_id"] for row in rows(lake, PORTFOLIO_RISK)}
    assert {pd.Timestamp(at): name for at, name in runs.items()} == {
        **{START + day * DAY: "run-1" for day in range(1, 5)},
        START + 5 * DAY: "run-2",
    }


def test_statistics_are_those_of_all_history_and_no_other(lake: Lake) -> None:
    frame = pd.DataFrame(rows(lake, FACTOR_STATISTICS)).set_index(["as_of", "factor"])
    assert set(frame.index.levels[0]) == {START + 5 * DAY}
    newest = frame.loc[START + 5 * DAY]
    returns = made_up.factor_returns(DAYS)
    assert set(newest.index) == {*USED} | {
        name for name in returns if str(name).endswith("_high_minus_low")
    }
    for factor, row in newest.iterrows():
        series = returns[factor].dropna()
        assert row["bars"] == len(series)
        assert row["annual_return"] == pytest.approx(series.mean() * YEAR, rel=1e-9)
        assert row["annual_volatility"] == pytest.approx(series.std() * YEAR**0.5, rel=1e-9)
    assert newest["monotonicity"].notna().sum() == 3
    pairs = pd.DataFrame(rows(lake, FACTOR_CORRELATIONS))
    assert set(pairs["as_of"]) == {START + 5 * DAY}
    rho = pairs.set_index(["factor_a", "factor_b"])["rho"]
    complete = returns[list(FACTORS)].dropna().corr()
    assert len(rho) == 13 * 12 / 2
    for (first, second), value in rho.items():
        assert value == pytest.approx(complete.loc[first, second], rel=1e-9)


def test_nothing_new_writes_nothing(spark: SparkSession, settings: Settings, lake: Lake) -> None:
    before = versions(lake, TABLES)
    outcome = run(spark, settings, "run-3", factor_risk)["factor_risk"]
    assert outcome.status == "unchanged"
    assert versions(lake, TABLES) == before


def asked(
    spark: SparkSession,
    settings: Settings,
    portfolio: str | dict[str, float] | None,
    day: int | None,
) -> Measured:
    at = None if day is None else (START + day * DAY).date()
    with interpreted(spark):
        return measure(spark, settings, portfolio, at)


def test_what_a_person_asks_for_is_what_the_tables_say(
    spark: SparkSession, settings: Settings, lake: Lake
) -> None:
    table = {
        (row["portfolio"], pd.Timestamp(row["as_of"])): row for row in rows(lake, PORTFOLIO_RISK)
    }
    for portfolio, day, name in ((made_up.INDEX, 2, made_up.INDEX), (None, None, "all_coins")):
        found = asked(spark, settings, portfolio, day)
        row = table[name, pd.Timestamp(found.as_of)]
        assert found.risk.annual_volatility == row["annual_volatility"]
        assert found.risk.conditional_stress_return == row["conditional_stress_return"]
        assert found.bars == row["bars"]
        assert pd.Timestamp(found.weights_as_of) == pd.Timestamp(row["weights_as_of"])


def test_a_portfolio_of_ones_own_names_what_has_no_exposures(
    spark: SparkSession, settings: Settings, lake: Lake
) -> None:
    weights = {"GONEUSDT": 0.1, "BUSDT": -0.5, "AUSDT": 1.2}
    found = asked(spark, settings, weights, 3)
    figures = expected(START + 4 * DAY, weights)
    assert found.risk.uncovered == {"GONEUSDT": 0.1}
    assert found.risk.symbols == ("AUSDT", "BUSDT")
    variance = figures["factor_variance"] + figures["specific_variance"]
    assert found.risk.decomposition.variance == pytest.approx(variance, rel=1e-9)


def test_a_series_of_days_is_each_of_them_measured(
    spark: SparkSession, settings: Settings, lake: Lake
) -> None:
    weights = {"GONEUSDT": 0.1, "BUSDT": -0.5, "AUSDT": 1.2}
    first = (START + 3 * DAY).date()
    with interpreted(spark):
        mine = measure_days(spark, settings, weights, first, None)
        of_index = measure_days(spark, settings, made_up.INDEX, None, first)
        with pytest.raises(PortfolioError, match=r"no exposures .* from 2027-01-01 on"):
            measure_days(spark, settings, weights, date(2027, 1, 1), None)
    assert mine.stress == {MARKET_RETURN: -0.2}
    assert [row["as_of"] for row in mine.risk] == [START + 4 * DAY, START + 5 * DAY]
    for row in mine.risk:
        figures = expected(row["as_of"], weights)
        for name in ("factor_variance", "specific_variance", "stress_return"):
            assert row[name] == pytest.approx(figures[name], rel=1e-9), name
        parts = [each for each in mine.factors if each["as_of"] == row["as_of"]]
        assert {each["name"]: each["exposure"] for each in parts} == pytest.approx(
            figures["exposures"], rel=1e-9
        )
        assert {each["name"]: each["factor_variance"] for each in parts} == pytest.approx(
            figures["by_factor"], rel=1e-9, abs=1e-12
        )
    # It held nobody on the other days; those of the tables are the same bits.
    (row,) = of_index.risk
    (same,) = (
        each
        for each in rows(lake, PORTFOLIO_RISK)
        if (each["portfolio"], each["as_of"]) == (made_up.INDEX, START + 3 * DAY)
    )
    assert row == {name: same[name] for name in row}


@pytest.mark.parametrize(
    ("portfolio", "day", "words"),
    [
        ({"AUSD": 1.0}, None, "no such symbol in the um candles of this warehouse: AUSD .*AUSDT"),
        ("smart_weekly", None, "no index 'smart_weekly'.*all_coins, smart_monthly"),
        (made_up.INDEX, 4, "held nothing then"),
        (None, 0, "no exposures of 1h candles of market um on 2026-01-30"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    spark: SparkSession,
    settings: Settings,
    lake: Lake,
    portfolio: str | dict[str, float] | None,
    day: int | None,
    words: str,
) -> None:
    with pytest.raises(PortfolioError, match=words):
        asked(spark, settings, portfolio, day)


def test_a_warehouse_without_exposures_says_what_to_run(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    elsewhere = settings.model_copy(update={"warehouse": str(tmp_path / "lake")})
    with pytest.raises(TableError, match="candlelake run factor_model"):
        measure(spark, elsewhere, None, None)
