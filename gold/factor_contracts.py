"""Table contracts of the factor model: buckets, factor returns and exposures."""

from gold.contracts import ASSET_METRICS, INDEX_LEVELS
from gold.factor_names import (
    BUCKET_FACTORS,
    BUCKETS,
    CHARACTERISTICS,
    LONG_SHORT_FACTORS,
    MARKET_RETURN,
    beta_name,
)
from lakehouse.contracts import Column, TableContract
from lakehouse.sql import is_in

_OF = {column.name: column for column in (*INDEX_LEVELS.columns, *ASSET_METRICS.columns)}
_SCOPE = (_OF["market"], _OF["interval"])
_SYMBOL, _OPEN_TIME, _RUN_ID = _OF["symbol"], _OF["open_time"], _OF["run_id"]
_BUCKETS = Column(
    "buckets",
    "STRING",
    "How the coins were sorted: trailing (from the past alone) or static (from the whole sample: "
    "in-sample)",
    nullable=False,
)
_MONTH = Column("month", "STRING", "UTC month of open_time, YYYY-MM", nullable=False)

_KNOWN_BUCKETS = {"known_buckets": "buckets IN ('trailing', 'static')"}

FACTOR_BUCKETS = TableContract(
    layer="gold",
    name="factor_buckets",
    comment="Third of the market that each coin was in by each characteristic: from as_of on, or, "
    "static (lookback_days is NULL), over the sample that ends then",
    columns=(
        *_SCOPE,
        _OF["as_of"],
        Column(
            "lookback_days",
            "INT",
            "Days of candles before as_of that were used; NULL is all history: in-sample",
        ),
        Column("factor", "STRING", "Characteristic: liquidity, volatility or momentum", False),
        _SYMBOL,
        Column(
            "value",
            "DOUBLE",
            "The characteristic: mean trades a bar; cov(coin, market) / var(coin); or the mean "
            "over the last day of the coin's summed rolling returns",
            nullable=False,
        ),
        Column("bucket", "STRING", "low, medium or high third by rank", nullable=False),
        _RUN_ID,
    ),
    key=("market", "interval", "as_of", "factor", "symbol"),
    partitioned_by=("market", "interval"),
    checks={
        "known_factor": is_in("factor", CHARACTERISTICS),
        "known_bucket": is_in("bucket", BUCKETS),
        "lookback_days_positive": "lookback_days IS NULL OR lookback_days >= 1",
    },
)

FACTOR_RETURNS = TableContract(
    layer="gold",
    name="factor_returns",
    comment="Return of the market and of each bucket of coins in each bar, by simple returns",
    columns=(
        *_SCOPE,
        _OPEN_TIME,
        Column(
            MARKET_RETURN,
            "DOUBLE",
            "Mean of (close - open) / open over the coins that have the bar",
            nullable=False,
        ),
        *(
            Column(
                name,
                "DOUBLE",
                f"Mean return of the coins with {name.replace('_', ' in bucket ')}; NULL where "
                "none of them has the bar or the buckets are not known yet",
            )
            for name in BUCKET_FACTORS
        ),
        *(
            Column(name, "DOUBLE", f"{name.split('_')[0]}_high less {name.split('_')[0]}_low")
            for name in LONG_SHORT_FACTORS
        ),
        Column("coins", "BIGINT", "Coins that have the bar", nullable=False),
        _BUCKETS,
        _MONTH,
        _RUN_ID,
    ),
    key=("market", "interval", "open_time"),
    partitioned_by=("market", "interval", "month"),
    checks={**_KNOWN_BUCKETS, "some_coins": "coins >= 1"},
)

FACTOR_EXPOSURES = TableContract(
    layer="gold",
    name="factor_exposures",
    comment="Rolling ridge regression of each coin's returns on the factors, at each bar's close",
    columns=(
        *_SCOPE,
        _SYMBOL,
        Column(
            "open_time",
            "TIMESTAMP",
            "Open of the window's last bar, UTC; the row is known at its close",
            nullable=False,
        ),
        Column(
            "constant",
            "DOUBLE",
            "Intercept, a return of one bar; NULL, as all coefficients, where double precision "
            "cannot tell them",
        ),
        Column(beta_name(MARKET_RETURN), "DOUBLE", "Coefficient of market_return"),
        *(
            Column(beta_name(name), "DOUBLE", f"Coefficient of {name}; NULL if it is no factor")
            for name in (*BUCKET_FACTORS, *LONG_SHORT_FACTORS)
        ),
        Column(
            "r2",
            "DOUBLE",
            "1 - residual / total sum of squares; NULL where the coefficients are, and for a coin "
            "that does not vary, or by 1e-5 of its mean at most",
        ),
        Column(
            "adj_r2", "DOUBLE", "1 - (1 - r2)(bars - 1) / (bars - coefficients); NULL where r2 is"
        ),
        Column(
            "residual_variance",
            "DOUBLE",
            "Residual sum of squares / (bars - 1), (1 - r2) x the coin's sample variance: its "
            "specific variance per bar; NULL where the coefficients are, and below two bars",
        ),
        Column("bars", "BIGINT", "Bars of the window that the regression used", nullable=False),
        Column(
            "condition_number",
            "DOUBLE",
            "Of the constant, the factors and the penalty, scaled to columns of length 1, in the "
            "Frobenius norm: root of coefficients x sum of variance inflation factors",
        ),
        _BUCKETS,
        _MONTH,
        _RUN_ID,
    ),
    key=("market", "interval", "symbol", "open_time"),
    partitioned_by=("market", "interval", "month"),
    checks={
        **_KNOWN_BUCKETS,
        "r2_at_most_one": "r2 IS NULL OR r2 <= 1",
        "residual_variance_not_negative": "residual_variance IS NULL OR residual_variance >= 0",
        "condition_at_least_one": "condition_number IS NULL OR condition_number >= 1",
        "some_bars": "bars >= 1",
    },
    skip_by=("symbol", "open_time"),
)

TABLES = (FACTOR_BUCKETS, FACTOR_RETURNS, FACTOR_EXPOSURES)
