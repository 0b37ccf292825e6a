"""Rules that a published candle must meet, each a pure function that returns a Column.

A rule's Column is true where the row meets it. NULL counts as broken, so that no row can fall
between accepted and rejected.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

from lakehouse.errors import SettingsError
from lakehouse.intervals import Interval, interval_micros
from lakehouse.settings import SilverSettings

# The exchange publishes quote volume to 8 decimals: one unit of that is no contradiction.
_QUOTE_UNIT = 1e-8
_INFINITY = float("inf")


@dataclass(frozen=True)
class RuleContext:
    """What rules need beside the row.

    Attributes:
        interval: Bar length.
        quote_volume_tolerance: Relative slack of `quote_volume_in_range`.
    """

    interval: Interval
    quote_volume_tolerance: float


def open_time_in_period(_: RuleContext) -> Column:
    """open_time lies in the month or day that the file's name promises."""
    return (F.col("open_us") >= F.col("period_start_us")) & (
        F.col("open_us") < F.col("period_end_us")
    )


def open_time_on_grid(context: RuleContext) -> Column:
    """open_time is a multiple of the interval."""
    return F.col("open_us") % F.lit(interval_micros(context.interval)) == 0


def close_time(context: RuleContext) -> Column:
    """close_time = open_time + interval - 1 of the file's own time unit."""
    length = (F.lit(interval_micros(context.interval)) / F.col("unit_us")).cast("bigint")
    return F.col("close_time") == F.try_add(F.col("open_time"), length - 1)


def prices_finite_positive(_: RuleContext) -> Column:
    """The four prices are above zero and finite (NaN is greater than infinity here)."""
    return _all(
        (F.col(price) > 0) & (F.col(price) < _INFINITY)
        for price in ("open", "high", "low", "close")
    )


def high_low(_: RuleContext) -> Column:
    """Low <= open and close <= high."""
    return _all(
        (F.col("low") <= F.col(price)) & (F.col(price) <= F.col("high"))
        for price in ("open", "close")
    )


def volumes_not_negative(_: RuleContext) -> Column:
    """Volumes and the number of trades are finite and not negative."""
    volumes = ("volume", "quote_volume", "taker_buy_base", "taker_buy_quote")
    return _all([F.col("trades") >= 0]) & _all(
        (F.col(name) >= 0) & (F.col(name) < _INFINITY) for name in volumes
    )


def trades_match_volume(_: RuleContext) -> Column:
    """There are no trades exactly where there is no volume."""
    return (F.col("trades") == 0) == (F.col("volume") == 0)


def taker_within_total(_: RuleContext) -> Column:
    """Takers bought no more than was traded."""
    return (F.col("taker_buy_base") <= F.col("volume")) & (
        F.col("taker_buy_quote") <= F.col("quote_volume")
    )


def quote_volume_in_range(context: RuleContext) -> Column:
    """quote_volume lies within [low, high] x volume, up to the tolerance, where volume > 0."""
    slack = context.quote_volume_tolerance
    lowest = F.col("low") * F.col("volume") * (1 - slack) - _QUOTE_UNIT
    highest = F.col("high") * F.col("volume") * (1 + slack) + _QUOTE_UNIT
    return (F.col("volume") == 0) | F.col("quote_volume").between(lowest, highest)


RULES: Mapping[str, Callable[[RuleContext], Column]] = {
    rule.__name__: rule
    for rule in (
        open_time_in_period,
        open_time_on_grid,
        close_time,
        prices_finite_positive,
        high_low,
        volumes_not_negative,
        trades_match_volume,
        taker_within_total,
        quote_volume_in_range,
    )
}


# What silver.candles admits in no case; the other rules may be of severity warn.
_ALWAYS_REJECT = (
    open_time_in_period,
    open_time_on_grid,
    prices_finite_positive,
    high_low,
    volumes_not_negative,
)


def broken_rules(settings: SilverSettings, interval: Interval, severity: str) -> Column:
    """Names of the rules of one severity that a row breaks, in the order of `RULES`.

    Raises:
        SettingsError: `silver.severity` names an unknown rule, leaves one out, or only warns of
            what silver.candles admits in no case.
    """
    if set(settings.severity) != set(RULES):
        different = sorted(set(settings.severity) ^ set(RULES))
        raise SettingsError(
            f"silver.severity must name each rule once: check {', '.join(different)}"
        )
    for rule in _ALWAYS_REJECT:
        if settings.severity[rule.__name__] != "reject":
            raise SettingsError(f"silver.severity.{rule.__name__} can only be reject")
    context = RuleContext(interval, settings.quote_volume_tolerance)
    names = [
        F.when(~F.coalesce(rule(context), F.lit(False)), F.lit(name))
        for name, rule in RULES.items()
        if settings.severity[name] == severity
    ]
    return F.array_compact(F.array(*names)) if names else F.array().cast("array<string>")


def _all(conditions: Iterable[Column]) -> Column:
    result = F.lit(True)
    for condition in conditions:
        result = result & condition
    return result
