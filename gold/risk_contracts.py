"""Table contracts of the factor model's use: statistics of the factors, risk of portfolios."""

from gold.contracts import INDEX_WEIGHTS
from gold.factor_contracts import FACTOR_RETURNS
from lakehouse.contracts import Column, TableContract

_OF = {column.name: column for column in (*FACTOR_RETURNS.columns, *INDEX_WEIGHTS.columns)}
_SCOPE = (_OF["market"], _OF["interval"])
_RUN = (_OF["run_id"], _OF["read_versions"])
_AS_OF, _BUCKETS = _OF["as_of"], _OF["buckets"]
_PORTFOLIO = (
    Column(
        "portfolio",
        "STRING",
        "Index of gold.index_weights, or all_coins: those that have exposures, in equal weights",
        nullable=False,
    ),
    *_SCOPE,
    Column(
        "weights_interval",
        "STRING",
        "Bar length that the weights were determined from",
        nullable=False,
    ),
    Column(
        "as_of",
        "TIMESTAMP",
        "Close of the bar whose exposures these are, UTC: the last one of a day",
        nullable=False,
    ),
)

FACTOR_STATISTICS = TableContract(
    layer="gold",
    name="factor_statistics",
    comment="What each factor earned and at what risk, over all its history up to the newest bar",
    columns=(
        *_SCOPE,
        _AS_OF,
        Column(
            "factor",
            "STRING",
            "Column of gold.factor_returns; <characteristic>_high_minus_low is a sort's spread",
            nullable=False,
        ),
        _BUCKETS,
        Column("bars", "BIGINT", "Bars at which it has a return", nullable=False),
        Column("annual_return", "DOUBLE", "Mean return x bars in 365 days; NULL without a bar"),
        Column(
            "annual_volatility",
            "DOUBLE",
            "Standard deviation (ddof 1) x sqrt(bars in 365 days); NULL below two bars",
        ),
        Column("sharpe", "DOUBLE", "annual_return / annual_volatility; NULL without volatility"),
        Column(
            "newey_west_t",
            "DOUBLE",
            "t statistic of the mean, robust to autocorrelation (Newey and West, 1987, Bartlett's "
            "weights); NULL without volatility",
        ),
        Column(
            "newey_west_lags",
            "INT",
            "Lags that it allows for: floor(4 (bars / 100)^(2/9))",
            nullable=False,
        ),
        Column(
            "monotonicity",
            "DOUBLE",
            "Of a spread: Spearman correlation of low, medium, high with the buckets' mean "
            "returns at bars at which all three have one, 1 when they rise; NULL for a factor that "
            "is no spread, and of equal means",
        ),
        *_RUN,
    ),
    key=("market", "interval", "as_of", "factor"),
    partitioned_by=("market", "interval"),
    checks={
        "bars_not_negative": "bars >= 0",
        "annual_volatility_not_negative": "annual_volatility IS NULL OR annual_volatility >= 0",
        "monotonicity_within_bounds": "monotonicity IS NULL OR monotonicity BETWEEN -1 AND 1",
    },
)

FACTOR_CORRELATIONS = TableContract(
    layer="gold",
    name="factor_correlations",
    comment="Pearson correlation of the returns of each pair of factors and spreads, over all "
    "their history up to the newest bar",
    columns=(
        *_SCOPE,
        _AS_OF,
        Column("factor_a", "STRING", "First factor of the pair, before factor_b", nullable=False),
        Column("factor_b", "STRING", "Second factor of the pair", nullable=False),
        Column(
            "rho",
            "DOUBLE",
            "Correlation over the bars at which every factor has a return; NULL where one never "
            "moves",
        ),
        _BUCKETS,
        *_RUN,
    ),
    key=("market", "interval", "as_of", "factor_a", "factor_b"),
    partitioned_by=("market", "interval"),
    checks={
        "rho_within_bounds": "rho IS NULL OR rho BETWEEN -1 AND 1",
        "each_pair_once": "factor_a < factor_b",
    },
)

PORTFOLIO_RISK = TableContract(
    layer="gold",
    name="portfolio_risk",
    comment="Risk of each portfolio by the factor model, at the end of each day",
    columns=(
        *_PORTFOLIO,
        Column(
            "weights_as_of",
            "TIMESTAMP",
            "Determination whose weights these are, UTC; they are held without drift",
            nullable=False,
        ),
        Column(
            "bars",
            "BIGINT",
            "Bars of the window at which all factors have a return: those behind the covariance",
            nullable=False,
        ),
        Column(
            "covered_weight",
            "DOUBLE",
            "Sum of the weights of holdings that have exposures; all figures are of these alone",
            nullable=False,
        ),
        Column(
            "uncovered",
            "MAP<STRING, DOUBLE>",
            "Holdings without exposures at as_of and their weights, in no figure of this row",
            nullable=False,
        ),
        Column(
            "annual_volatility",
            "DOUBLE",
            "sqrt(factor_variance + specific_variance); as the figures below NULL where no holding "
            "has exposures or the covariance is unknown",
        ),
        Column("factor_variance", "DOUBLE", "b'Fb of the exposures b, x bars in 365 days"),
        Column(
            "specific_variance",
            "DOUBLE",
            "Sum of weight^2 x residual variance, x bars in 365 days",
        ),
        Column(
            "stress",
            "MAP<STRING, DOUBLE>",
            "Factors of the stress test and their returns (-0.2 is a fall of 20 %)",
            nullable=False,
        ),
        Column(
            "stress_return",
            "DOUBLE",
            "Return of the portfolio when these factors move and the others stand still; < 0 is a "
            "loss. NULL when one of them is not among the model's factors",
        ),
        Column(
            "conditional_stress_return",
            "DOUBLE",
            "The same when the others move as they did on average with these",
        ),
        _BUCKETS,
        *_RUN,
    ),
    key=("portfolio", "market", "interval", "weights_interval", "as_of"),
    checks={
        "bars_not_negative": "bars >= 0",
        "specific_variance_not_negative": "specific_variance IS NULL OR specific_variance >= 0",
    },
)

RISK_CONTRIBUTIONS = TableContract(
    layer="gold",
    name="risk_contributions",
    comment="Variance of each portfolio by factor and by holding, at the end of each day",
    columns=(
        *_PORTFOLIO,
        Column(
            "component",
            "STRING",
            "factor or holding; the variance of the factors and the specific variance sum to that "
            "of the holdings",
            nullable=False,
        ),
        Column("name", "STRING", "The factor or the symbol", nullable=False),
        Column(
            "exposure",
            "DOUBLE",
            "Of a factor, the portfolio's exposure b_k; of a holding, its weight",
            nullable=False,
        ),
        Column(
            "factor_variance",
            "DOUBLE",
            "Contribution to factor_variance: b_k (F b)_k of a factor, w_i (B F b)_i of a holding",
        ),
        Column(
            "specific_variance",
            "DOUBLE",
            "Contribution to specific_variance: w_i^2 x residual variance; 0 of a factor",
        ),
        _BUCKETS,
        *_RUN,
    ),
    key=("portfolio", "market", "interval", "weights_interval", "as_of", "component", "name"),
    checks={
        "component_known": "component IN ('factor', 'holding')",
        "specific_variance_not_negative": "specific_variance IS NULL OR specific_variance >= 0",
    },
)

TABLES = (FACTOR_STATISTICS, FACTOR_CORRELATIONS, PORTFOLIO_RISK, RISK_CONTRIBUTIONS)
