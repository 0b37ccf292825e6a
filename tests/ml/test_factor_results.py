"""The factor model as it is read from small tables, beside pandas."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gold.factor_contracts import FACTOR_BUCKETS
from gold.factor_names import LONG_SHORT_FACTORS, MARKET_RETURN, beta_name
from gold.risk_contracts import (
    FACTOR_CORRELATIONS,
    FACTOR_STATISTICS,
    PORTFOLIO_RISK,
    RISK_CONTRIBUTIONS,
)
from gold.tasks import factor_risk
from lakehouse.contracts import TableContract
from lakehouse.runs import TaskRun, record
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from ml import factor_results
from ml.factor_results import load_factor_results
from ml.factor_section import factor_section
from ml.report import exports
from ml.report_data import load_report_data
from ml.report_page import render
from silver.contracts import LISTINGS
from tests.gold.made_up_factors import (
    COINS,
    DAY,
    MARKET,
    START,
    USED,
    exposures,
    factor_returns,
    factor_settings,
    write_index,
    write_listings,
    write_market,
)
from tests.pipelines import changed_settings, interpreted, run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAYS = 4
AS_OF = START + DAYS * DAY
STAMP: dict[str, Any] = {
    "market": MARKET,
    "interval": "1h",
    "buckets": "trailing",
    "run_id": "run-1",
    "read_versions": {},
}
RISK: dict[str, Any] = {
    "portfolio": "all_coins",
    "weights_interval": "1h",
    "bars": 30,
    "covered_weight": 1.0,
    "uncovered": {"GONEUSDT": 0.1},
    "annual_volatility": 0.5,
    "factor_variance": 0.2,
    "specific_variance": 0.05,
    "stress": {"market_return": -0.2},
    "stress_return": -0.1,
    "conditional_stress_return": None,
}


def put(lake: Lake, contract: TableContract, *given: dict[str, Any]) -> None:
    """Add rows, but for what they have in common."""
    times = {"as_of", "weights_as_of"}
    rows = [
        {name: value.to_pydatetime() if name in times else value for name, value in row.items()}
        for row in given
    ]
    lake.append(contract, lake.frame(contract, [{**STAMP, **row} for row in rows]))


@pytest.fixture(scope="module")
def settings(base_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    warehouse = str(tmp_path_factory.mktemp("factors") / "lake")
    return factor_settings(base_settings.model_copy(update={"warehouse": warehouse}))


@pytest.fixture(scope="module")
def lake(spark: SparkSession, settings: Settings) -> Lake:
    found = Lake(spark, settings.warehouse)
    dates = [AS_OF - DAY, AS_OF]
    statistic = {"factor": "market_return", "bars": 96, "newey_west_lags": 3}
    unknown = ("annual_return", "annual_volatility", "sharpe", "newey_west_t", "monotonicity")
    part = {"portfolio": "all_coins", "weights_interval": "1h", "exposure": 0.5}
    variance = {"factor_variance": 0.1, "specific_variance": 0.0}
    sorted_by = {"lookback_days": 30, "factor": "liquidity", "bucket": "low"}
    with interpreted(spark):
        write_market(spark, found, range(DAYS), "run-1")
        put(
            found,
            FACTOR_BUCKETS,
            *(
                {**sorted_by, "as_of": as_of, "symbol": symbol, "value": value}
                for as_of, values in zip(dates, ((9, 9, 9, 9), (1, 3, 3, 2)), strict=True)
                for symbol, value in zip(COINS, map(float, values), strict=True)
            ),
        )
        put(
            found,
            FACTOR_STATISTICS,
            *({**dict.fromkeys(unknown), **statistic, "as_of": as_of} for as_of in dates),
        )
        pair = {"factor_a": "liquidity_low", "factor_b": "market_return", "rho": 0.5}
        put(found, FACTOR_CORRELATIONS, *({**pair, "as_of": as_of} for as_of in dates))
        put(found, PORTFOLIO_RISK, *({**RISK, "as_of": d, "weights_as_of": d} for d in dates))
        put(
            found,
            RISK_CONTRIBUTIONS,
            *(
                {**part, **variance, "as_of": as_of, "component": component, "name": component}
                for as_of in dates
                for component in ("factor", "holding")
            ),
        )
    return found


def test_series_are_thinned_and_small_tables_read_at_their_newest_date(
    spark: SparkSession, settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factor_results, "MOST_TIMES", 20)
    monkeypatch.setattr(factor_results, "LIQUID_COINS", 2)
    with interpreted(spark):
        found = load_factor_results(lake, settings)
    assert found is not None
    assert (found.first, found.as_of, found.buckets) == (START, AS_OF, "trailing")
    returns = factor_returns(DAYS).set_index("open_time")[list(USED)].astype(float)
    assert found.begin == START + DAY  # the first day has no buckets, and the market waits for them
    growth = np.log1p(returns[found.begin :]).resample("4h").sum(min_count=1)
    growth.index += pd.Timedelta("3h")  # the open of the last bar of each four
    shown = found.growth.set_index("time")
    pd.testing.assert_frame_equal(
        shown[list(USED)], growth, check_freq=False, check_names=False, check_index_type=False
    )
    # The two coins with the highest value at the newest date, ties by name.
    assert found.exposures["symbol"].unique().tolist() == ["BUSDT", "CUSDT"]
    every = exposures(DAYS).sort_values("open_time")
    mine = every[every["symbol"] == "BUSDT"].set_index("open_time")
    betas = [beta_name(factor) for factor in USED]
    of_coin = found.exposures[found.exposures["symbol"] == "BUSDT"].set_index("time")
    # Each point is a bar, and has the exposures of that very bar: none of a later one.
    assert of_coin.index.tolist() == mine.index[3::4].tolist()
    of_bars = mine.loc[of_coin.index, [*betas, "r2"]]
    np.testing.assert_array_equal(of_coin[[*betas, "r2"]].to_numpy(), of_bars.to_numpy())
    assert found.statistics["as_of"].tolist() == [AS_OF]
    assert found.correlations["rho"].tolist() == [0.5]
    assert found.risk["as_of"].tolist() == [AS_OF - DAY, AS_OF]
    assert found.risk["uncovered"].tolist() == [{"GONEUSDT": 0.1}] * 2
    parts = found.contributions[["as_of", "component"]].to_records(index=False).tolist()
    assert [component for _, component in parts] == ["factor", "factor", "holding"]


def test_the_settings_name_the_coins(spark: SparkSession, settings: Settings, lake: Lake) -> None:
    chosen = changed_settings(settings, report={"symbols": ("AUSDT", "NOSUCHUSDT")})
    with interpreted(spark):
        found = load_factor_results(lake, chosen)
    assert found is not None
    assert found.exposures["symbol"].unique().tolist() == ["AUSDT"]


def test_a_report_of_the_model_alone(spark: SparkSession, settings: Settings, lake: Lake) -> None:
    """The settings' own candles were never loaded; those of the model were, by its job."""
    of_job = settings.with_candles_of("factors")
    at = START.to_pydatetime()
    runs = [
        TaskRun(
            run_id=f"{task}-{candles.archive.interval}",
            job="factor_model",
            task=task,
            status="succeeded",
            started_at=at,
            ended_at=at,
            message="",
            figures={},
            rows_in=None,
            rows_out=None,
            read_versions={},
            written_versions={},
            market=MARKET,
            interval=candles.archive.interval,
            settings="{}",
            settings_digest="d",
            code_version="c",
        )
        for task, candles in (
            *(("clean_candles", of_job), ("clean_candles", settings)),
            *(("factor_returns", of_job), ("factor_risk", of_job)),
        )
    ]
    with interpreted(spark):
        known = {"first_open_time": at, "last_open_time": at, "bars": 96, "filled_bars": 2}
        listing = {"market": MARKET, "symbol": "AUSDT", "status": "trading", **known}
        listings = [{**listing, "interval": interval} for interval in ("1h", "4h")]
        lake.append(LISTINGS, lake.frame(LISTINGS, listings))
        record(spark, settings, *runs)
        data = load_report_data(Lake(spark, settings.warehouse), settings)
    assert (data.market, data.interval, data.as_of) == (MARKET, "1h", AS_OF)
    assert data.factors is not None
    assert data.listings["interval"].tolist() == ["1h"]
    tasks = ["clean_candles", "factor_returns", "factor_risk"]
    assert data.runs["run_id"].tolist() == [f"{task}-1h" for task in tasks]
    assert all(frame.empty for frame in (data.metrics, data.weights, data.clusters, data.files))
    html = render(data)
    assert [line for line in html.splitlines() if line.startswith("<h2>")] == [
        "<h2>Factor model</h2>",
        "<h2>Data quality</h2>",
        "<h2>Provenance</h2>",
    ]
    assert "1h candles</h1>" in html
    assert html.count("candlelake run medallion") == 2  # one line, and the record of source files
    assert set(exports(data)) >= {"factor_statistics.csv", "portfolio_risk.csv"}


