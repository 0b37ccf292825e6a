"""What the report says of the factor model: sentences, tables and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from gold.factor_names import MODEL_FACTORS, beta_name
from gold.returns import FloatArray
from gold.risk_rows import FACTORS
from ml import factor_plots
from ml.factor_plots import title_of
from ml.factor_results import FactorResults
from ml.frames import correlation_matrix, floats
from ml.images import Image, image
from ml.plot_style import MARKETS, TimeArray
from ml.report_tables import Table, count, minute, percent, ratio, table, text

MOST_NAMED: Final = 20
"""Holdings without exposures that a sentence names."""


@dataclass(frozen=True)
class Portfolio:
    """One portfolio on the page.

    Attributes:
        name: Its name, and the candles that determined its weights.
        summary: Its risk in a sentence.
        stress: What it loses in the stress test, in a sentence; empty without one.
        uncovered: Holdings that the figures leave out, in a sentence; empty without any.
        images: Its figures by name; none without risk.
    """

    name: str
    summary: str
    stress: str
    uncovered: str
    images: Mapping[str, Image]


@dataclass(frozen=True)
class FactorSection:
    """The factor model on the page.

    Attributes:
        span: Market, interval, from the first bar to the last.
        begin: First bar of the cumulative returns.
        in_sample: Whether the buckets know the whole sample.
        long_short: Whether coins are regressed on high less low, and not on each bucket.
        window: Bars of a regression.
        images: Its figures by name.
        statistics: A row for each factor and spread.
        portfolios: The portfolios whose risk is known at the last bar.
    """

    span: str
    begin: str
    in_sample: bool
    long_short: bool
    window: str
    images: Mapping[str, Image]
    statistics: Table
    portfolios: tuple[Portfolio, ...]


def factor_section(results: FactorResults) -> FactorSection:
    """Put the factor model into words, tables and pictures."""
    span = f"{results.first:%Y-%m-%d} to {results.as_of:%Y-%m-%d %H:%M} UTC"
    about = f"{MARKETS[results.market]}, {results.interval}, {span}, {results.buckets} buckets"
    return FactorSection(
        span=about,
        begin=minute(results.begin),
        in_sample=results.buckets == "static",
        long_short=results.portfolios == "long_short",
        window=count(results.window),
        images=dict(_images(results, about)),
        statistics=_statistics(results.statistics),
        portfolios=tuple(_portfolios(results, about)),
    )


def factor_exports(results: FactorResults) -> dict[str, pd.DataFrame]:
    """The CSV files of the factor model by name."""
    return {
        "factor_statistics.csv": results.statistics[[*_STATISTIC_COLUMNS]],
        "portfolio_risk.csv": results.risk[[*_PORTFOLIO_COLUMNS, *_RISK_COLUMNS]],
        "risk_contributions.csv": results.contributions[
            [*_PORTFOLIO_COLUMNS, *_CONTRIBUTION_COLUMNS]
        ],
    }


_STATISTIC_COLUMNS = (
    *("factor", "bars", "annual_return", "annual_volatility", "sharpe"),
    *("newey_west_t", "monotonicity", "as_of"),
)
_PORTFOLIO_COLUMNS = ("portfolio", "weights_interval", "as_of")
_RISK_COLUMNS = (
    *("covered_weight", "annual_volatility", "factor_variance", "specific_variance"),
    *("stress_return", "conditional_stress_return"),
)
_CONTRIBUTION_COLUMNS = ("component", "name", "exposure", "factor_variance", "specific_variance")


def _statistics(statistics: pd.DataFrame) -> Table:
    """The factors in the model's order, the spreads last."""
    order = {factor: place for place, factor in enumerate(FACTORS)}
    ordered = statistics.sort_values("factor", key=lambda names: names.map(order))
    return table(
        ordered.assign(title=ordered["factor"].map(title_of)),
        ("title", "Factor", text),
        ("bars", "Bars", count),
        ("annual_return", "Mean return p.a.", percent),
        ("annual_volatility", "Volatility p.a.", percent),
        ("sharpe", "Sharpe", ratio),
        ("newey_west_t", "t (Newey-West)", ratio),
        ("monotonicity", "Order of the buckets", ratio),
    )


def _images(results: FactorResults, about: str) -> Iterator[tuple[str, Image]]:
    """The figures that there are data for, by name."""
    growth, used = results.growth, MODEL_FACTORS[results.portfolios]
    # NaN stays NaN: a factor without any return is not one that returned 0.
    levels = {factor: np.expm1(floats(growth[factor].cumsum())) for factor in used}
    figure = factor_plots.cumulative_returns(_times(growth["time"]), levels, about)
    yield "growth", image(figure, "Cumulative return of each factor")
    names, matrix = _matrix(results.correlations, used)
    figure = factor_plots.factor_correlations(names, matrix, about)
    yield "correlations", image(figure, "Correlation of each pair of factors")
    coins = results.exposures
    if len(coins):
        times, factors, betas, r2 = _by_coin(coins)
        title = "Exposures of coins to the factors"
        figure = factor_plots.exposures_over_time(times, factors, betas, title, about)
        yield "exposures", image(figure, "Exposures of some coins to each factor over time")
        figure = factor_plots.explained_over_time(times, r2, about)
        yield "r2", image(figure, "Share of the variance of some coins that the factors explain")


