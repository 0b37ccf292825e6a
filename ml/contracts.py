"""Table contracts of the ml layer: the features the trees learn from, and what the models found."""

from lakehouse.contracts import Column, TableContract

_MARKET = Column("market", "STRING", "`spot` or `um` (USDT-margined perpetuals).", nullable=False)
_INTERVAL = Column("interval", "STRING", "Bar length in Binance's spelling (`4h`).", nullable=False)
_RUN_ID = Column("run_id", "STRING", "Run that wrote the row; joins ops.task_runs.", nullable=False)
_MLFLOW_RUN_ID = Column(
    "mlflow_run_id", "STRING", "MLflow run with the model, metrics and plots.", nullable=False
)
_OF_MODEL = (_RUN_ID, _MLFLOW_RUN_ID, _MARKET, _INTERVAL)
_SYMBOL = Column("symbol", "STRING", "Symbol as in the archive (`BTCUSDT`).", nullable=False)
_OPEN_TIME = Column(
    "open_time",
    "TIMESTAMP",
    "Start of the bar at whose close the features are known, UTC.",
    nullable=False,
)
_TARGET = "Log return of the next bar"
_AS_OF = Column(
    "as_of",
    "TIMESTAMP",
    "Exclusive end of what was known, UTC: the close of the last bar used.",
    nullable=False,
)

FEATURES = TableContract(
    layer="ml",
    name="features",
    comment="What the trees learn from: features known at each bar's close, and the next return.",
    columns=(
        _MARKET,
        _INTERVAL,
        _SYMBOL,
        _OPEN_TIME,
        Column("ret_lag1", "DOUBLE", "Log return of the bar; NULL at a segment's first bar."),
        Column("ret_lag2", "DOUBLE", "Log return of the bar before; NULL outside the segment."),
        Column("ret_lag3", "DOUBLE", "Log return two bars before; NULL outside the segment."),
        Column(
            "ma_ratio",
            "DOUBLE",
            "Mean of the last 7 closes over that of the last 30; NULL until the segment has 30.",
        ),
        Column(
            "volatility_7",
            "DOUBLE",
            "Sample standard deviation of the last 7 log returns, not annualised; NULL until the "
            "segment has them.",
        ),
        Column("target", "DOUBLE", f"{_TARGET}; NULL at a segment's last bar."),
        _RUN_ID,
    ),
    key=("market", "interval", "symbol", "open_time"),
    partitioned_by=("market", "interval"),
    # Delta refuses a row whose condition is NULL, so each says what a NULL means.
    checks={
        "ma_ratio_positive": "ma_ratio IS NULL OR ma_ratio > 0",
        "volatility_7_not_negative": "volatility_7 IS NULL OR volatility_7 >= 0",
    },
)

PCA_COMPONENTS = TableContract(
    layer="ml",
    name="pca_components",
    comment="Principal components of the covariance of log returns, bars x symbols.",
    columns=(
        *_OF_MODEL,
        Column("component", "INT", "Place by explained variance, from 1.", nullable=False),
        Column(
            "explained_variance",
            "DOUBLE",
            "Share of the total variance, a fraction.",
            nullable=False,
        ),
        Column(
            "cumulative_variance",
            "DOUBLE",
            "Share of the total variance of this component and those before it, a fraction.",
            nullable=False,
        ),
    ),
    key=("run_id", "component"),
    checks={
        "component_from_one": "component >= 1",
        # Rounding may carry a sum of shares a few ulp past 1.
        "shares_of_one": "explained_variance >= 0 AND explained_variance <= cumulative_variance "
        "AND cumulative_variance <= 1 + 1e-9",
    },
)

PCA_WINDOWS = TableContract(
    layer="ml",
    name="pca_windows",
    comment="Principal components of trailing windows that end with each month.",
    columns=(
        *_OF_MODEL,
        _AS_OF,
        Column("lookback_days", "INT", "Days of candles in the window.", nullable=False),
        Column("symbols", "BIGINT", "Symbols that the window covers.", nullable=False),
        Column("bars", "BIGINT", "Bars at which any of them has a return.", nullable=False),
        Column("component", "INT", "Place by explained variance, from 1.", nullable=False),
        Column(
            "explained_variance",
            "DOUBLE",
            "Share of the window's variance, a fraction.",
            nullable=False,
        ),
        Column(
            "cumulative_variance",
            "DOUBLE",
            "Share of this component and those before it, a fraction.",
            nullable=False,
        ),
        Column(
            "standardised_variance",
            "DOUBLE",
            "The component's share when each symbol's returns are divided by their standard "
            "deviation, a fraction; of component 1 how much the market moved as one.",
            nullable=False,
        ),
    ),
    key=("run_id", "as_of", "component"),
    checks={
        "component_from_one": "component >= 1",
        "shares_of_one": "explained_variance >= 0 AND explained_variance <= cumulative_variance "
        "AND cumulative_variance <= 1 + 1e-9",
    },
)

CLUSTERS = TableContract(
    layer="ml",
    name="clusters",
    comment="KMeans clusters of symbols by standardised return, volatility and Sharpe ratio.",
    columns=(
        *_OF_MODEL,
        _AS_OF,
        _SYMBOL,
        Column(
            "cluster",
            "INT",
            "Cluster from 0, in descending order of the mean Sharpe ratio.",
            nullable=False,
        ),
        Column(
            "is_leader",
            "BOOLEAN",
            "Whether it has the highest Sharpe ratio of its cluster; exactly one has.",
            nullable=False,
        ),
        Column("annual_return", "DOUBLE", "As in gold.asset_metrics.", nullable=False),
        Column("annual_volatility", "DOUBLE", "As in gold.asset_metrics.", nullable=False),
        Column("sharpe", "DOUBLE", "As in gold.asset_metrics.", nullable=False),
    ),
    key=("run_id", "symbol"),
    checks={"cluster_from_zero": "cluster >= 0", "volatility_positive": "annual_volatility > 0"},
)

