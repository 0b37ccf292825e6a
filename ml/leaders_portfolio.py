"""The cluster leaders put through the index's backtest: silver.candles -> levels and statistics.

Eligibility, prices, costs and benchmarks are those of `index` in the settings; the selection is
that of `ml.cluster_leaders`, at the end of each month. Random portfolios of as many eligible names
tell how much is luck.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from pyspark.sql import functions as F

from gold.index_tables import Statistic, level_names, level_rows, statistics
from gold.listings import listings
from gold.random_portfolios import BAND
from gold.rulebook import Rulebook
from gold.walk_forward import WalkForward, determination_dates, hold_in_turn, lookbacks
from lakehouse.arrow import frame_of
from lakehouse.intervals import instant
from lakehouse.sql import equals
from ml import index_plots, kmeans_plots
from ml.cluster_leaders import ClusteredDate, cluster_in_turn, month_to_month
from ml.contracts import LEADER_LEVELS, LEADER_STATISTICS, MONTHLY_CLUSTERS
from ml.index_run import EVALUATION, portfolio_metrics
from ml.plot_style import MARKETS
from silver.contracts import CANDLES, LISTINGS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.settings import Settings
    from lakehouse.tasks import TaskContext
    from ml.tracking import TrackedRun

LEADERS: Final = "cluster_leaders"
MONTHLY_AGREEMENT: Final = "monthly_agreement"


@dataclass(frozen=True)
class LeadersPortfolio:
    """The leaders of each month's clusters, and what holding them did.

    Attributes:
        dates: The clusters of each determination date, ascending.
        walked: What the portfolio did.
        statistics: Of its levels, its benchmarks' and the random portfolios'; none while no
            determination has taken effect.
    """

    dates: tuple[ClusteredDate, ...]
    walked: WalkForward
    statistics: tuple[Statistic, ...]

    def statistic(self, statistic: str, of: str = LEADERS) -> float:
        """One of the statistics; NaN where it is undefined or unknown."""
        named = {(row.index_name, row.statistic): row.value for row in self.statistics}
        value = named.get((of, statistic))
        return np.nan if value is None else value


def leaders_rulebook(settings: Settings) -> Rulebook:
    """The index's rules where they say who is eligible and how trades are done, by month."""
    own = leaders_rules(settings.ml.kmeans.clusters)
    return Rulebook(LEADERS, settings.index.model_copy(update=own))


def leaders_rules(clusters: int) -> dict[str, object]:
    """The rules in which the portfolio differs from the index."""
    return {
        "calendar": "monthly",
        "top_n": clusters,
        "weighting": "equal",
        "cap": 1.0,
        "floor": 0.0,
    }


def leaders_portfolio(context: TaskContext) -> LeadersPortfolio | None:
    """Cluster at the end of each month, and hold the leaders until the next.

    Returns:
        None when the candles do not reach over the lookback before the end of a month.

    Raises:
        NotEnoughData: There are no candles.
    """
    settings = context.settings
    rulebook, market = leaders_rulebook(settings), listings(context)
    days = determination_dates(settings, rulebook, market)
    if not days.size:
        return None
    known = lookbacks(context, rulebook, market, days)
    dates = cluster_in_turn(known, settings.ml.kmeans.clusters, settings.ml.seed)
    made = tuple(date.determination for date in dates)
    walked = hold_in_turn(context, rulebook, market, days, made)
    found: tuple[Statistic, ...] = ()
    if walked.levels is not None:
        names = level_names(LEADERS, walked.has_bitcoin)
        interval, trials = settings.archive.interval, settings.index.trials
        found = tuple(statistics(walked.levels, names, interval, trials))
    return LeadersPortfolio(dates, walked, found)


def leader_figures(settings: Settings, made: LeadersPortfolio | None) -> dict[str, str]:
    """What clustering anew each month gave, for the summary and the report."""
    if made is None:
        days = settings.index.lookback_days
        return {LEADERS: f"none: the candles do not reach over {days} days before a month's end"}
    agreements = [agreement for _, agreement, _ in month_to_month(made.dates)]
    skipped = [f"{_day(date)}: {date.skipped}" for date in made.dates if date.skipped]
    figures = {}
    if agreements:
        figures[MONTHLY_AGREEMENT] = f"{np.mean(agreements):.2f}"
    if made.statistics:
        figures[f"{LEADERS}, total return after costs"] = ", ".join(
            f"{name} {made.statistic('total_return', name):+.1%}"
            for name in level_names(LEADERS, made.walked.has_bitcoin)
        )
    if skipped:
        figures["months not clustered"] = "; ".join(skipped)
    return figures


