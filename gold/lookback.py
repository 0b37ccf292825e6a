"""What the candles of one lookback say, and the determinations that follow from them in turn.

`look_back` needs the candles of one lookback alone, so determination dates can be worked on side
by side. `determine_in_turn` then runs the rules date by date, because members are treated more
kindly than others (volume to stay, rank buffer); it needs no candle.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gold.correlation import correlation_matrix
from gold.decisions import Determination
from gold.eligibility import Candidates, Eligibility, refusals
from gold.metrics import median_daily_quote_volume, risk_and_return
from gold.returns import BoolArray, FloatArray, IntArray, panel_log_returns, returns_matrix
from gold.smart_index import correlated_pairs, determine
from lakehouse.intervals import Interval
from lakehouse.settings import RuleSettings


@dataclass(frozen=True)
class LookbackCandles:
    """Candles that open in [as_of - lookback, as_of), by symbol and then in time order.

    Attributes:
        symbol_index: n codes 0..N-1 of the symbols, ascending. A symbol may have no candle.
        open_time: n bar opens, UTC microseconds.
        close: n closes.
        segment: n segment numbers.
        quote_volume: n quote volumes, 0 in filled bars.
        is_filled: n flags.
    """

    symbol_index: IntArray
    open_time: IntArray
    close: FloatArray
    segment: IntArray
    quote_volume: FloatArray
    is_filled: BoolArray


@dataclass(frozen=True)
class Lookback:
    """What one determination date knows.

    Attributes:
        eligibility: The date and its eligibility rules.
        candidates: All symbols listed before the date.
        pairs: (m, 2) index pairs i < j with |rho| above the threshold, in lexicographic order, of
            symbols that are eligible as a member would be.
        rho: m correlations of the pairs.
    """

    eligibility: Eligibility
    candidates: Candidates
    pairs: IntArray
    rho: FloatArray


def look_back(
    symbols: tuple[str, ...],
    first_open_time: IntArray,
    candles: LookbackCandles,
    eligibility: Eligibility,
) -> Lookback:
    """Metrics of every symbol, and the correlated pairs of those that may be held.

    The correlations of a date are over the symbols that pass its eligibility rules with the
    volume that a member needs: a set that was known at the date.

    Args:
        symbols: N symbols listed before the date, in ascending order.
        first_open_time: N opens of their first published bars.
        candles: Their candles of the lookback.
        eligibility: The date and its rules.
    """
    returns = panel_log_returns(candles.close, candles.symbol_index, candles.segment)
    candidates = _candidates(symbols, first_open_time, candles, returns, eligibility.interval)
    refused = refusals(candidates, eligibility, members=frozenset(symbols))
    admitted = np.array([symbol not in refused for symbol in symbols], dtype=np.bool_)
    chosen = np.flatnonzero(admitted)
    rows = admitted[candles.symbol_index]
    codes = np.searchsorted(chosen, candles.symbol_index[rows])
    _, matrix = returns_matrix(codes, candles.open_time[rows], returns[rows])
    threshold = eligibility.rules.correlation_threshold
    pairs, rho = correlated_pairs(correlation_matrix(matrix), threshold)
    return Lookback(eligibility, candidates, chosen[pairs], rho)


def determine_in_turn(
    lookbacks: Iterable[Lookback], rules: RuleSettings
) -> tuple[Determination, ...]:
    """The determinations of an index at ascending dates.

    Members are the symbols that the determination before selected, whatever became of them since:
    one that could not be bought, or was sold because it had stopped trading, is among them.
    """
    made: list[Determination] = []
    for known in lookbacks:
        members = made[-1].members if made else frozenset[str]()
        candidates = known.candidates
        made.append(
            determine(
                candidates.symbols,
                refusals(candidates, known.eligibility, members),
                candidates.sharpe,
                candidates.annual_volatility,
                known.pairs,
                known.rho,
                rules,
                members,
            )
        )
    return tuple(made)


def _candidates(
    symbols: tuple[str, ...],
    first_open_time: IntArray,
    candles: LookbackCandles,
    returns: FloatArray,
    interval: Interval,
) -> Candidates:
    """What the candles and their log returns say about each symbol."""
    bounds = np.searchsorted(candles.symbol_index, np.arange(len(symbols) + 1))
    parts = [slice(start, end) for start, end in pairwise(bounds.tolist())]
    ratios = [risk_and_return(returns[part], interval) for part in parts]
    volumes = [
        median_daily_quote_volume(candles.open_time[part], candles.quote_volume[part])
        for part in parts
    ]
    real = [candles.open_time[part][~candles.is_filled[part]] for part in parts]
    return Candidates(
        symbols=symbols,
        first_open_time=first_open_time,
        last_open_time=np.array([times.max(initial=-1) for times in real], dtype=np.int64),
        real_bars=np.array([times.size for times in real], dtype=np.int64),
        returns=np.array([row.returns for row in ratios], dtype=np.int64),
        # None becomes NaN.
        sharpe=np.array([row.sharpe for row in ratios], dtype=np.float64),
        annual_volatility=np.array([row.annual_volatility for row in ratios], dtype=np.float64),
        median_daily_quote_volume=np.array(volumes, dtype=np.float64),
    )
