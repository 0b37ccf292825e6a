"""Table contracts of the gold layer: metrics, correlations and the indices."""

from gold.random_portfolios import BAND
from lakehouse.contracts import Column, TableContract

_MARKET = Column("market", "STRING", "spot or um (USDT-margined perpetuals)", nullable=False)
_INTERVAL = Column("interval", "STRING", "Bar length in Binance's spelling (4h)", nullable=False)
_AS_OF = Column(
    "as_of",
    "TIMESTAMP",
    "Exclusive end of what was known, UTC: the close of the last bar used",
    nullable=False,
)
_LOOKBACK_DAYS = Column(
    "lookback_days", "INT", "Days of candles before as_of that were used; NULL is all history"
)
_RUN_ID = Column("run_id", "STRING", "Run that wrote the row; joins ops.task_runs", nullable=False)
_INDEX_NAME = Column(
    "index_name", "STRING", "Name of the index (smart_static, smart_monthly)", nullable=False
)
_READ_VERSIONS = Column(
    "read_versions",
    "MAP<STRING, BIGINT>",
    "Delta version of each table that the row was made from",
    nullable=False,
)
_RULEBOOK = Column(
    "rulebook",
    "STRING",
    "Index whose calendar, eligible universe, prices and costs apply: itself, or the index that a "
    "benchmark stands beside",
    nullable=False,
)
_LEVEL_NAME = Column(
    "index_name",
    "STRING",
    "Name of the index, or of a benchmark: equal_weight, buy_and_hold_btc",
    nullable=False,
)
_OPEN_TIME = Column("open_time", "TIMESTAMP", "Open of the bar, UTC", nullable=False)

ASSET_METRICS = TableContract(
    layer="gold",
    name="asset_metrics",
    comment="Return, volatility, Sharpe ratio, drawdown and liquidity of each symbol",
    columns=(
        _MARKET,
        _INTERVAL,
        _AS_OF,
        _LOOKBACK_DAYS,
        Column("symbol", "STRING", "Symbol as in the archive (BTCUSDT)", nullable=False),
        Column("bars", "BIGINT", "Candles of the lookback, filled ones included", nullable=False),
        Column(
            "returns",
            "BIGINT",
            "Log returns of the lookback: bars less one for each segment",
            nullable=False,
        ),
        Column(
            "annual_return",
            "DOUBLE",
            "Mean log return x bars in 365 days, 0.5 is 50 % a year; NULL with 50 returns or fewer",
        ),
        Column(
            "annual_volatility",
            "DOUBLE",
            "Standard deviation (ddof 1) of log returns x sqrt(bars in 365 days); NULL with 50 "
            "returns or fewer",
        ),
        Column(
            "sharpe",
            "DOUBLE",
            "annual_return / annual_volatility, risk-free rate 0; NULL with 50 returns or fewer "
            "or without volatility",
        ),
        Column(
            "max_drawdown",
            "DOUBLE",
            "Deepest fall of the close from its peak within a segment, a fraction <= 0; NULL "
            "without a close",
        ),
        Column(
            "median_daily_quote_volume",
            "DOUBLE",
            "Median over the UTC days that have bars of the day's quote volume, in quote "
            "currency; NULL without a bar",
        ),
        _RUN_ID,
    ),
    key=("market", "interval", "as_of", "lookback_days", "symbol"),
    partitioned_by=("market", "interval"),
    # Delta refuses a row whose condition is NULL, so each says what a NULL means.
    checks={
        "bars_not_negative": "bars >= 0",
        "returns_within_bars": "returns >= 0 AND returns <= bars",
        "annual_volatility_not_negative": "annual_volatility IS NULL OR annual_volatility >= 0",
        "sharpe_needs_volatility": "sharpe IS NULL OR annual_volatility > 0",
        "max_drawdown_not_positive": "max_drawdown IS NULL OR max_drawdown BETWEEN -1 AND 0",
        "median_daily_quote_volume_not_negative": "median_daily_quote_volume IS NULL "
        "OR median_daily_quote_volume >= 0",
        "lookback_days_positive": "lookback_days IS NULL OR lookback_days >= 1",
    },
)

CORRELATIONS = TableContract(
    layer="gold",
    name="correlations",
    comment="Pearson correlation of the log returns of each pair of symbols",
    columns=(
        _MARKET,
        _INTERVAL,
        _AS_OF,
        _LOOKBACK_DAYS,
        Column("symbol_a", "STRING", "First symbol of the pair, before symbol_b", nullable=False),
        Column("symbol_b", "STRING", "Second symbol of the pair", nullable=False),
        Column(
            "rho",
            "DOUBLE",
            "Correlation over the times at which any symbol has a return, a missing one being 0; "
            "NULL where a symbol has no variance",
        ),
        _RUN_ID,
    ),
    key=("market", "interval", "as_of", "lookback_days", "symbol_a", "symbol_b"),
    partitioned_by=("market", "interval"),
    checks={
        "rho_within_bounds": "rho IS NULL OR rho BETWEEN -1 AND 1",
        "each_pair_once": "symbol_a < symbol_b",
        "lookback_days_positive": "lookback_days IS NULL OR lookback_days >= 1",
    },
)

