"""The gold contracts: their columns, and what their CHECK constraints let through."""

import sqlite3
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest

from gold.contracts import (
    ASSET_METRICS,
    CORRELATIONS,
    INDEX_DECISIONS,
    INDEX_LEVELS,
    INDEX_RANDOM_LEVELS,
    INDEX_STATISTICS,
    INDEX_WEIGHTS,
)
from gold.factor_contracts import FACTOR_BUCKETS, FACTOR_EXPOSURES, FACTOR_RETURNS
from gold.index_tables import Statistic
from gold.metrics import AssetMetrics
from gold.risk_contracts import (
    FACTOR_CORRELATIONS,
    FACTOR_STATISTICS,
    PORTFOLIO_RISK,
    RISK_CONTRIBUTIONS,
)
from gold.smart_index import Decision, Holding
from lakehouse.contracts import TableContract

CONTRACTS = [
    *(ASSET_METRICS, CORRELATIONS, INDEX_WEIGHTS, INDEX_DECISIONS),
    *(INDEX_LEVELS, INDEX_RANDOM_LEVELS, INDEX_STATISTICS),
    *(FACTOR_BUCKETS, FACTOR_RETURNS, FACTOR_EXPOSURES),
    *(FACTOR_STATISTICS, FACTOR_CORRELATIONS, PORTFOLIO_RISK, RISK_CONTRIBUTIONS),
]
BY_TABLE = pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)

Row = dict[str, object]
AT: Row = {"market": "um", "interval": "4h", "as_of": "2025-02-01", "run_id": "r1"}
METRICS: Row = {
    **AT,
    "lookback_days": 90,
    "symbol": "BTCUSDT",
    "bars": 540,
    "returns": 539,
    "annual_return": -0.4,
    "annual_volatility": 0.8,
    "sharpe": -0.5,
    "max_drawdown": -0.3,
    "median_daily_quote_volume": 1e9,
}
PAIR: Row = {
    **AT,
    "lookback_days": None,
    "symbol_a": "BTCUSDT",
    "symbol_b": "ETHUSDT",
    "rho": 0.8,
}
WEIGHT: Row = {
    **AT,
    "index_name": "smart_static",
    "symbol": "BTCUSDT",
    "weight": 1.0,
    "rank": 1,
    "sharpe": -0.5,
    "annual_volatility": 0.8,
}
DECISION: Row = {
    **AT,
    "index_name": "smart_static",
    "symbol": "BTCUSDT",
    "decision": "selected",
    "rule": "rank",
    "detail": "rank 1 of 1",
}
for index_row in (WEIGHT, DECISION):
    index_row["read_versions"] = "{}"
WALKED: Row = {
    **{name: value for name, value in AT.items() if name != "as_of"},
    "rulebook": "smart_monthly",
    "read_versions": "{}",
}
LEVEL: Row = {
    **WALKED,
    "index_name": "equal_weight",
    "open_time": "2025-02-01",
    "level": 990.0,
    "period_return": -0.01,
    "cost": 0.001,
    "turnover": 1.0,
    "drawdown": -0.01,
    "sold": None,
}
BAND: Row = {
    **WALKED,
    "open_time": "2025-02-01",
    **dict.fromkeys(("p05", "p25", "p50", "p75", "p95"), 1000.0),
}
STATISTIC: Row = {
    **WALKED,
    "index_name": "smart_monthly",
    "statistic": "sharpe",
    "value": 1.0,
    "at": None,
}
BUCKET: Row = {
    **AT,
    "lookback_days": 30,
    "factor": "liquidity",
    "symbol": "BTCUSDT",
    "value": 1_000.0,
    "bucket": "high",
}
BAR: Row = {
    **{name: value for name, value in AT.items() if name != "as_of"},
    "open_time": "2025-02-01",
    "month": "2025-02",
    "buckets": "trailing",
}
FACTOR_RETURN: Row = {
    **{c.name: 0.001 for c in FACTOR_RETURNS.columns if c.type == "DOUBLE"},
    **BAR,
    "coins": 7,
}
EXPOSURE: Row = {
    **{c.name: 0.5 for c in FACTOR_EXPOSURES.columns if c.type == "DOUBLE"},
    **BAR,
    "symbol": "BTCUSDT",
    "condition_number": 300.0,
    "bars": 1440,
}
OF_FACTORS: Row = {**AT, "buckets": "trailing", "read_versions": "{}"}
FACTOR_STATISTIC: Row = {
    **OF_FACTORS,
    "factor": "market_return",
    "bars": 1440,
    "annual_return": -0.4,
    "annual_volatility": 0.8,
    "sharpe": -0.5,
    "newey_west_t": -1.2,
    "newey_west_lags": 7,
    "monotonicity": None,
}
FACTOR_PAIR: Row = {
    **OF_FACTORS,
    "factor_a": "liquidity_low",
    "factor_b": "market_return",
    "rho": 0.8,
}
PORTFOLIO: Row = {**OF_FACTORS, "portfolio": "smart_monthly", "weights_interval": "4h"}
RISK: Row = {
    **PORTFOLIO,
    "weights_as_of": "2025-02-01",
    "bars": 1440,
    "covered_weight": 0.9,
    "uncovered": "{}",
    "annual_volatility": 0.5,
    "factor_variance": 0.2,
    "specific_variance": 0.05,
    "stress": "{}",
    "stress_return": -0.1,
    "conditional_stress_return": -0.2,
}
CONTRIBUTION: Row = {
    **PORTFOLIO,
    "component": "holding",
    "name": "BTCUSDT",
    "exposure": -0.5,
    "factor_variance": -0.1,
    "specific_variance": 0.0,
}
GOOD = {
    "factor_statistics": FACTOR_STATISTIC,
    "factor_correlations": FACTOR_PAIR,
    "portfolio_risk": RISK,
    "risk_contributions": CONTRIBUTION,
    "factor_buckets": BUCKET,
    "factor_returns": FACTOR_RETURN,
    "factor_exposures": EXPOSURE,
    "index_levels": LEVEL,
    "index_random_levels": BAND,
    "index_statistics": STATISTIC,
    "asset_metrics": METRICS,
    "correlations": PAIR,
    "index_weights": WEIGHT,
    "index_decisions": DECISION,
}