def test_a_long_short_model_through_risk_and_report(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    chosen = changed_settings(
        settings.model_copy(update={"warehouse": str(tmp_path / "lake")}),
        factors={"portfolios": "long_short"},
        report={"symbols": COINS},
    )
    spreads = (MARKET_RETURN, *LONG_SHORT_FACTORS)
    found = Lake(spark, chosen.warehouse)
    with interpreted(spark):
        write_listings(found)
        write_index(spark, found)
        write_market(spark, found, range(DAYS), "run-1", spreads)
        run(spark, chosen, "run-1", factor_risk)
        results = load_factor_results(found, chosen)
    assert results is not None
    returns = factor_returns(DAYS).set_index("open_time")[list(spreads)].astype(float)
    rho = results.correlations.set_index(["factor_a", "factor_b"])["rho"]
    expected = returns.dropna().corr()
    for pair in combinations(sorted(spreads), 2):
        assert rho[pair] == pytest.approx(expected.loc[pair], rel=1e-9)
    growth = results.growth.set_index("time")
    assert results.begin == START + DAY
    assert set(growth) == {*spreads}
    whole = np.log1p(returns[results.begin :]).sum()
    pd.testing.assert_series_equal(growth.sum()[whole.index], whole, rtol=1e-9)
    factors = results.contributions[results.contributions["component"] == "factor"]
    assert {*factors["name"]} == {*spreads}
    section = factor_section(results)
    assert section.long_short
    assert set(section.images) == {"growth", "correlations", "exposures", "r2"}


def test_without_the_model_there_is_nothing(spark: SparkSession, settings: Settings) -> None:
    elsewhere = Lake(spark, f"{settings.warehouse}-none")
    assert load_factor_results(elsewhere, settings) is None
