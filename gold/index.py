"""The task `smart_index`: weights, decisions, levels and statistics of every index of the run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from gold.contracts import (
    ASSET_METRICS,
    CORRELATIONS,
    INDEX_DECISIONS,
    INDEX_LEVELS,
    INDEX_RANDOM_LEVELS,
    INDEX_STATISTICS,
    INDEX_WEIGHTS,
)
from gold.index_tables import Statistic, level_names, level_rows, random_rows, statistics
from gold.listings import Listings, listings
from gold.rulebook import Rulebook, rulebooks
from gold.stamped import replace_stamped
from gold.static_index import static_determination
from gold.statistics import last_close, timestamp_sql
from gold.walk_forward import WalkForward, determination_dates, walk_forward
from lakehouse.arrow import frame_of
from lakehouse.errors import NotEnoughData
from lakehouse.intervals import instant
from lakehouse.sql import equals, is_in
from lakehouse.tasks import TaskContext, TaskOutcome
from silver.contracts import CANDLES, LISTINGS

if TYPE_CHECKING:
    from gold.decisions import Determination

log = logging.getLogger(__name__)

_DETERMINED = (INDEX_WEIGHTS, INDEX_DECISIONS)
_LEVELS = (INDEX_LEVELS, INDEX_STATISTICS, INDEX_RANDOM_LEVELS)

# What an index is made from.
_STATIC = (LISTINGS, ASSET_METRICS, CORRELATIONS)
_WALKED = (LISTINGS, CANDLES)


def run_smart_index(context: TaskContext) -> TaskOutcome:
    """Make every index that the settings ask for, and remove those that they name no more.

    Raises:
        NotEnoughData: There are no metrics or correlations for the static index, no symbol is
            eligible for it, or the candles are too few for every index.
    """
    books = rulebooks(context.settings.index)
    _remove_all_but(context, [each.name for each in books])
    market = None if all(each.in_sample for each in books) else listings(context)
    figures: dict[str, str] = {}
    messages = []
    for place, rulebook in enumerate(books, start=1):
        if market is None or rulebook.in_sample:
            message, found = _make_static(context, rulebook)
        else:
            message, found = _make_walk_forward(context, rulebook, market)
        figures |= found
        messages += [message] if message else []
        if len(books) > 1:
            said = message or f"{rulebook.name} was not made"
            log.info("smart_index: %d of %d: %s", place, len(books), said)
    if not messages:
        raise NotEnoughData("; ".join(figures.values()))
    return TaskOutcome("; ".join(messages), figures)


def _make_walk_forward(
    context: TaskContext, rulebook: Rulebook, market: Listings
) -> tuple[str, dict[str, str]]:
    """Message and figures; no message where the candles are too few for it.

    What an earlier run made of it then goes: it would be taken for what the candles say now.
    """
    dates = determination_dates(context.settings, rulebook, market)
    if not dates.size:
        _remove(context, [rulebook.name])
        return "", {rulebook.name: _too_short(rulebook)}
    return _write_walk_forward(context, rulebook, walk_forward(context, rulebook, market, dates))


def _remove_all_but(context: TaskContext, names: Sequence[str]) -> None:
    """Remove the indices that the settings do not name any more: none may seem to be current."""
    scope = equals(context.settings.scope)
    found: set[str] = set()
    for contract in _DETERMINED:
        if context.lake.exists(contract):
            named = context.lake.read_own(contract).where(scope).select("index_name").distinct()
            found |= set(named.toArrow()["index_name"].to_pylist())
    others = sorted(found - set(names))
    if others:
        _remove(context, others)
        log.info("smart_index: removed %s, which the settings do not name", ", ".join(others))


def _remove(context: TaskContext, names: Sequence[str]) -> None:
    """Leave no row of these indices."""
    scope = equals(context.settings.scope)
    # Weights and decisions last: they tell a later run, if this one is stopped, what is left.
    for contract in (*_LEVELS, *_DETERMINED):
        column = "rulebook" if contract in _LEVELS else "index_name"
        where = f"{scope} AND {is_in(column, names)}"
        lake = context.lake
        if lake.exists(contract) and not lake.read_own(contract).where(where).isEmpty():
            lake.replace(contract, lake.frame(contract, []), where)


def _too_short(rulebook: Rulebook) -> str:
    rules = rulebook.rules
    return (
        f"{rulebook.name} was not made: the candles do not reach over {rules.lookback_days} days "
        f"before a {rules.calendar} determination; load more months or shorten index.lookback_days"
    )


def _make_static(context: TaskContext, rulebook: Rulebook) -> tuple[str, dict[str, str]]:
    as_of = last_close(context)
    found = static_determination(context, rulebook.rules, as_of)
    dated = f" AND as_of = {timestamp_sql(as_of)}"
    _write_determinations(context, rulebook, {as_of: found}, dated)
    members = ", ".join(f"{row.symbol} {row.weight:.1%}" for row in found.holdings) or "cash"
    dropped = sum(row.decision == "dropped" for row in found.decisions)
    return (
        f"{len(found.holdings)} members of {len(found.decisions):,} symbols, {dropped:,} dropped "
        "by correlation (in-sample)",
        {f"{rulebook.name} (in-sample)": members},
    )


def _write_walk_forward(
    context: TaskContext, rulebook: Rulebook, made: WalkForward
) -> tuple[str, dict[str, str]]:
    """Put the index in the place of what earlier runs made of it."""
    name = rulebook.name
    instants = [instant(int(date)) for date in made.dates]
    found = dict(zip(instants, made.determinations, strict=True))
    _write_determinations(context, rulebook, found, "")
    values = _write_levels(context, rulebook, made)
    newest = made.determinations[-1].holdings
    members = ", ".join(f"{row.symbol} {row.weight:.1%}" for row in newest) or "cash"
    message = f"{name}: {len(found)} determinations"
    figures = {f"{name} from {instants[-1]:%Y-%m-%d %H:%M}": members}
    if made.levels is None:
        return f"{message}, none in effect yet", figures
    figures[f"{name}, total return after costs"] = ", ".join(
        f"{each} {values[each, 'total_return']:+.1%}"
        for each in level_names(name, made.has_bitcoin)
    )
    below = values.get((name, "random_share_below"))
    if below is not None:
        drawn = context.settings.index.random_portfolios
        figures[f"{name}, luck"] = f"ends above {round(below * drawn)} of {drawn} random portfolios"
    gone = sorted({symbol for symbols in made.stopped.values() for symbol in symbols})
    if gone:
        figures[f"{name}, sold as they stopped trading"] = ", ".join(gone)
    return f"{message}, {values[name, 'total_return']:+.1%} after costs", figures


def _write_levels(
    context: TaskContext, rulebook: Rulebook, made: WalkForward
) -> dict[tuple[str, str], float | None]:
    """Write levels, statistics and the random band; returns the statistics by name.

    What an earlier run wrote goes, also where this one has nothing to write.
    """
    names = level_names(rulebook.name, made.has_bitcoin)
    tables: dict[str, pa.Table] = {}
    found: list[Statistic] = []
    if made.levels is not None:
        settings = context.settings
        found.extend(
            statistics(made.levels, names, settings.archive.interval, settings.index.trials)
        )
        tables[INDEX_LEVELS.name] = level_rows(made.levels, names, made.stopped)
        tables[INDEX_STATISTICS.name] = pa.Table.from_pylist(
            [asdict(row) for row in found], _STATISTICS
        )
        if made.levels.level.shape[1] > len(names):
            tables[INDEX_RANDOM_LEVELS.name] = random_rows(made.levels, len(names))
    of_rulebook = {"rulebook": rulebook.name, **context.settings.scope}
    where = equals(of_rulebook)
    for contract in _LEVELS:
        if contract.name in tables:
            rows = frame_of(context.spark, tables[contract.name])
            replace_stamped(context, contract, rows, of_rulebook, _WALKED, where)
        else:
            context.lake.replace(contract, context.lake.frame(contract, []), where)
    return {(row.index_name, row.statistic): row.value for row in found}


_STATISTICS = pa.schema(
    [
        ("index_name", pa.string()),
        ("statistic", pa.string()),
        ("value", pa.float64()),
        ("at", pa.timestamp("us", "UTC")),
    ]
)


def _write_determinations(
    context: TaskContext,
    rulebook: Rulebook,
    found: Mapping[datetime, Determination],
    dated: str,
) -> None:
    """Write weights and decisions; `dated` narrows down which earlier ones they replace."""
    stamp = {"index_name": rulebook.name, **context.settings.scope}
    holdings = [(as_of, row) for as_of, each in found.items() for row in each.holdings]
    decisions = [(as_of, row) for as_of, each in found.items() for row in each.decisions]
    for contract, rows, schema in (
        (INDEX_WEIGHTS, holdings, _HOLDINGS),
        (INDEX_DECISIONS, decisions, _DECISIONS),
    ):
        table = pa.Table.from_pylist(
            [{"as_of": as_of, **asdict(row)} for as_of, row in rows], schema
        )
        frame = frame_of(context.spark, table)
        sources = _STATIC if rulebook.in_sample else _WALKED
        replace_stamped(context, contract, frame, stamp, sources, equals(stamp) + dated)


_AS_OF = ("as_of", pa.timestamp("us", "UTC"))
_HOLDINGS = pa.schema(
    [
        _AS_OF,
        ("symbol", pa.string()),
        ("weight", pa.float64()),
        ("rank", pa.int32()),
        ("sharpe", pa.float64()),
        ("annual_volatility", pa.float64()),
    ]
)
_DECISIONS = pa.schema(
    [_AS_OF, *((name, pa.string()) for name in ("symbol", "decision", "rule", "detail"))]
)
