"""The command `candlelake risk`: exposures, risk and stress of one portfolio at one time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from gold.portfolio import read_portfolio
from lakehouse.cli import out, settings_options, tables_of
from lakehouse.settings import load_settings


@click.command()
@settings_options
@click.option(
    "--index",
    help="Index of gold.index_weights, by the weights of its last determination until --date.",
)
@click.option(
    "--csv",
    "file",
    type=click.Path(path_type=Path),
    help="Portfolio of your own: a CSV file with the columns symbol and weight.",
)
@click.option(
    "--date",
    type=click.DateTime(["%Y-%m-%d"]),
    help="UTC day at whose last bar the risk is measured; the newest exposures unless given.",
)
def risk(
    conf: Path,
    overrides: Sequence[str],
    index: str | None,
    file: Path | None,
    date: datetime | None,
) -> None:
    """Measure the risk of a portfolio by the factor model: exposures, decomposition, stress.

    Without --index and --csv it is that of all coins in equal weights. What the factors do in the
    stress test is the setting factors.stress.

    \b
    candlelake risk --index smart_monthly
    candlelake risk --csv portfolio.csv --date 2026-02-03
    candlelake risk --csv portfolio.csv --set 'factors.stress={market_return: -0.3}'
    """
    if index and file:
        raise click.UsageError("--index and --csv name two portfolios: give one of them")
    settings = load_settings(conf, overrides)
    weights = read_portfolio(file) if file else None  # before Spark starts
    with tables_of(settings) as (spark, _):
        from gold.risk_at import measure
        from gold.risk_view import risk_tables

        measured = measure(spark, settings, weights or index, date.date() if date else None)
    for table in risk_tables(measured, str(file) if file else index or "all coins, equal weights"):
        out.print(table)