def track_leaders(context: TaskContext, run: TrackedRun, made: LeadersPortfolio) -> None:
    """Log the portfolio as a child run that is marked as walked forward."""
    rules = leaders_rulebook(context.settings).rules
    params = rules.model_dump(mode="json", include={"calendar", "lookback_days", "cost_bps"})
    k = context.settings.ml.kmeans.clusters
    with run.child("leaders", {"k": k, **params}, {"candlelake.evaluation": EVALUATION}) as child:
        child.log_inputs(CANDLES, LISTINGS)
        found = ((row.index_name, row.statistic, row.value) for row in made.statistics)
        child.log_metrics(portfolio_metrics(LEADERS, found))
        _track_agreement(context, child, made)
        held = [(date, row) for date in made.dates for row in date.determination.holdings]
        clusters = [date.cluster[date.symbols.index(row.symbol)] for date, row in held]
        child.log_csv(
            "leaders.csv",
            {
                "as_of": [_day(date) for date, _ in held],
                "symbol": [row.symbol for _, row in held],
                "cluster": [int(cluster) for cluster in clusters],
                "weight": [row.weight for _, row in held],
                "sharpe": [row.sharpe for _, row in held],
            },
        )
        _draw(context, child, made)


def _track_agreement(context: TaskContext, child: TrackedRun, made: LeadersPortfolio) -> None:
    """Log how far each month's clusters are those of the month before, and the mean of it."""
    agreed = list(month_to_month(made.dates))
    if not agreed:
        return
    times, values = [time for time, _, _ in agreed], np.array([value for _, value, _ in agreed])
    child.log_series(MONTHLY_AGREEMENT, times, values.tolist())
    child.log_metrics({f"mean_{MONTHLY_AGREEMENT}": float(values.mean())})
    days = context.settings.index.lookback_days
    about = f"{' '.join(context.settings.scope.values())}, lookback of {days} days"
    figure = kmeans_plots.month_to_month(np.array(times, dtype="datetime64[us]"), values, about)
    child.log_figure(figure, f"{MONTHLY_AGREEMENT}.png")


def _draw(context: TaskContext, child: TrackedRun, made: LeadersPortfolio) -> None:
    levels = made.walked.levels
    if levels is None:
        return
    times = levels.open_time.astype("datetime64[us]")
    names = level_names(LEADERS, made.walked.has_bitcoin)
    curves = {name: levels.level[:, place] for place, name in enumerate(names)}
    random = levels.level[:, len(names) :]
    band = {edge: np.percentile(random, edge, axis=1) for edge in BAND} if random.size else {}
    scope = context.settings.archive
    about = f"{MARKETS[scope.market]}, {scope.interval}, walk-forward, after costs"
    child.log_figure(index_plots.equity_curves(times, curves, band, LEADERS, about), "equity.png")
    falls = {name: levels.drawdown[:, place] for place, name in enumerate(names)}
    child.log_figure(index_plots.drawdowns(times, falls, LEADERS, about), "drawdown.png")


def write_leaders(context: TaskContext, mlflow_run_id: str, made: LeadersPortfolio) -> None:
    """Put the months' clusters, the levels and the statistics into their tables."""
    stamp = {"run_id": context.run_id, "mlflow_run_id": mlflow_run_id, **context.settings.scope}
    mine = equals({"run_id": context.run_id})
    clustered = [
        {**stamp, "as_of": instant(date.as_of), **row}
        for date in made.dates
        for row in _cluster_rows(date)
    ]
    found = [{**stamp, **asdict(row)} for row in made.statistics]
    for contract, rows in ((MONTHLY_CLUSTERS, clustered), (LEADER_STATISTICS, found)):
        context.lake.replace(contract, context.lake.frame(contract, rows), mine)
    levels = _level_frame(context, made, stamp)
    context.lake.replace(LEADER_LEVELS, levels, mine)


def _level_frame(context: TaskContext, made: LeadersPortfolio, stamp: dict[str, str]) -> DataFrame:
    if made.walked.levels is None:
        return context.lake.frame(LEADER_LEVELS, [])
    names = level_names(LEADERS, made.walked.has_bitcoin)
    rows = frame_of(context.spark, level_rows(made.walked.levels, names, made.walked.stopped))
    return rows.withColumns({name: F.lit(value) for name, value in stamp.items()})


def _day(date: ClusteredDate) -> str:
    return f"{instant(date.as_of):%Y-%m-%d}"


def _cluster_rows(date: ClusteredDate) -> list[dict[str, object]]:
    """Rows of ml.monthly_clusters but for their stamp; none when they were not clustered."""
    details = {row.symbol: row.detail for row in date.determination.decisions}
    return [
        {
            "symbol": symbol,
            "cluster": int(cluster),
            "is_leader": bool(leading),
            "annual_return": float(measures[0]),
            "annual_volatility": float(measures[1]),
            "sharpe": float(measures[2]),
            "detail": details[symbol],
        }
        for symbol, cluster, leading, measures in zip(
            date.symbols, date.cluster, date.is_leader, date.measures, strict=False
        )
    ]
