"""What the cluster leaders' portfolio did, from its tables, as that of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from lakehouse.runs import TASK_RUNS
from lakehouse.sql import equals
from ml.contracts import LEADER_LEVELS, LEADER_STATISTICS, MONTHLY_CLUSTERS
from ml.frames import rows, to_pandas
from ml.index_results import (
    IndexResult,
    levels_by_day,
    recorded_rules,
    recorded_settings,
    rows_of_index,
)
from ml.leaders_portfolio import LEADERS, leaders_rules

if TYPE_CHECKING:
    from lakehouse.settings import Settings
    from lakehouse.tables import Lake


def load_leaders(lake: Lake, settings: Settings, run_id: str) -> IndexResult | None:
    """The portfolio that a run of the task `kmeans` made; None when it made none.

    There are no random levels, and of the decisions those on symbols that were clustered.
    """
    mine = equals({"run_id": run_id})
    if not lake.exists(LEADER_LEVELS):
        return None
    levels = to_pandas(
        levels_by_day(lake.read(LEADER_LEVELS).where(mine), "index_name", "run_id")
    ).assign(rulebook=LEADERS)
    if levels.empty:
        return None
    trades = rows(lake, LEADER_LEVELS, f"{mine} AND index_name = '{LEADERS}' AND turnover > 0")
    clusters = rows(lake, MONTHLY_CLUSTERS, mine).assign(rule="rank", index_name=LEADERS)
    leader = clusters["is_leader"].astype(bool)
    clusters["decision"] = leader.map({True: "selected", False: "not_ranked"})
    held = clusters[leader]
    by_sharpe = held.groupby("as_of")["sharpe"].rank(ascending=False, method="first")
    members = held.groupby("as_of")["symbol"].transform("size")
    recorded = rows(lake, TASK_RUNS, f"task = 'kmeans' AND {mine}")
    made_with = recorded_settings(recorded, run_id, settings)
    tables = {
        "levels": levels,
        "random": pd.DataFrame(columns=["rulebook", "run_id", "open_time"]),
        "trades": trades.assign(rulebook=LEADERS),
        "statistics": rows(lake, LEADER_STATISTICS, mine).assign(rulebook=LEADERS),
        "weights": held.assign(rank=by_sharpe, weight=1 / members),
        "decisions": clusters,
    }
    return IndexResult(
        name=LEADERS,
        run_id=run_id,
        interval=settings.archive.interval,
        rules={
            **recorded_rules(made_with, LEADERS),
            **leaders_rules(made_with["ml"]["kmeans"]["clusters"]),
        },
        **{name: rows_of_index(frame, name, LEADERS) for name, frame in tables.items()},
    )
