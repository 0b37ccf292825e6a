"""What executors hand back of factors and portfolios, as Arrow rows: a history or a day at a time.

Rows grow with days x holdings, never with bars.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gold.factor_names import BUCKET_FACTORS, LONG_SHORT_FACTORS, MARKET_RETURN, beta_name
from gold.factor_risk import factor_covariance
from gold.factor_statistics import factor_correlations, factor_statistics
from gold.portfolio_risk import FactorModel, Holdings, PortfolioRisk, portfolio_risk
from gold.returns import FloatArray

SORTED_FACTORS: Final = (MARKET_RETURN, *BUCKET_FACTORS)
"""Factors whose statistics are taken; those of the spreads follow from them."""

FACTORS: Final = (*SORTED_FACTORS, *LONG_SHORT_FACTORS)
"""All factors, in the order of a covariance's rows."""

BETAS: Final = tuple(beta_name(factor) for factor in FACTORS)

STATISTICS_DDL: Final = (
    "factor string, bars bigint, annual_return double, annual_volatility double, sharpe double, "
    "newey_west_t double, newey_west_lags int, monotonicity double"
)
CORRELATIONS_DDL: Final = "factor_a string, factor_b string, rho double"
COVARIANCE_DDL: Final = "end_us bigint, bars bigint, covariance array<double>"
_OF_PORTFOLIO: Final = "portfolio string, weights_interval string, weights_us bigint, end_us bigint"
RISK_DDL: Final = (
    f"{_OF_PORTFOLIO}, bars bigint, covered_weight double, uncovered map<string,double>, "
    "annual_volatility double, factor_variance double, specific_variance double, "
    "stress_return double, conditional_stress_return double"
)
CONTRIBUTIONS_DDL: Final = (
    f"{_OF_PORTFOLIO}, component string, name string, exposure double, factor_variance double, "
    "specific_variance double"
)

PORTFOLIO_COLUMNS: Final = ("portfolio", "weights_interval", "weights_us", "end_us")


def statistics_rows(returns: pa.Table, bars_per_year: float) -> pa.Table:
    """Statistics of each factor and spread.

    Args:
        returns: open_us and `SORTED_FACTORS` of all bars, in any order.
        bars_per_year: Bars in 365 days.
    """
    matrix = _matrix(returns.sort_by("open_us"), SORTED_FACTORS)
    found = [asdict(each) for each in factor_statistics(SORTED_FACTORS, matrix, bars_per_year)]
    return _rows(found, _STATISTICS)


def correlation_rows(returns: pa.Table) -> pa.Table:
    """Correlation of each pair of `FACTORS`, by name.

    Args:
        returns: open_us and `FACTORS` of all bars, in any order.
    """
    names = sorted(FACTORS)
    rho = factor_correlations(_matrix(returns.sort_by("open_us"), names))
    found = [
        {"factor_a": first, "factor_b": second, "rho": float(rho[i, j])}
        for i, first in enumerate(names)
        for j, second in enumerate(names)
        if i < j
    ]
    return _rows(found, _CORRELATIONS)


def covariance_rows(returns: pa.Table) -> pa.Table:
    """The covariance of all factors in one window, row by row, and the bars it was taken over.

    Args:
        returns: end_us, open_us and `FACTORS` of the window's bars, in any order.
    """
    found = factor_covariance(_matrix(returns.sort_by("open_us"), FACTORS))
    return pa.table(
        {
            "end_us": returns["end_us"].slice(0, 1),
            "bars": pa.array([found.bars], pa.int64()),
            "covariance": pa.array([found.matrix.ravel()], pa.list_(pa.float64())),
        }
    )


def risk_of(holdings: pa.Table, moves: FloatArray, bars_per_year: float) -> PortfolioRisk:
    """Risk of one portfolio at one time.

    Args:
        holdings: symbol, weight, `BETAS` and residual_variance of each holding, NULL where there is
            none, in any order; and the covariance of that time on each row.
        moves: Returns of `FACTORS` in the stress test, NaN of a factor that it does not name.
        bars_per_year: Bars in 365 days.
    """
    holdings = holdings.sort_by("symbol")
    covariance = np.array(holdings["covariance"][0].as_py(), dtype=np.float64)
    return portfolio_risk(
        Holdings(
            symbols=tuple(holdings["symbol"].to_pylist()),
            weights=_floats(holdings["weight"]),
            betas=_matrix(holdings, BETAS),
            residual_variance=_floats(holdings["residual_variance"]),
        ),
        FactorModel(
            factors=FACTORS,
            covariance=covariance.reshape(len(FACTORS), len(FACTORS)),
            moves=moves,
            bars_per_year=bars_per_year,
        ),
    )