def broken_checks(contract: TableContract, **changes: object) -> set[str]:
    """Checks that refuse the table's good row with these changes; as in Delta, NULL refuses."""
    row = {**GOOD[contract.name], **changes}
    assert set(row) == set(contract.column_names)
    names = ", ".join(f'? AS "{name}"' for name in row)
    checks = ", ".join(contract.checks.values())
    with sqlite3.connect(":memory:") as database:
        answer = database.execute(f"SELECT {checks} FROM (SELECT {names})", [*row.values()])
        return {
            name for name, met in zip(contract.checks, answer.fetchone(), strict=True) if not met
        }


@BY_TABLE
def test_every_column_is_explained_and_the_run_is_named(contract: TableContract) -> None:
    assert contract.layer == "gold"
    assert all(column.comment for column in contract.columns)
    nullable = {column.name: column.nullable for column in contract.columns}
    assert not nullable["run_id"]
    assert not any(nullable[name] for name in contract.key if name != "lookback_days")


def test_keys_and_partitions() -> None:
    place = ("market", "interval")
    assert ASSET_METRICS.key == (*place, "as_of", "lookback_days", "symbol")
    assert CORRELATIONS.key == (*place, "as_of", "lookback_days", "symbol_a", "symbol_b")
    assert INDEX_WEIGHTS.key == INDEX_DECISIONS.key == ("index_name", *place, "as_of", "symbol")
    assert ASSET_METRICS.partitioned_by == CORRELATIONS.partitioned_by == place
    assert INDEX_WEIGHTS.partitioned_by == INDEX_DECISIONS.partitioned_by == ()
    assert FACTOR_BUCKETS.key == (*place, "as_of", "factor", "symbol")
    assert FACTOR_RETURNS.key == (*place, "open_time")
    assert FACTOR_EXPOSURES.key == (*place, "symbol", "open_time")
    assert FACTOR_RETURNS.partitioned_by == FACTOR_EXPOSURES.partitioned_by == (*place, "month")


def test_factor_tables_have_a_column_for_each_factor() -> None:
    sorted_ = [
        *("liquidity_low", "liquidity_medium", "liquidity_high"),
        *("volatility_low", "volatility_medium", "volatility_high"),
        *("momentum_low", "momentum_medium", "momentum_high"),
    ]
    spreads = [f"{sort}_high_minus_low" for sort in ("liquidity", "volatility", "momentum")]
    returns = [column.name for column in FACTOR_RETURNS.columns if column.type == "DOUBLE"]
    assert returns == ["market_return", *sorted_, *spreads]
    betas = [f"beta_{factor}" for factor in ("market", *sorted_, *spreads)]
    exposures = FACTOR_EXPOSURES.column_names
    assert [name for name in exposures if name.startswith("beta_")] == betas
    assert {"symbol", "open_time", "constant", "r2", "adj_r2", "bars"} <= set(exposures)


@pytest.mark.parametrize(
    ("contract", "result"),
    [
        *((ASSET_METRICS, AssetMetrics), (INDEX_WEIGHTS, Holding), (INDEX_DECISIONS, Decision)),
        (INDEX_STATISTICS, Statistic),
    ],
)
def test_a_table_has_a_column_for_each_field_of_its_result(
    contract: TableContract, result: type
) -> None:
    nullable = {column.name: column.nullable for column in contract.columns}
    types = get_type_hints(result)
    for field in fields(result):
        may_be_none = type(None) in get_args(types[field.name])
        assert nullable[field.name] == may_be_none, field.name


@BY_TABLE
def test_a_good_row_passes(contract: TableContract) -> None:
    assert broken_checks(contract) == set()


@BY_TABLE
def test_null_passes_wherever_a_column_allows_it(contract: TableContract) -> None:
    nulls = {column.name: None for column in contract.columns if column.nullable}
    assert broken_checks(contract, **nulls) == set()


