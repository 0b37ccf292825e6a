"""A portfolio's risk for the terminal: tables of exposures, decomposition and stress."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from rich.markup import escape
from rich.table import Table

from gold.risk_at import Measured, RiskHistory
from gold.risk_rows import FACTORS

_NOTHING = "no holding has exposures at this time"


def risk_tables(measured: Measured, name: str) -> Iterator[Table]:
    """Tables to print in order; figures are per year, shares are those of the whole variance.

    Args:
        measured: The risk.
        name: What to call the portfolio.
    """
    yield _summary(measured, name)
    if measured.risk.symbols:
        yield _by_factor(measured)
        yield _by_holding(measured)
    if measured.risk.uncovered:
        yield _uncovered(measured)


def history_tables(history: RiskHistory, name: str) -> Iterator[Table]:
    """Tables to print in order: a line for each day, then one for each factor and day.

    Args:
        history: The risk.
        name: What to call the portfolio.
    """
    yield _by_day(history, name)
    if history.factors:
        yield _by_factor_and_day(history)
    without = [dict(row["uncovered"]) for row in history.risk]
    if any(without):
        shown = _numbers("Without exposures, in no figure of these days", "symbol", "days")
        for symbol, days in sorted(Counter(chain(*without)).items()):
            shown.add_row(escape(symbol), f"{days} of {len(without)}")
        yield shown


def _by_day(history: RiskHistory, name: str) -> Table:
    scenario = _scenario(history.stress)
    stresses = (f"return if {scenario}", "others moving along") if scenario else ()
    headers = ("volatility", "by factors", "specific", "covered weight", *stresses)
    shown = _numbers(f"Risk of {escape(name)}", "as of (UTC)", *headers)
    for row in history.risk:
        returns = (row["stress_return"], row["conditional_stress_return"])
        shown.add_row(
            f"{row['as_of']:%Y-%m-%d %H:%M}",
            _volatility(row["annual_volatility"]),
            *(_share(row[f"{part}_variance"], _variance(row)) for part in ("factor", "specific")),
            f"{row['covered_weight']:.1%}",
            *(_return(value) for value in returns[: len(stresses)]),
        )
    return shown


def _by_factor_and_day(history: RiskHistory) -> Table:
    whole = {row["as_of"]: _variance(row) for row in history.risk}
    shown = _numbers("Factors", "factor", "as of (UTC)", "exposure", "share of variance")
    for row in sorted(history.factors, key=lambda row: FACTORS.index(row["name"])):
        shown.add_row(
            row["name"],
            f"{row['as_of']:%Y-%m-%d %H:%M}",
            f"{row['exposure']:+.3f}",
            _share(row["factor_variance"], whole[row["as_of"]]),
        )
    return shown


def _variance(row: Mapping[str, Any]) -> float:
    """All of a day's variance; NaN where it is unknown."""
    known = row["annual_volatility"] is not None
    return row["factor_variance"] + row["specific_variance"] if known else math.nan


def _summary(measured: Measured, name: str) -> Table:
    risk, parts = measured.risk, measured.risk.decomposition
    shown = Table("", "", title=f"Risk of {escape(name)}", show_header=False)
    shown.add_row("exposures as of", f"{measured.as_of:%Y-%m-%d %H:%M} UTC")
    shown.add_row("weights as of", f"{measured.weights_as_of:%Y-%m-%d %H:%M} UTC")
    shown.add_row("factor model", f"{measured.market}, {measured.interval}, {measured.bars:,} bars")
    holdings = f"{len(risk.symbols)} of {len(risk.symbols) + len(risk.uncovered)} holdings"
    shown.add_row("weight with exposures", f"{risk.weights.sum():.1%}, {holdings}")
    if not risk.symbols:
        shown.add_row("risk", _NOTHING)
        return shown
    shown.add_row("volatility per year", _volatility(risk.annual_volatility))
    shown.add_row("variance by factors", _share(parts.factor_variance, parts.variance))
    shown.add_row("specific variance", _share(parts.specific_variance, parts.variance))
    scenario = _scenario(measured.stress)
    if scenario:
        shown.add_row(f"return if {scenario}", _return(risk.stress_return))
        along = _return(risk.conditional_stress_return)
        shown.add_row("the same, the other factors moving along", along)
        unused = [factor for factor in measured.stress if factor not in risk.factors]
        if unused:
            shown.add_row("not among the model's factors", ", ".join(unused))
    return shown


def _by_factor(measured: Measured) -> Table:
    risk, parts = measured.risk, measured.risk.decomposition
    shown = _numbers("Factors", "factor", "exposure", "share of variance")
    for factor, exposure, variance in zip(
        risk.factors, parts.exposures, parts.by_factor, strict=True
    ):
        shown.add_row(factor, f"{exposure:+.3f}", _share(variance, parts.variance))
    return shown


def _by_holding(measured: Measured) -> Table:
    risk, parts = measured.risk, measured.risk.decomposition
    both = parts.by_holding + parts.specific
    shown = _numbers("Holdings", "symbol", "weight", "by factors", "specific", "share of variance")
    for place in (-both).argsort(kind="stable").tolist():
        shown.add_row(
            escape(risk.symbols[place]),
            f"{risk.weights[place]:.1%}",
            *(
                _share(part[place], parts.variance)
                for part in (parts.by_holding, parts.specific, both)
            ),
        )
    return shown


def _uncovered(measured: Measured) -> Table:
    shown = _numbers("Without exposures, in no figure above", "symbol", "weight")
    for symbol, weight in measured.risk.uncovered.items():
        shown.add_row(escape(symbol), f"{weight:.1%}")
    return shown


def _numbers(title: str, first: str, *others: str) -> Table:
    """A table whose columns after the first hold numbers."""
    shown = Table(title=title, title_justify="left")
    shown.add_column(first, overflow="fold")
    for header in others:
        shown.add_column(header, justify="right")
    return shown


def _scenario(stress: Mapping[str, float]) -> str:
    return ", ".join(f"{factor} {move:+.1%}" for factor, move in stress.items())


def _volatility(value: float | None) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{value:.1%}"


def _return(value: float | None) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{value:+.1%}"


def _share(part: float | None, whole: float) -> str:
    return f"{part / whole:.1%}" if part is not None and whole > 0 else "-"