def risk_rows(holdings: pa.Table, moves: FloatArray, bars_per_year: float) -> pa.Table:
    """One row of the risk of one portfolio at one time, with arguments as `risk_of` has them.

    Args:
        holdings: The same, and `PORTFOLIO_COLUMNS` and bars on each row.
        moves: The same.
        bars_per_year: The same.
    """
    found = risk_of(holdings, moves, bars_per_year)
    row = {
        **_first(holdings, (*PORTFOLIO_COLUMNS, "bars")),
        "covered_weight": float(found.weights.sum()),
        "uncovered": list(found.uncovered.items()),
        "annual_volatility": found.annual_volatility,
        "factor_variance": found.factor_variance,
        "specific_variance": found.specific_variance,
        "stress_return": found.stress_return,
        "conditional_stress_return": found.conditional_stress_return,
    }
    return _rows([row], _RISK)


def contribution_rows(holdings: pa.Table, moves: FloatArray, bars_per_year: float) -> pa.Table:
    """A row for each factor and holding of one portfolio; arguments as `risk_rows` has them."""
    found = risk_of(holdings, moves, bars_per_year)
    parts = found.decomposition
    nothing = np.zeros(len(found.factors))
    of_portfolio = _first(holdings, PORTFOLIO_COLUMNS)
    rows = [
        {**of_portfolio, **dict(zip(_CONTRIBUTION, (component, *values), strict=True))}
        for component, *columns in (
            ("factor", found.factors, parts.exposures, parts.by_factor, nothing),
            ("holding", found.symbols, found.weights, parts.by_holding, parts.specific),
        )
        for values in zip(*columns, strict=True)
    ]
    return _rows(rows, _CONTRIBUTIONS)


_CONTRIBUTION: Final = ("component", "name", "exposure", "factor_variance", "specific_variance")

_STATISTICS = pa.schema(
    [
        ("factor", pa.string()),
        ("bars", pa.int64()),
        ("annual_return", pa.float64()),
        ("annual_volatility", pa.float64()),
        ("sharpe", pa.float64()),
        ("newey_west_t", pa.float64()),
        ("newey_west_lags", pa.int32()),
        ("monotonicity", pa.float64()),
    ]
)
_CORRELATIONS = pa.schema(
    [("factor_a", pa.string()), ("factor_b", pa.string()), ("rho", pa.float64())]
)
_PORTFOLIO = [
    ("portfolio", pa.string()),
    ("weights_interval", pa.string()),
    ("weights_us", pa.int64()),
    ("end_us", pa.int64()),
]
_RISK = pa.schema(
    [
        *_PORTFOLIO,
        ("bars", pa.int64()),
        ("covered_weight", pa.float64()),
        ("uncovered", pa.map_(pa.string(), pa.float64())),
        ("annual_volatility", pa.float64()),
        ("factor_variance", pa.float64()),
        ("specific_variance", pa.float64()),
        ("stress_return", pa.float64()),
        ("conditional_stress_return", pa.float64()),
    ]
)
_CONTRIBUTIONS = pa.schema(
    [
        *_PORTFOLIO,
        ("component", pa.string()),
        ("name", pa.string()),
        ("exposure", pa.float64()),
        ("factor_variance", pa.float64()),
        ("specific_variance", pa.float64()),
    ]
)


def _rows(rows: Sequence[dict[str, object]], schema: pa.Schema) -> pa.Table:
    """Rows as Arrow's, a NaN as NULL."""
    table = pa.Table.from_pylist(rows, schema)
    columns = [
        pc.if_else(pc.is_nan(column), None, column) if pa.types.is_floating(column.type) else column
        for column in table.columns
    ]
    return pa.table(columns, schema=schema)


def _first(table: pa.Table, names: Sequence[str]) -> dict[str, object]:
    """The first row's values of some columns."""
    return {name: table[name][0].as_py() for name in names}


def _matrix(table: pa.Table, names: Sequence[str]) -> FloatArray:
    """(T, K) values of some columns; NULL becomes NaN."""
    return np.column_stack([_floats(table[name]) for name in names])


def _floats(column: pa.ChunkedArray) -> FloatArray:
    values: FloatArray = pc.fill_null(column, np.nan).to_numpy()
    return values