MONTHLY_CLUSTERS = TableContract(
    layer="ml",
    name="monthly_clusters",
    comment="KMeans clusters of the eligible symbols at each month's end, from the past alone.",
    columns=(
        *_OF_MODEL,
        _AS_OF,
        _SYMBOL,
        Column(
            "cluster",
            "INT",
            "Cluster of the date from 0, in descending order of the mean Sharpe ratio.",
            nullable=False,
        ),
        Column(
            "is_leader",
            "BOOLEAN",
            "Whether it has the highest Sharpe ratio of its cluster and is held.",
            nullable=False,
        ),
        Column("annual_return", "DOUBLE", "Of the index's lookback.", nullable=False),
        Column("annual_volatility", "DOUBLE", "Of the index's lookback.", nullable=False),
        Column("sharpe", "DOUBLE", "Of the index's lookback.", nullable=False),
        Column("detail", "STRING", "Who leads its cluster, and the numbers.", nullable=False),
    ),
    key=("run_id", "as_of", "symbol"),
    checks={"cluster_from_zero": "cluster >= 0", "volatility_positive": "annual_volatility > 0"},
)

_LEADER_NAME = Column(
    "index_name",
    "STRING",
    "cluster_leaders, or its benchmark: equal_weight, buy_and_hold_btc.",
    nullable=False,
)

LEADER_LEVELS = TableContract(
    layer="ml",
    name="leader_levels",
    comment="Level of the portfolio of cluster leaders and of its benchmarks at each bar's close.",
    columns=(
        *_OF_MODEL,
        _LEADER_NAME,
        Column("open_time", "TIMESTAMP", "Open of the bar, UTC.", nullable=False),
        Column("level", "DOUBLE", "Level at the bar's close, 1,000 at the start.", nullable=False),
        Column("period_return", "DOUBLE", "As in gold.index_levels; NULL at the start."),
        Column("cost", "DOUBLE", "As in gold.index_levels.", nullable=False),
        Column("turnover", "DOUBLE", "As in gold.index_levels.", nullable=False),
        Column("drawdown", "DOUBLE", "As in gold.index_levels, <= 0.", nullable=False),
        Column("sold", "ARRAY<STRING>", "As in gold.index_levels; NULL without any."),
    ),
    key=("run_id", "index_name", "open_time"),
    checks={
        "level_positive": "level > 0",
        "cost_within_bounds": "cost BETWEEN 0 AND 1",
        "turnover_not_negative": "turnover >= 0",
        "drawdown_not_positive": "drawdown BETWEEN -1 AND 0",
    },
)

LEADER_STATISTICS = TableContract(
    layer="ml",
    name="leader_statistics",
    comment="Statistics of the portfolio of cluster leaders and of its benchmarks.",
    columns=(
        *_OF_MODEL,
        _LEADER_NAME,
        Column("statistic", "STRING", "Its name, as in gold.index_statistics.", nullable=False),
        Column("value", "DOUBLE", "Its value; NULL where undefined and for a date."),
        Column("at", "TIMESTAMP", "Open of the bar that a date names, UTC; NULL for a number."),
    ),
    key=("run_id", "index_name", "statistic"),
    checks={"a_number_or_a_date": "value IS NULL OR at IS NULL"},
)

FEATURE_IMPORTANCES = TableContract(
    layer="ml",
    name="feature_importances",
    comment="What the trees that predict the next return rest on, while fitted and out of sample.",
    columns=(
        *_OF_MODEL,
        Column("feature", "STRING", "Column of ml.features.", nullable=False),
        Column(
            "importance",
            "DOUBLE",
            "In-sample: share of the loss reduction while the trees were fitted to all rows; the "
            "shares sum to 1.",
            nullable=False,
        ),
        Column(
            "permutation_importance",
            "DOUBLE",
            "Out of sample: fall of the walk-forward R2 against zero when the feature's values "
            "are shuffled; below 0 where the forecasts do better without it.",
        ),
    ),
    key=("run_id", "feature"),
    checks={"importance_within_bounds": "importance BETWEEN 0 AND 1 + 1e-9"},
)

NEWEST = "newest"
"""The split of predictions whose target is not known yet."""

PREDICTIONS = TableContract(
    layer="ml",
    name="predictions",
    comment="Predictions of the trees, walking forward over the past and for the newest bar: each "
    "from a model fitted on what was known before.",
    columns=(
        *_OF_MODEL,
        _SYMBOL,
        _OPEN_TIME,
        Column("target", "DOUBLE", f"{_TARGET}, which came true; NULL of the newest bar."),
        Column("prediction", "DOUBLE", f"{_TARGET}, as predicted.", nullable=False),
        Column(
            "split",
            "STRING",
            f"Walk-forward fold that it is from (`fold_1`), or `{NEWEST}`.",
            nullable=False,
        ),
        Column(
            "model_version",
            "BIGINT",
            "Version of the registered model that predicted the newest bar; NULL of folds.",
        ),
    ),
    key=("run_id", "symbol", "open_time"),
    checks={
        "split_is_a_fold_or_newest": f"split = '{NEWEST}' OR split RLIKE '^fold_[0-9]+$'",
        "target_of_the_past": f"(split = '{NEWEST}') = (target IS NULL)",
        "version_of_the_newest": f"(split = '{NEWEST}') = (model_version IS NOT NULL)",
    },
)