@pytest.mark.parametrize(
    ("contract", "changes", "broken"),
    [
        (ASSET_METRICS, {"bars": -1, "returns": -2}, {"bars_not_negative", "returns_within_bars"}),
        (ASSET_METRICS, {"returns": 541}, {"returns_within_bars"}),
        (ASSET_METRICS, {"lookback_days": 0}, {"lookback_days_positive"}),
        (
            ASSET_METRICS,
            {"annual_volatility": -0.1, "sharpe": None},
            {"annual_volatility_not_negative"},
        ),
        (ASSET_METRICS, {"annual_volatility": 0.0}, {"sharpe_needs_volatility"}),
        (ASSET_METRICS, {"annual_volatility": None}, {"sharpe_needs_volatility"}),
        (ASSET_METRICS, {"max_drawdown": 0.01}, {"max_drawdown_not_positive"}),
        (ASSET_METRICS, {"max_drawdown": -1.01}, {"max_drawdown_not_positive"}),
        (
            ASSET_METRICS,
            {"median_daily_quote_volume": -1.0},
            {"median_daily_quote_volume_not_negative"},
        ),
        (CORRELATIONS, {"rho": 1.0000001}, {"rho_within_bounds"}),
        (CORRELATIONS, {"rho": -1.0000001}, {"rho_within_bounds"}),
        (CORRELATIONS, {"symbol_b": "BTCUSDT"}, {"each_pair_once"}),
        (CORRELATIONS, {"symbol_b": "ADAUSDT"}, {"each_pair_once"}),
        (CORRELATIONS, {"lookback_days": -90}, {"lookback_days_positive"}),
        (INDEX_WEIGHTS, {"weight": 0.0}, {"weight_within_bounds"}),
        (INDEX_WEIGHTS, {"weight": 1.0000001}, {"weight_within_bounds"}),
        (INDEX_WEIGHTS, {"rank": 0}, {"rank_from_one"}),
        (INDEX_WEIGHTS, {"annual_volatility": 0.0}, {"annual_volatility_positive"}),
        (INDEX_DECISIONS, {"decision": "kept"}, {"decision_known"}),
        (INDEX_DECISIONS, {"rule": "mood"}, {"rule_known"}),
        (INDEX_LEVELS, {"level": 0.0}, {"level_positive"}),
        (INDEX_LEVELS, {"cost": -0.001}, {"cost_within_bounds"}),
        (INDEX_LEVELS, {"turnover": -1.0}, {"turnover_not_negative"}),
        (INDEX_LEVELS, {"drawdown": 0.01}, {"drawdown_not_positive"}),
        (INDEX_RANDOM_LEVELS, {"p25": 999.0}, {"in_order"}),
        (INDEX_STATISTICS, {"at": "2025-02-01"}, {"a_number_or_a_date"}),
        (FACTOR_BUCKETS, {"factor": "size"}, {"known_factor"}),
        (FACTOR_BUCKETS, {"bucket": "top"}, {"known_bucket"}),
        (FACTOR_BUCKETS, {"lookback_days": 0}, {"lookback_days_positive"}),
        (FACTOR_RETURNS, {"buckets": "future"}, {"known_buckets"}),
        (FACTOR_RETURNS, {"coins": 0}, {"some_coins"}),
        (FACTOR_EXPOSURES, {"buckets": "future"}, {"known_buckets"}),
        (FACTOR_EXPOSURES, {"r2": 1.0000001}, {"r2_at_most_one"}),
        (FACTOR_EXPOSURES, {"condition_number": 0.9}, {"condition_at_least_one"}),
        (FACTOR_EXPOSURES, {"bars": 0}, {"some_bars"}),
        (FACTOR_EXPOSURES, {"residual_variance": -1e-9}, {"residual_variance_not_negative"}),
        (FACTOR_STATISTICS, {"bars": -1}, {"bars_not_negative"}),
        (FACTOR_STATISTICS, {"annual_volatility": -0.1}, {"annual_volatility_not_negative"}),
        (FACTOR_STATISTICS, {"monotonicity": 1.1}, {"monotonicity_within_bounds"}),
        (FACTOR_CORRELATIONS, {"rho": 1.1}, {"rho_within_bounds"}),
        (FACTOR_CORRELATIONS, {"factor_b": "liquidity_low"}, {"each_pair_once"}),
        (PORTFOLIO_RISK, {"bars": -1}, {"bars_not_negative"}),
        (PORTFOLIO_RISK, {"specific_variance": -0.1}, {"specific_variance_not_negative"}),
        (RISK_CONTRIBUTIONS, {"component": "coin"}, {"component_known"}),
        (RISK_CONTRIBUTIONS, {"specific_variance": -0.1}, {"specific_variance_not_negative"}),
    ],
)
def test_a_bad_row_is_refused(contract: TableContract, changes: Row, broken: set[str]) -> None:
    assert broken_checks(contract, **changes) == broken


@pytest.mark.parametrize("column", ["decision", "rule"])
def test_every_decision_and_rule_of_the_rulebook_is_allowed(column: str) -> None:
    for value in get_args(get_type_hints(Decision)[column]):
        assert broken_checks(INDEX_DECISIONS, **{column: value}) == set()
