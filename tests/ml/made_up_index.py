"""A small made-up walk-forward index: the rows of its tables, and what is to be read from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ml.index_results import IndexResult

NAME, RUN_ID = "smart_monthly", "run-index"
NAMES = (NAME, "equal_weight", "buy_and_hold_btc")
BAR = pd.Timedelta(hours=4)
START = pd.Timestamp("2024-12-31 20:00", tz="UTC")
DATES = [pd.Timestamp(f"2025-0{month}-01", tz="UTC") for month in (1, 2, 3)]
BARS = 1 + 59 * 6  # January and February
STOPPED_AT = pd.Timestamp("2025-01-20 08:00", tz="UTC")
HOSTILE = "<b>$\\frac$USDT"  # neither markup nor a formula
MEMBERS = (
    {"AUSDT": 0.5, HOSTILE: 0.3, "GONEUSDT": 0.2},
    {"AUSDT": 0.6, "NEWUSDT": 0.4},
    {"AUSDT": 0.6, "NEWUSDT": 0.4},
)
REASONS = {
    (1, HOSTILE): ("dropped", "correlation", "rho 0.910 with AUSDT > 0.85; Sharpe 0.1 < 0.2"),
    (1, "GONEUSDT"): ("ineligible", "trading", "last bar 2025-01-18 08:00"),
}
TRADES = {
    START + BAR: (1.0, 0.001, None),
    STOPPED_AT: (0.2, 0.0002, ["GONEUSDT"]),
    DATES[1]: (0.4, 0.0004, None),
}
RULES: dict[str, Any] = {
    "calendar": "monthly",
    "lookback_days": 90,
    "exclusions": {"stable": ["USDC"]},
    "correlation_threshold": 0.85,
    "top_n": 20,
    "rank_buffer": 0,
    "cap": 1.0,
    "floor": 0.0,
    "delay_bars": 0,
    "weighting": "inverse_volatility",
    "execution": "next_open",
    "cost_bps": 10,
    "random_portfolios": 500,
    "trials": 3,
}
CHANGES = [
    (DATES[0], "in", "AUSDT", 0.5, "rank", "rank 1"),
    (DATES[0], "in", HOSTILE, 0.3, "rank", "rank 2"),
    (DATES[0], "in", "GONEUSDT", 0.2, "rank", "rank 3"),
    (DATES[1], "in", "NEWUSDT", 0.4, "rank", "rank 2"),
    (DATES[1], "out", HOSTILE, None, *REASONS[1, HOSTILE][1:]),
    (DATES[1], "out", "GONEUSDT", None, *REASONS[1, "GONEUSDT"][1:]),
]
"""as_of, change, symbol, weight, rule and detail."""
STATISTICS: list[tuple[str, str, float | None, pd.Timestamp | None]] = [
    (NAME, "total_return", -0.1, None),
    (NAME, "sharpe", -0.4, None),
    (NAME, "max_drawdown_peak", None, DATES[0]),
    (NAME, "max_drawdown_recovery", None, None),
    (NAME, "beta_equal_weight", 0.8, None),
    (NAME, "random_share_below", 0.864, None),
    (NAME, "random_p05_total_return", -0.3, None),
    (NAME, "random_p95_total_return", 0.05, None),
    ("equal_weight", "total_return", -0.05, None),
    ("equal_weight", "sharpe", None, None),
    ("equal_weight", "best_day", 0.2, None),
    ("buy_and_hold_btc", "total_return", -0.1, None),
]


def level_rows() -> list[dict[str, Any]]:
    """Rows of gold.index_levels but for their stamp."""
    rows: list[dict[str, Any]] = []
    for place, name in enumerate(NAMES):
        returns = np.random.default_rng(place).normal(0, 0.01, BARS - 1)
        level = 1000 * np.cumprod([1.0, *(1 + returns)])
        fall = level / np.maximum.accumulate(level) - 1
        for bar in range(BARS):
            time = START + bar * BAR
            turnover, cost, sold = TRADES.get(time, (0, 0, None)) if name == NAME else (0, 0, None)
            rows.append(
                {
                    "index_name": name,
                    "open_time": time,
                    "level": float(level[bar]),
                    "period_return": float(returns[bar - 1]) if bar else None,
                    "cost": float(cost),
                    "turnover": float(turnover),
                    "drawdown": float(fall[bar]),
                    "sold": sold,
                }
            )
    return rows


def random_rows() -> list[dict[str, Any]]:
    """Rows of gold.index_random_levels but for their stamp."""
    spread = {"p05": -2.0, "p25": -1.0, "p50": 0.0, "p75": 1.0, "p95": 2.0}
    return [
        {
            "open_time": START + bar * BAR,
            **{p: float(1000 * np.exp(z * 0.01 * np.sqrt(bar))) for p, z in spread.items()},
        }
        for bar in range(BARS)
    ]


def weight_rows() -> list[dict[str, Any]]:
    """Rows of gold.index_weights but for their stamp."""
    return [
        {
            "as_of": date,
            "symbol": symbol,
            "weight": weight,
            "rank": rank,
            "sharpe": 1.0,
            "annual_volatility": 1.0,
        }
        for date, members in zip(DATES, MEMBERS, strict=True)
        for rank, (symbol, weight) in enumerate(members.items(), 1)
    ]


def decision_rows() -> list[dict[str, Any]]:
    """Rows of gold.index_decisions but for their stamp: one for each symbol ever a member."""
    rows = []
    for place, (date, members) in enumerate(zip(DATES, MEMBERS, strict=True)):
        for symbol in sorted({symbol for each in MEMBERS for symbol in each}):
            why = ("ineligible", "history", "too young")
            if symbol in members:
                why = ("selected", "rank", f"rank {list(members).index(symbol) + 1}")
            decision, rule, detail = REASONS.get((place, symbol), why)
            row = {"as_of": date, "symbol": symbol}
            rows.append({**row, "decision": decision, "rule": rule, "detail": detail})
    return rows


def statistic_rows() -> list[dict[str, Any]]:
    """Rows of gold.index_statistics but for their stamp."""
    names = ("index_name", "statistic", "value", "at")
    return [dict(zip(names, row, strict=True)) for row in STATISTICS]


def index_result() -> IndexResult:
    """What is to be read from these rows."""
    levels = pd.DataFrame(level_rows())
    day = levels["open_time"].dt.floor("D")
    by_day = levels.groupby(["index_name", day, levels["period_return"].isna()], sort=False)
    last = by_day[["index_name", "open_time", "level", "drawdown"]].tail(1).reset_index(drop=True)
    random = pd.DataFrame(random_rows())
    own = levels[levels["index_name"] == NAME]
    trades = own[own["turnover"] > 0][["open_time", "turnover", "cost", "sold"]]
    statistics = pd.DataFrame(statistic_rows())
    return IndexResult(
        name=NAME,
        run_id=RUN_ID,
        interval="4h",
        rules=RULES,
        levels=last.assign(deepest_drawdown=by_day["drawdown"].min().to_numpy()),
        random=random[random["open_time"].isin(last["open_time"])].reset_index(drop=True),
        trades=trades.reset_index(drop=True),
        statistics=statistics.assign(at=pd.to_datetime(statistics["at"], utc=True)),
        weights=pd.DataFrame(weight_rows())[["as_of", "symbol", "weight", "rank"]],
        decisions=pd.DataFrame(decision_rows()),
    )
