"""What walk-forward figures mean, in words: the same in a task's message, a run and the report."""

from collections.abc import Mapping
from math import isfinite, nan

TINY_RANK_IC = 0.02
"""Rank information coefficient below which ranking symbols by the forecast is hardly better than
guessing; below 0 it is worse."""

_SIGNIFICANT_T = 2.0


def verdict(figures: Mapping[str, float]) -> str:
    """Whether a forecast has skill; empty without an R².

    Args:
        figures: `oos_r2` is measured against the zero forecast, `rank_ic` across symbols with its
            t-statistic `rank_ic_t`; one that is missing says nothing.
    """
    r2, rank_ic = figures.get("oos_r2", nan), figures.get("rank_ic", nan)
    if not isfinite(r2):
        return ""
    if r2 <= 0:
        return "No skill: the forecasts are no better than a forecast of zero"
    if rank_ic < TINY_RANK_IC:
        return "No skill to speak of: its ranking of symbols is hardly better than guessing"
    if figures.get("rank_ic_t", nan) < _SIGNIFICANT_T:
        return "No skill to speak of: its ranking of symbols may well be chance"
    return "Better than a forecast of zero"
