"""The command `candlelake risk`: exposures, risk and stress of one portfolio, now or over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from gold.portfolio import read_portfolio
from lakehouse.cli import out, settings_options, tables_of
from lakehouse.settings import load_settings

_DAY = click.DateTime(["%Y-%m-%d"])


@click.command()
@settings_options
@click.option(
    "--index",
    help="Index of gold.index_weights, by the weights of its last determination until --date; or "
    "all_coins.",
)
@click.option(
    "--csv",
    "file",
    type=click.Path(path_type=Path),
    help="Portfolio of your own: a CSV file with the columns symbol and weight.",
)
@click.option(
    "--date",
    type=_DAY,
    help="UTC day at whose last bar the risk is measured; the newest exposures unless given.",
)
@click.option("--from", "first", type=_DAY, help="Every day from this one on, as a series.")
@click.option("--to", "last", type=_DAY, help="Last day of the series.")
def risk(
    conf: Path,
    overrides: Sequence[str],
    index: str | None,
    file: Path | None,
    date: datetime | None,
    first: datetime | None,
    last: datetime | None,
) -> None:
    """Measure the risk of a portfolio by the factor model: exposures, decomposition, stress.

    Without --index and --csv it is that of all_coins, those with exposures, in equal weights. What
    the factors do in the stress test is the setting factors.stress.

    \b
    candlelake risk --index smart_monthly
    candlelake risk --csv portfolio.csv --date 2026-02-03
    candlelake risk --csv portfolio.csv --from 2026-02-01 --to 2026-02-28
    candlelake risk --csv portfolio.csv --set 'factors.stress={market_return: -0.3}'
    """
    if index and file:
        raise click.UsageError("--index and --csv name two portfolios: give one of them")
    if date and (first or last):
        raise click.UsageError("--date is one day, --from and --to are many: give one of both")
    if first and last and first > last:
        raise click.UsageError("--from is after --to")
    settings = load_settings(conf, overrides)
    weights = read_portfolio(file) if file else None  # before Spark starts
    with tables_of(settings) as (spark, _):
        from gold.risk_at import measure, measure_days
        from gold.risk_view import history_tables, risk_tables

        of, name = weights or index, str(file) if file else index or "all coins, equal weights"
        if first or last:
            days = (each and each.date() for each in (first, last))
            tables = history_tables(measure_days(spark, settings, of, *days), name)
        else:
            tables = risk_tables(measure(spark, settings, of, date.date() if date else None), name)
        shown = list(tables)
    for table in shown:
        out.print(table)
