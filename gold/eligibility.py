"""Which symbols an index may hold at a determination date, and why not the others.

Each rule is a function of what was known at the date. A symbol that breaks several rules is
refused by the first: exclusion, trading, history, liquidity.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

from gold.decisions import Refusal, minute, told_apart
from gold.returns import FloatArray, IntArray
from lakehouse.intervals import MICROS_PER_DAY, Interval, interval_micros
from lakehouse.settings import (
    QUOTE_ASSET,
    TOO_FEW_RETURNS,
    ExclusionSettings,
    RuleSettings,
)


@dataclass(frozen=True)
class Candidates:
    """What is known of each symbol listed before a determination date, from its lookback.

    Attributes:
        symbols: N symbols in ascending order, each once.
        first_open_time: N opens of the first published bar ever, UTC microseconds.
        last_open_time: N opens of the last published bar of the lookback, -1 without one.
        real_bars: N numbers of published bars in the lookback, filled ones left out.
        returns: N numbers of log returns in the lookback.
        sharpe: N Sharpe ratios, NaN where undefined.
        annual_volatility: N volatilities, NaN where undefined.
        median_daily_quote_volume: N medians, NaN where undefined.
    """

    symbols: tuple[str, ...]
    first_open_time: IntArray
    last_open_time: IntArray
    real_bars: IntArray
    returns: IntArray
    sharpe: FloatArray
    annual_volatility: FloatArray
    median_daily_quote_volume: FloatArray


@dataclass(frozen=True)
class Eligibility:
    """What the eligibility at one determination date is judged by.

    Attributes:
        rules: The rulebook.
        as_of: Exclusive end of what was known, UTC microseconds.
        interval: Length of a bar.
        max_fill_bars: Missing bars after which a symbol no longer trades.
    """

    rules: RuleSettings
    as_of: int
    interval: Interval
    max_fill_bars: int


def refusals(
    candidates: Candidates, date: Eligibility, members: Collection[str]
) -> dict[str, Refusal]:
    """The symbols that are not eligible, each with the first rule that it breaks.

    Args:
        candidates: All symbols listed before the date.
        date: The date and its rules.
        members: Symbols selected at the determination before, which need less volume to stay.
    """
    rows = zip(
        candidates.symbols,
        candidates.first_open_time.tolist(),
        candidates.last_open_time.tolist(),
        candidates.real_bars.tolist(),
        candidates.returns.tolist(),
        candidates.sharpe.tolist(),
        candidates.annual_volatility.tolist(),
        candidates.median_daily_quote_volume.tolist(),
        strict=True,
    )
    refused: dict[str, Refusal] = {}
    for symbol, first_open, last_open, real_bars, returns, sharpe, volatility, volume in rows:
        refusal = (
            excluded(symbol, date.rules.exclusions)
            or not_trading(last_open, date)
            or too_young(first_open, date)
            or too_few_bars(real_bars, date)
            or no_ratio(returns, sharpe, volatility)
            or illiquid(volume, date.rules, symbol in members)
        )
        if refusal:
            refused[symbol] = refusal
    return refused


def excluded(symbol: str, lists: ExclusionSettings) -> Refusal | None:
    """Refuse a symbol whose base asset, what stands before USDT, is on an exclusion list."""
    base = symbol.removesuffix(QUOTE_ASSET)
    kinds = {
        "stable": lists.stable,
        "pegged": lists.pegged,
        "wrapped": lists.wrapped,
        "staked": lists.staked,
        "leveraged": lists.leveraged,
    }
    for kind, assets in kinds.items():
        if base in assets:
            return Refusal("exclusion", f"{base} is {kind}, by the list of {lists.reviewed}")
    return None


def not_trading(last_open: int, date: Eligibility) -> Refusal | None:
    """Refuse a symbol that lacks more bars before the date than a hole may have.

    Args:
        last_open: Open of its last published bar in the lookback, -1 without one.
        date: The date and its rules.
    """
    if last_open < 0:
        return Refusal("trading", f"no bar in {date.rules.lookback_days} days")
    lacking = (date.as_of - last_open) // interval_micros(date.interval) - 1
    if lacking <= date.max_fill_bars:
        return None
    since = f"last bar {minute(last_open)}, {lacking} lacking since"
    return Refusal("trading", f"{since}, at most {date.max_fill_bars} allowed")


def too_young(first_open: int, date: Eligibility) -> Refusal | None:
    """Refuse a symbol that was listed after the lookback began, or is younger than it must be."""
    begins = date.as_of - date.rules.lookback_days * MICROS_PER_DAY
    if first_open > begins:
        detail = f"first bar {minute(first_open)}, the lookback begins {minute(begins)}"
        return Refusal("history", detail)
    days = (date.as_of - first_open) // MICROS_PER_DAY
    if days < date.rules.min_age_days:
        return Refusal("history", f"{days} days old, at least {date.rules.min_age_days} needed")
    return None


def too_few_bars(real_bars: int, date: Eligibility) -> Refusal | None:
    """Refuse a symbol of whose lookback too many bars were not published."""
    bars = date.rules.lookback_days * MICROS_PER_DAY // interval_micros(date.interval)
    # A quotient, for a product of the same numbers can lie above the whole number that it means.
    if real_bars / bars >= date.rules.min_real_share:
        return None
    needed = f"a share of {date.rules.min_real_share:g} needed"
    return Refusal("history", f"{real_bars} of {bars} bars are real, {needed}")


def no_ratio(returns: int, sharpe: float, annual_volatility: float) -> Refusal | None:
    """Refuse a symbol that has no finite Sharpe to rank it by, or no volatility above 0."""
    if math.isfinite(sharpe) and math.isfinite(annual_volatility) and annual_volatility > 0:
        return None
    too_few = f"{returns} returns, more than {TOO_FEW_RETURNS} needed"
    return Refusal("history", "no volatility" if returns > TOO_FEW_RETURNS else too_few)


def illiquid(volume: float, rules: RuleSettings, is_member: bool) -> Refusal | None:
    """Refuse a symbol whose median daily quote volume is too low (NaN is) to enter or to stay."""
    least = rules.stay_volume if is_member else rules.enter_volume
    if volume >= least:
        return None
    lower, needed = told_apart(volume, least, decimals=0)
    purpose = "stay" if is_member else "enter"
    return Refusal("liquidity", f"median daily volume {lower}, {needed} needed to {purpose}")


def without_ratio(
    symbols: Collection[str], returns: IntArray, sharpe: FloatArray, annual_volatility: FloatArray
) -> dict[str, Refusal]:
    """The symbols with no ratio to rank them by: the one eligibility rule of a static index."""
    rows = zip(symbols, returns.tolist(), sharpe.tolist(), annual_volatility.tolist(), strict=True)
    refused = ((symbol, no_ratio(*numbers)) for symbol, *numbers in rows)
    return {symbol: refusal for symbol, refusal in refused if refusal}
