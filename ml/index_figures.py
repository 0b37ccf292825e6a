"""The figures of a walk-forward index by name, for MLflow and the report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gold.random_portfolios import BAND
from gold.ratios import period_returns
from gold.returns import FloatArray
from ml import index_plots, member_plots
from ml.frames import floats
from ml.index_results import IndexResult
from ml.plot_style import TimeArray


class NamedFigure(NamedTuple):
    """A figure, the name of its file, and words for those who do not see it."""

    name: str
    alt: str
    figure: Figure


def index_figures(result: IndexResult, market: str) -> Iterator[NamedFigure]:
    """Draw everything that there is to see of an index.

    Args:
        result: What it did.
        market: Name of the market, for the line below the titles.
    """
    name = result.name
    about = f"{market}, {result.interval}, {result.span}, walk-forward, after costs"
    times, levels = curves(result, "level")
    band = {percent: floats(result.random[column]) for percent, column in BAND.items()}
    yield NamedFigure(
        "equity",
        f"Level of {name}, its benchmarks and random portfolios",
        index_plots.equity_curves(times, levels, band if len(result.random) else {}, name, about),
    )
    yield NamedFigure(
        "drawdown",
        f"Drawdown of {name} and its benchmarks",
        index_plots.drawdowns(*curves(result, "deepest_drawdown"), name, about),
    )
    months, returns = period_returns(times.astype(np.int64), levels[name], "M")
    yield NamedFigure(
        "monthly_returns",
        f"Return of {name} in each month",
        index_plots.monthly_returns(months, returns, name, about),
    )
    dates = instants(result.dates)
    if len(result.weights):
        symbols, weights = weight_matrix(result)
        end = instants(pd.DatetimeIndex([result.end]))[0]
        yield NamedFigure(
            "weights_over_time",
            f"Weights of {name} from each determination to the next",
            member_plots.weights_over_time(dates, end, symbols, weights, name, about),
        )
        yield NamedFigure(
            "members",
            f"Members of {name} at each determination",
            member_plots.membership_calendar(dates, symbols, weights, name, about),
        )
    if len(result.trades):
        trades = result.trades
        turnover, cost = floats(trades["turnover"]), floats(trades["cost"])
        bars = instants(pd.DatetimeIndex(trades["open_time"]))
        yield NamedFigure(
            "turnover",
            f"Turnover and costs of {name}",
            index_plots.turnover_and_costs(bars, turnover, cost, name, about),
        )


def weight_matrix(result: IndexResult) -> tuple[list[str], FloatArray]:
    """The symbols that were ever members, and their weights by date, 0 for no member."""
    wide = result.weights.pivot(index="as_of", columns="symbol", values="weight")
    filled = wide.reindex(result.dates).fillna(0.0)
    return filled.columns.tolist(), filled.to_numpy(dtype=np.float64)


def curves(result: IndexResult, column: str) -> tuple[TimeArray, dict[str, FloatArray]]:
    """Times of an index, and a column of it and its benchmarks, which have the same bars."""
    parts = dict(list(result.levels.groupby("index_name", sort=False)))
    times = instants(pd.DatetimeIndex(parts[result.name]["open_time"]))
    return times, {str(name): floats(part[column]) for name, part in parts.items()}


def instants(times: pd.DatetimeIndex) -> TimeArray:
    """Instants as numpy's, in UTC microseconds."""
    return times.tz_convert("UTC").tz_localize(None).to_numpy(dtype="datetime64[us]")
