"""The finished gold and ml tables of an archive beside numpy and Polars from the same ZIPs.

    .venv/bin/python benchmarks/tables_against_numpy.py WAREHOUSE ARCHIVE

WAREHOUSE holds what `candlelake run medallion` made of the 4h perpetuals of ARCHIVE. Nothing of
Candlelake is imported; the tables are read by delta-rs. Prints the largest relative difference of
each figure and fails above 1e-9.
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from plain import BARS_PER_YEAR, MIN_RETURNS, THRESHOLD, TOP_N, candles

TOLERANCE = 1e-9
# A correlation near 0 is the difference of numbers near 1: its error is measured against 1.
FLOOR = {"rho": 1.0}


class Comparison:
    """Largest relative differences, printed as they are found."""

    def __init__(self) -> None:
        self.failed = False

    def numbers(self, name: str, found: np.ndarray, expected: np.ndarray) -> None:
        """Compare two arrays; NaN must stand at the same places."""
        same_gaps = bool((np.isnan(found) == np.isnan(expected)).all())
        scale = np.maximum(np.abs(expected), FLOOR.get(name, 0.0))
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = np.where(found == expected, 0.0, np.abs(found - expected) / scale)
        worst = float(np.nanmax(apart, initial=0.0))
        self.fact(f"{name}: {found.size:,} values, {worst:.1e}", same_gaps and worst <= TOLERANCE)

    def fact(self, text: str, holds: bool) -> None:
        """Print a line and remember a failure."""
        self.failed |= not holds
        print(f"{'ok  ' if holds else 'FAIL'} {text}")


def main(warehouse: str, archive: str) -> None:
    """Compare and print; exits with 1 when something differs."""
    bars = candles(Path(archive))
    compared = Comparison()
    silver = table(warehouse, "silver/candles").filter(~pl.col("is_filled"))
    compared.fact(f"silver.candles: {silver.height:,} published bars", silver.height == bars.height)
    logs = pl.col("close").log().diff().over("symbol")
    returns = bars.select("symbol", "open_time", r=logs).drop_nulls()
    metrics = check_metrics(compared, warehouse, returns)
    symbols = bars["symbol"].unique().sort().to_list()
    wide = returns.pivot("symbol", index="open_time", values="r").sort("open_time").fill_null(0.0)
    matrix = wide.with_columns(
        pl.lit(0.0).alias(name) for name in symbols if name not in wide.columns
    ).select(symbols)
    rho = np.corrcoef(matrix.to_numpy().T)
    first, second = np.triu_indices(len(symbols), 1)
    stored = table(warehouse, "gold/correlations").sort("symbol_a", "symbol_b")
    compared.numbers("rho", stored["rho"].to_numpy(), rho[first, second])
    check_index(compared, warehouse, metrics, symbols, rho)
    values = np.linalg.eigvalsh(np.cov(matrix.to_numpy().T))[::-1]
    components = table(warehouse, "ml/pca_components").sort("component")
    shares = (values / values.sum())[: components.height]
    compared.numbers("explained_variance", components["explained_variance"].to_numpy(), shares)
    sys.exit(compared.failed)


def table(warehouse: str, name: str) -> pl.DataFrame:
    """A whole table, read by delta-rs."""
    return pl.read_delta(f"{warehouse}/{name}")


def check_metrics(compared: Comparison, warehouse: str, returns: pl.DataFrame) -> pl.DataFrame:
    """Compare gold.asset_metrics; returns the expected ones of all symbols that have a Sharpe."""
    annual = (
        returns.group_by("symbol")
        .agg(n=pl.len(), mean=pl.col("r").mean(), std=pl.col("r").std())
        .filter(pl.col("n") > MIN_RETURNS)
        .select(
            "symbol",
            annual_return=pl.col("mean") * BARS_PER_YEAR,
            annual_volatility=pl.col("std") * BARS_PER_YEAR**0.5,
        )
        .with_columns(sharpe=pl.col("annual_return") / pl.col("annual_volatility"))
        .sort("symbol")
    )
    found = table(warehouse, "gold/asset_metrics").sort("symbol")
    ranked = found.filter(pl.col("sharpe").is_not_null())
    compared.fact(
        f"asset_metrics: {ranked.height} of {found.height} symbols have a Sharpe ratio",
        ranked["symbol"].equals(annual["symbol"]),
    )
    for name in annual.columns[1:]:
        compared.numbers(name, ranked[name].to_numpy(), annual[name].to_numpy())
    return annual


def check_index(
    compared: Comparison,
    warehouse: str,
    metrics: pl.DataFrame,
    symbols: list[str],
    rho: np.ndarray,
) -> None:
    """Compare who was dropped, the members in order and their weights."""
    sharpe = dict(metrics.select("symbol", "sharpe").iter_rows())
    lost: set[str] = set()
    for i, j in zip(*np.nonzero(np.triu(np.abs(rho) > THRESHOLD, 1)), strict=True):
        a, b = symbols[i], symbols[j]
        if a in sharpe and b in sharpe and a not in lost and b not in lost:
            lost.add(a if sharpe[a] < sharpe[b] else b)
    members = sorted(sharpe.keys() - lost, key=lambda name: (-sharpe[name], name))[:TOP_N]
    decisions = table(warehouse, "gold/index_decisions")
    dropped = set(decisions.filter(pl.col("decision") == "dropped")["symbol"])
    compared.fact(f"index_decisions: {len(dropped)} dropped of {len(symbols)}", dropped == lost)
    held = table(warehouse, "gold/index_weights").sort("rank")
    ranks = all(after - before == 1 for before, after in pairwise(held["rank"]))
    compared.fact("index_weights: members by rank", held["symbol"].to_list() == members and ranks)
    volatility = dict(metrics.select("symbol", "annual_volatility").iter_rows())
    inverse = np.array([1 / volatility[name] for name in members])
    compared.numbers("weight", held["weight"].to_numpy(), inverse / inverse.sum())


if __name__ == "__main__":
    main(*sys.argv[1:])