def _portfolios(results: FactorResults, about: str) -> Iterator[Portfolio]:
    """The portfolios whose risk is known at the last bar."""
    now = results.risk[results.risk["as_of"] == results.as_of]
    for record in now.to_dict("records"):
        row = {str(name): value for name, value in record.items()}
        of_day = f"{about.split(',')[0]}, {results.interval}, {results.as_of:%Y-%m-%d %H:%M} UTC"
        mine = results.contributions[
            (results.contributions["portfolio"] == row["portfolio"])
            & (results.contributions["weights_interval"] == row["weights_interval"])
        ]
        yield Portfolio(
            name=f"{row['portfolio']}, weights of {row['weights_interval']} candles",
            summary=_summary(row),
            stress=_stress(row),
            uncovered=_uncovered(row["uncovered"]),
            images=dict(_portfolio_images(mine, row, about, of_day)),
        )


def _summary(row: Mapping[str, Any]) -> str:
    if not row["annual_volatility"] > 0:
        return "No holding has exposures at that time."
    variance = row["annual_volatility"] ** 2
    return (
        f"Volatility {percent(row['annual_volatility'])} per year: "
        f"{percent(row['factor_variance'] / variance)} of the variance comes from the factors, "
        f"{percent(row['specific_variance'] / variance)} is specific to the holdings."
    )


def _stress(row: Mapping[str, Any]) -> str:
    moves = ", ".join(
        f"{title_of(factor)} {percent(move)}" for factor, move in sorted(row["stress"].items())
    )
    if not moves:
        return ""
    along = (
        f"Stress test, {moves}: the portfolio returns {percent(row['conditional_stress_return'])} "
        "when the other factors move along as they did on average"
    )
    if pd.isna(row["stress_return"]):
        return f"{along}."
    return f"{along}, and {percent(row['stress_return'])} if they could stand still."


def _uncovered(weights: Mapping[str, float]) -> str:
    if not weights:
        return ""
    named = sorted(weights.items(), key=lambda each: (-abs(each[1]), each[0]))
    shown = ", ".join(f"{symbol} {percent(weight)}" for symbol, weight in named[:MOST_NAMED])
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return (
        f"Without exposures and in none of these figures, {percent(sum(weights.values()))} of the "
        f"weight: {shown}{more}."
    )


def _portfolio_images(
    mine: pd.DataFrame, row: Mapping[str, Any], about: str, of_day: str
) -> Iterator[tuple[str, Image]]:
    """Decomposition at the last bar, and exposures of all days when there are several."""
    now = mine[mine["as_of"] == row["as_of"]]
    factors = _in_order(now[now["component"] == "factor"])
    holdings = now[now["component"] == "holding"]
    if not row["annual_volatility"] > 0:
        return
    total = holdings["factor_variance"] + holdings["specific_variance"]
    ranked = holdings.loc[total.sort_values(ascending=False, kind="stable").index]
    figure = factor_plots.risk_decomposition(
        dict(zip(factors["name"], factors["factor_variance"], strict=True)),
        float(row["specific_variance"]),
        dict(
            zip(
                ranked["name"],
                zip(ranked["factor_variance"], ranked["specific_variance"], strict=True),
                strict=True,
            )
        ),
        row["portfolio"],
        of_day,
    )
    yield "risk", image(figure, f"Variance of {row['portfolio']} by factor and by holding")
    of_factors = mine[mine["component"] == "factor"]
    # The day that ends at midnight, not the one that begins then: that may be of another month.
    days = (of_factors["as_of"] - pd.Timedelta(1, "us")).dt.floor("D")
    wide = of_factors.assign(day=days).pivot(index="day", columns="name", values="exposure")
    wide = wide[factors["name"].tolist()].asfreq("D")
    if len(wide) > 1:
        figure = factor_plots.exposures_over_time(
            _times(wide.index.to_series()),
            wide.columns.tolist(),
            {row["portfolio"]: wide.to_numpy(dtype=np.float64)},
            f"{row['portfolio']}: exposures at the end of each day",
            about,
        )
        yield "exposures", image(figure, f"Exposures of {row['portfolio']} over time")


def _in_order(factors: pd.DataFrame) -> pd.DataFrame:
    order = {factor: place for place, factor in enumerate(FACTORS)}
    return factors.sort_values("name", key=lambda names: names.map(order))


def _matrix(pairs: pd.DataFrame, factors: Sequence[str]) -> tuple[list[str], FloatArray]:
    """The correlations of some factors as a symmetric matrix, in their order."""
    pairs = pairs[pairs["factor_a"].isin(factors) & pairs["factor_b"].isin(factors)]
    named = pairs.rename(columns={"factor_a": "symbol_a", "factor_b": "symbol_b"})
    names, matrix = correlation_matrix(named)
    order = sorted(range(len(names)), key=lambda place: factors.index(names[place]))
    return [names[place] for place in order], matrix[np.ix_(order, order)]


def _by_coin(
    coins: pd.DataFrame,
) -> tuple[TimeArray, list[str], dict[str, FloatArray], dict[str, FloatArray]]:
    """Times, factors in use, and by coin the (T, K) exposures and T shares explained."""
    used = [factor for factor in FACTORS if coins[beta_name(factor)].notna().any()]
    times = np.sort(coins["time"].unique())
    step = np.diff(times).min() if len(times) > 1 else pd.Timedelta(1, "h")
    grid = pd.date_range(times[0], times[-1], freq=step)
    parts = {
        str(symbol): part.set_index("time").reindex(grid)
        for symbol, part in coins.groupby("symbol")
    }
    betas = [beta_name(factor) for factor in used]
    return (
        _times(grid.to_series()),
        used,
        {symbol: part[betas].to_numpy(dtype=np.float64) for symbol, part in parts.items()},
        {symbol: floats(part["r2"]) for symbol, part in parts.items()},
    )


def _times(times: pd.Series) -> TimeArray:
    return pd.DatetimeIndex(times).tz_convert("UTC").tz_localize(None).to_numpy("datetime64[us]")