INDEX_WEIGHTS = TableContract(
    layer="gold",
    name="index_weights",
    comment="Members of each index at each determination date",
    columns=(
        _INDEX_NAME,
        _MARKET,
        _INTERVAL,
        _AS_OF,
        Column("symbol", "STRING", "Member of the index", nullable=False),
        Column(
            "weight",
            "DOUBLE",
            "Share of the index; the weights of a date sum to 1",
            nullable=False,
        ),
        Column("rank", "INT", "Place by Sharpe ratio, from 1", nullable=False),
        Column("sharpe", "DOUBLE", "Sharpe ratio by which it was ranked", nullable=False),
        Column(
            "annual_volatility", "DOUBLE", "Volatility by which it was weighted", nullable=False
        ),
        _RUN_ID,
        _READ_VERSIONS,
    ),
    key=("index_name", "market", "interval", "as_of", "symbol"),
    checks={
        "weight_within_bounds": "weight > 0 AND weight <= 1",
        "rank_from_one": "rank >= 1",
        "annual_volatility_positive": "annual_volatility > 0",
    },
)

INDEX_DECISIONS = TableContract(
    layer="gold",
    name="index_decisions",
    comment="What became of each symbol at each determination date of an index, and why",
    columns=(
        _INDEX_NAME,
        _MARKET,
        _INTERVAL,
        _AS_OF,
        Column("symbol", "STRING", "Symbol listed before as_of", nullable=False),
        Column(
            "decision",
            "STRING",
            "selected, dropped, not_ranked or ineligible",
            nullable=False,
        ),
        Column(
            "rule",
            "STRING",
            "Rule that decided: exclusion, history, trading, liquidity, correlation or rank",
            nullable=False,
        ),
        Column(
            "detail",
            "STRING",
            "The numbers that decided; for correlation also the symbol that won",
            nullable=False,
        ),
        _RUN_ID,
        _READ_VERSIONS,
    ),
    key=("index_name", "market", "interval", "as_of", "symbol"),
    checks={
        "decision_known": "decision IN ('selected', 'dropped', 'not_ranked', 'ineligible')",
        "rule_known": "rule IN ('exclusion', 'history', 'trading', 'liquidity', 'correlation', "
        "'rank')",
    },
)

INDEX_LEVELS = TableContract(
    layer="gold",
    name="index_levels",
    comment="Level of each walk-forward index and of its benchmarks at the close of each bar",
    columns=(
        _RULEBOOK,
        _LEVEL_NAME,
        _MARKET,
        _INTERVAL,
        _OPEN_TIME,
        Column("level", "DOUBLE", "Level at the bar's close, 1,000 at the start", nullable=False),
        Column(
            "period_return",
            "DOUBLE",
            "level / level before - 1, costs included; NULL at the start",
        ),
        Column(
            "cost",
            "DOUBLE",
            "Costs of the bar's trades, a fraction of the value before them",
            nullable=False,
        ),
        Column(
            "turnover",
            "DOUBLE",
            "One-way turnover of the bar's trades: half the sum of absolute weight changes, cash "
            "counted as a holding, so the first purchase is 1",
            nullable=False,
        ),
        Column("drawdown", "DOUBLE", "level / highest level so far - 1, <= 0", nullable=False),
        Column(
            "sold",
            "ARRAY<STRING>",
            "Members that had stopped trading and were sold into cash at their last price; NULL "
            "without any and for benchmarks",
        ),
        _RUN_ID,
        _READ_VERSIONS,
    ),
    key=("rulebook", "index_name", "market", "interval", "open_time"),
    checks={
        "level_positive": "level > 0",
        "cost_within_bounds": "cost BETWEEN 0 AND 1",
        "turnover_not_negative": "turnover >= 0",
        "drawdown_not_positive": "drawdown BETWEEN -1 AND 0",
    },
)

INDEX_RANDOM_LEVELS = TableContract(
    layer="gold",
    name="index_random_levels",
    comment="What random portfolios beside each index did: quantiles of their levels at each bar",
    columns=(
        _RULEBOOK,
        _MARKET,
        _INTERVAL,
        _OPEN_TIME,
        *(
            Column(
                name,
                "DOUBLE",
                f"{percent} % of the random portfolios stand at or below this level at the close",
                nullable=False,
            )
            for percent, name in BAND.items()
        ),
        _RUN_ID,
        _READ_VERSIONS,
    ),
    key=("rulebook", "market", "interval", "open_time"),
    checks={"in_order": "p05 <= p25 AND p25 <= p50 AND p50 <= p75 AND p75 <= p95"},
)

INDEX_STATISTICS = TableContract(
    layer="gold",
    name="index_statistics",
    comment="Statistics of each walk-forward index and of its benchmarks",
    columns=(
        _RULEBOOK,
        _LEVEL_NAME,
        _MARKET,
        _INTERVAL,
        Column("statistic", "STRING", "Its name (sharpe, beta_equal_weight)", nullable=False),
        Column(
            "value",
            "DOUBLE",
            "Its value: fractions of 1, days or ratios; NULL where undefined and for a date",
        ),
        Column("at", "TIMESTAMP", "Open of the bar that a date names, UTC; NULL for a number"),
        _RUN_ID,
        _READ_VERSIONS,
    ),
    key=("rulebook", "index_name", "market", "interval", "statistic"),
    checks={"a_number_or_a_date": "value IS NULL OR at IS NULL"},
)
