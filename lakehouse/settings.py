"""Settings: `conf/base.yaml`, one environment's file over it, then `--set key=value`.

The result is one frozen, typed object. An unknown or ill-typed key is a `SettingsError` that
names where it was written and the key. Relative paths are relative to the working directory.
"""

import hashlib
import json
import os
import re
from collections.abc import Hashable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from lakehouse.errors import SettingsError
from lakehouse.intervals import MICROS_PER_DAY, Interval, interval_micros
from lakehouse.places import is_uri
from lakehouse.spelling import did_you_mean

BASE_FILE = "base.yaml"

QUOTE_ASSET: Final = "USDT"
"""What every symbol is quoted in: its name is that of its base asset and this one's."""

TOO_FEW_RETURNS: Final = 50
"""An annual figure from this many returns (eight days of 4h bars) or fewer says nothing."""

_SPARK_CONF = ["spark", "conf"]

Market = Literal["spot", "um"]
Severity = Literal["reject", "warn"]
Calendar = Literal["monthly", "weekly", "quarterly"]
Weighting = Literal["inverse_volatility", "equal", "sharpe"]
Execution = Literal["next_open", "close"]

# Whose candles a task works on: those that `archive` names, or those of the factor model.
Study = Literal["archive", "factors"]


def _like(pattern: str, example: str) -> BeforeValidator:
    """A text of one form; what it should look like is shown by an example and not by a pattern."""

    def check(given: object) -> object:  # YAML makes a date of 2024-10-01
        if not isinstance(given, str) or not re.fullmatch(pattern, given, re.ASCII):
            raise ValueError(f"must look like {example}")
        return given

    return BeforeValidator(check)


_MONTH = r"20\d\d-(0[1-9]|1[0-2])"
Month = Annotated[str, _like(_MONTH, "2024-10")]
Share = Annotated[float, Field(ge=0, le=1)]

# YAML has lists and no tuples.
_FromList = Field(strict=False)

Day = Annotated[str, _like(rf"{_MONTH}-(0[1-9]|[12]\d|3[01])", "2024-10-31")]


def _base_asset(name: str) -> str:
    if name.endswith(QUOTE_ASSET) and name != QUOTE_ASSET:
        base = name.removesuffix(QUOTE_ASSET)
        raise ValueError(f"{name} is a symbol: name its base asset, {base}")
    return name


Assets = Annotated[tuple[Annotated[str, AfterValidator(_base_asset)], ...], _FromList]

_SORTS = r"(liquidity|volatility|momentum)_(low|medium|high|high_minus_low)"
FactorName = Annotated[str, _like(rf"market_return|{_SORTS}", "market_return or liquidity_low")]


def _not_taken(name: str) -> str:
    taken = ("equal_weight", "buy_and_hold_btc", "all_coins")
    if name.startswith(("smart_", "random")) or name in taken:
        raise ValueError(f"the name {name} is taken by one that Candlelake makes itself")
    return name


def _archive_place(url: str) -> str:
    scheme, separator, rest = url.partition(":/")
    if separator and not (rest.startswith("/") and scheme in _ARCHIVE_SCHEMES):
        raise ValueError(
            "must be a folder that holds data/, an http(s) address, or a place in an object store, "
            "such as s3a://bucket/mirror"
        )
    return url


# Of an address, and of the object stores that Arrow lists.
_ARCHIVE_SCHEMES = ("http", "https", "s3a", "s3", "gs", "abfs", "abfss", "hdfs", "file")


def _upper_case(symbol: str) -> str:
    if symbol != symbol.upper():
        raise ValueError(f"must look like {symbol.upper()}: symbols are in capitals")
    return symbol


_HEAP_KEY = "spark.driver.memory"
_HEAP_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}

IndexName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$"), AfterValidator(_not_taken)
]


class _Section(BaseModel):
    # Strict and finite: `true` is no number, and no share is within a limit of NaN or infinity.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ArchiveSettings(_Section):
    """Where the candles come from and which of them are wanted.

    Attributes:
        url: Folder with the archive's layout (it holds `data/`), the same in an object store
            (`s3a://…`, `abfss://…`), or its `http(s)` address.
        listing_url: Address of the S3 listing of an `http(s)` archive; not used for a folder.
        landing: Folder that the files of an `http(s)` archive are downloaded into and kept.
        transfers: Downloads at once.
        market: `spot` or `um` (USDT-margined perpetual futures).
        interval: Bar length in Binance's spelling.
        start: First month, `YYYY-MM`.
        end: Last month, inclusive.
        require_checksum: False also takes files without a published checksum.
    """

    url: Annotated[str, AfterValidator(_archive_place)]
    listing_url: Annotated[str, _like(r"(https?://\S+)?", "https://example.org/listing")] = ""
    landing: str = "landing"
    transfers: Annotated[int, Field(ge=1)] = 10
    market: Market
    interval: Interval
    start: Month
    end: Month
    require_checksum: bool = True

    @property
    def is_folder(self) -> bool:
        """Whether `url` is a folder, and neither an address nor a place in an object store."""
        return not is_uri(self.url)

    @property
    def is_http(self) -> bool:
        """Whether `url` is an `http(s)` address, whose files are landed first."""
        return self.url.startswith(("http://", "https://"))

    @model_validator(mode="after")
    def _months_in_order(self) -> "ArchiveSettings":
        if self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}")
        return self


class UniverseSettings(_Section):
    """Which symbols are loaded.

    Attributes:
        mode: `symbols` (those listed), `top100` (of `assets`), `diversified` (the sectors of
            `assets`, then filled by traded volume), `all-usdt` (what trades today), or
            `historical-usdt` (every USDT pair that the archive names).
        symbols: The symbols of mode `symbols`.
        target: Size of the universe of mode `diversified`.
    """

    mode: Literal["symbols", "top100", "diversified", "all-usdt", "historical-usdt"]
    symbols: Annotated[tuple[Annotated[str, AfterValidator(_upper_case)], ...], _FromList] = ()
    target: Annotated[int, Field(ge=1)] = 300

    @model_validator(mode="after")
    def _symbols_fit_mode(self) -> "UniverseSettings":
        if bool(self.symbols) != (self.mode == "symbols"):
            raise ValueError("symbols must be listed with mode=symbols, and only with it")
        return self


class AssetSettings(_Section):
    """Reviewed lists of base assets (`BTC`), for the universe modes that need them.

    Attributes:
        reviewed: Day of the review, `YYYY-MM-DD`.
        top100: The assets of mode `top100`.
        sectors: Sector -> its seed assets for mode `diversified`, the most important first.
    """

    reviewed: Day
    top100: Annotated[tuple[str, ...], _FromList]
    sectors: Mapping[str, Annotated[tuple[str, ...], _FromList]]


class ExchangeMarketSettings(_Section):
    """Addresses of a market's `exchangeInfo` and `ticker/24hr`."""

    info_url: str
    ticker_url: str


class ExchangeSettings(_Section):
    """Where the exchange tells what trades today; each market has addresses of its own."""

    spot: ExchangeMarketSettings
    um: ExchangeMarketSettings


class SilverSettings(_Section):
    """Cleaning of candles.

    Attributes:
        max_fill_bars: Missing bars filled flat before a hole starts a new segment.
        outage_share: Share of live symbols missing that makes a hole an exchange outage.
        quote_volume_tolerance: Relative slack of the rule quote volume in [low, high] x volume.
        severity: Rule name -> `reject` (quarantine) or `warn` (keep, with a warning).
    """

    max_fill_bars: Annotated[int, Field(ge=0)]
    outage_share: Share
    quote_volume_tolerance: Annotated[float, Field(ge=0)]
    severity: Mapping[str, Severity]


class QualitySettings(_Section):
    """How much may be refused before the job's quality gate fails the run."""

    max_failed_files: Annotated[int, Field(ge=0)]
    max_rejected_share: Share


class ExclusionSettings(_Section):
    """Base assets that no walk-forward index holds, by kind.

    Attributes:
        reviewed: Day on which a person last went through the lists, `YYYY-MM-DD`.
        stable: Stablecoins of the quote currency.
        pegged: Tokens that follow something else: another currency, a metal, a basket.
        wrapped: Tokens that stand for another coin.
        staked: Tokens that stand for a staked coin.
        leveraged: Tokens that hold a multiple of a coin.
    """

    reviewed: Day
    stable: Assets
    pegged: Assets
    wrapped: Assets
    staked: Assets
    leveraged: Assets


class RuleSettings(_Section):
    """The rules of one index.

    Attributes:
        calendar: How often it is determined: at the close of a month, of a week (Sunday) or of a
            quarter, UTC.
        lookback_days: Days of candles before a determination that decide it.
        exclusions: Base assets that it never holds; a named index changes kind by kind.
        min_real_share: Least share of the lookback's bars that were published, not filled.
        min_age_days: Least days since a symbol's first bar. One listed after the lookback began
            is not eligible, whatever this says.
        enter_volume: Least median daily quote volume to come in.
        stay_volume: Least median daily quote volume of a member, which is what the determination
            before selected; at most `enter_volume`.
        correlation_threshold: Of two symbols with a higher |correlation| one is dropped.
        top_n: Most members.
        rank_buffer: Ranks below `top_n` down to which a member is kept.
        weighting: Weights by 1 / volatility, all equal, or by Sharpe ratio.
        cap: Highest weight; one that `top_n` members could not fill is refused. Fewer members than
            can fill it weigh the same, and more.
        floor: Lowest weight.
        delay_bars: Bars between a determination and its effect.
        execution: Trades at the `next_open` after the determination and its delay, or at the
            `close` before it.
        cost_bps: Cost of one-way turnover, basis points.
    """

    calendar: Calendar
    lookback_days: Annotated[int, Field(ge=1)]
    exclusions: ExclusionSettings
    min_real_share: Share
    min_age_days: Annotated[int, Field(ge=0)]
    enter_volume: Annotated[float, Field(ge=0)]
    stay_volume: Annotated[float, Field(ge=0)]
    correlation_threshold: Annotated[float, Field(gt=0, le=1)]
    top_n: Annotated[int, Field(ge=1)]
    rank_buffer: Annotated[int, Field(ge=0)]
    weighting: Weighting
    cap: Annotated[float, Field(gt=0, le=1)]
    floor: Annotated[float, Field(ge=0, lt=1)]
    delay_bars: Annotated[int, Field(ge=0)]
    execution: Execution
    cost_bps: Annotated[float, Field(ge=0, lt=10_000)]

    @model_validator(mode="after")
    def _thresholds_and_bounds_in_order(self) -> "RuleSettings":
        if self.stay_volume > self.enter_volume:
            raise ValueError(
                f"stay_volume {self.stay_volume:g} is above enter_volume {self.enter_volume:g}"
            )
        if self.cap * self.top_n < 1:
            raise ValueError(f"{self.top_n} members of at most cap {self.cap:g} do not reach 1")
        if self.floor * self.top_n > 1:
            raise ValueError(f"{self.top_n} members of at least floor {self.floor:g} exceed 1")
        return self


class IndexSettings(RuleSettings):
    """The indices of a run, their rules and what they are compared with.

    Attributes:
        mode: `static` (in-sample, over all history, one date), `monthly` (walk-forward by the
            calendar), or `both`.
        random_portfolios: Random portfolios beside each walk-forward index.
        seed: Seed of their draws.
        trials: Settings that were tried before these, these included: what the deflated Sharpe
            ratio allows for.
        rulebooks: Further walk-forward indices: a name, and the rules that differ from these.
    """

    mode: Literal["static", "monthly", "both"]
    random_portfolios: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]
    trials: Annotated[int, Field(ge=1)]
    rulebooks: Mapping[IndexName, RuleSettings]

    @model_validator(mode="before")
    @classmethod
    def _rulebooks_start_from_these_rules(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not isinstance(given.get("rulebooks"), Mapping):
            return given
        rules = {name: given[name] for name in RuleSettings.model_fields if name in given}
        named = {
            name: _merge(rules, changes) if isinstance(changes, Mapping) else changes
            for name, changes in given["rulebooks"].items()
        }
        return {**given, "rulebooks": named}


class FactorSettings(_Section):
    """The factor model: its candles, its factors and its regressions.

    Attributes:
        interval: Length of its bars; the job `factor_model` loads them beside `archive.interval`.
        start: First month of its candles; None is `archive.start`.
        end: Last month, inclusive; None is `archive.end`.
        buckets: Coins are sorted from the past alone (`trailing`) or from the whole sample
            (`static`, in-sample).
        schedule: How often `trailing` buckets are formed, at midnight UTC.
        lookback_days: Days before a date that sort its buckets.
        portfolios: The factors beside the market: the return of each bucket, or high less low
            (`long_short`).
        window: Bars of the grid that a regression covers.
        min_bars: Least bars of the window that a coin must have.
        ridge: Penalty on the square of every coefficient.
        stress: Stress test of portfolios: factors, as columns of gold.factor_returns, and their
            returns; None leaves one out.
    """

    interval: Interval
    start: Month | None
    end: Month | None
    buckets: Literal["trailing", "static"]
    schedule: Literal["daily", "monthly"]
    lookback_days: Annotated[int, Field(ge=1)]
    portfolios: Literal["buckets", "long_short"]
    window: Annotated[int, Field(ge=2)]
    min_bars: Annotated[int, Field(ge=1)]
    ridge: Annotated[float, Field(gt=0)]
    stress: Mapping[FactorName, float | None] = {}

    @property
    def moves(self) -> dict[str, float]:
        """Returns of the factors that the stress test names."""
        return {factor: move for factor, move in self.stress.items() if move is not None}

    @model_validator(mode="after")
    def _a_window_holds_enough(self) -> "FactorSettings":
        if self.min_bars > self.window:
            raise ValueError(f"min_bars {self.min_bars} is above window {self.window}")
        return self


class PcaSettings(_Section):
    """PCA of log returns, over all history and over trailing windows that end with each month.

    Attributes:
        components: Number of components.
        standardise: Whether each symbol's returns are divided by their standard deviation first.
        lookback_days: Days of candles in a window.
        min_coverage: Least share of a window's bars that a symbol must have to be in it, and of
            the bars that the components judged by later ones are fitted to.
    """

    components: Annotated[int, Field(ge=1)]
    standardise: bool
    lookback_days: Annotated[int, Field(ge=1)]
    min_coverage: Share


class KMeansSettings(_Section):
    """KMeans on risk and return.

    Attributes:
        clusters: Number of clusters that is kept.
        sweep: Numbers of clusters that are compared.
        resamples: Bootstrap resamples of the symbols that tell how stable each of them is.
    """

    clusters: Annotated[int, Field(ge=2)]
    sweep: Annotated[tuple[Annotated[int, Field(ge=2)], ...], _FromList]
    resamples: Annotated[int, Field(ge=1)]


class GbtSettings(_Section):
    """Gradient-boosted trees for the next bar's return, and their walk-forward evaluation.

    Attributes:
        max_iter: Trees.
        max_depth: Depth of each tree.
        fold_days: Days that each walk-forward fold predicts; as many are fitted before the first.
        embargo_bars: Bars left out between training and test, beside the purged label.
        ridge_penalty: Spark's `regParam` of the ridge regression beside the trees.
    """

    max_iter: Annotated[int, Field(ge=1)]
    max_depth: Annotated[int, Field(ge=1, le=30)]
    fold_days: Annotated[int, Field(ge=1)]
    embargo_bars: Annotated[int, Field(ge=0)]
    ridge_penalty: Annotated[float, Field(ge=0)]


class MlSettings(_Section):
    """Models and the seed of all their randomness."""

    seed: int
    pca: PcaSettings
    kmeans: KMeansSettings
    gbt: GbtSettings


class MlflowSettings(_Section):
    """Where runs are tracked.

    Attributes:
        tracking_uri: A sqlite store locally, `databricks` on a workspace.
        experiments: What the names of experiments begin with; on a workspace a folder of it, below
            `/Shared` unless it begins with a slash.
    """

    tracking_uri: str
    experiments: str = "candlelake"


class ReportSettings(_Section):
    """The HTML page and the CSV exports.

    Attributes:
        folder: Where they are written.
        symbols: Coins whose exposures are drawn; the most liquid ones when empty.
    """

    folder: str
    symbols: Annotated[tuple[str, ...], _FromList] = ()


class MaintenanceSettings(_Section):
    """Upkeep of the tables by the task `maintain_tables`.

    Attributes:
        retention_days: Days for which a table's versions can be read and its old files are kept;
            None leaves it to the table, and makes it a year where it is less. A week is Delta's
            own least: a query that runs must not lose its files.
    """

    retention_days: Annotated[int, Field(ge=7)] | None = None


class SparkSettings(_Section):
    """How to get a Spark session.

    Attributes:
        master: Master of a session made here; None leaves it to `spark-submit` or Databricks.
        remote: Address of a Spark Connect server (`sc://host:15002`), instead of a master.
        conf: Spark configuration of a session made here.
    """

    master: str | None = None
    remote: str | None = None
    conf: Mapping[str, str] = {}

    @property
    def heap_bytes(self) -> int:
        """Memory of the Java that a session starts on this machine; 0 when it starts none."""
        given = self.conf.get(_HEAP_KEY)
        if given is None or self.master is None or self.remote is not None:
            return 0
        return int(given[:-1]) * _HEAP_UNITS[given[-1].lower()]

    @field_validator("conf")
    @classmethod
    def _heap_is_a_size(cls, conf: Mapping[str, str]) -> Mapping[str, str]:
        given = conf.get(_HEAP_KEY)
        if given is not None and not re.fullmatch(r"[1-9]\d*[kmgtKMGT]", given, re.ASCII):
            raise ValueError(f"{_HEAP_KEY} {given!r} must look like 4g or 900m")
        return conf


class Settings(_Section):
    """All settings of a run.

    Attributes:
        warehouse: Folder or URI below which the tables live, `<warehouse>/<layer>/<table>`.
        catalog: Unity Catalog's name for three-part table names; None uses folders.
    """

    warehouse: str
    catalog: str | None = None
    archive: ArchiveSettings
    universe: UniverseSettings
    assets: AssetSettings
    exchange: ExchangeSettings
    silver: SilverSettings
    quality: QualitySettings
    index: IndexSettings
    factors: FactorSettings
    ml: MlSettings
    mlflow: MlflowSettings
    report: ReportSettings
    maintenance: MaintenanceSettings = MaintenanceSettings()
    spark: SparkSettings

    @field_validator("index")
    @classmethod
    def _lookbacks_hold_enough_returns(
        cls, index: IndexSettings, info: ValidationInfo
    ) -> IndexSettings:
        archive = info.data.get("archive")
        if not isinstance(archive, ArchiveSettings):  # refused itself
            return index
        bars_per_day = MICROS_PER_DAY // interval_micros(archive.interval)
        walked = {f"rulebooks.{name}.": rules for name, rules in index.rulebooks.items()}
        if index.mode != "static":
            walked[""] = index
        for where, rules in walked.items():
            returns = rules.lookback_days * bars_per_day - 1
            if returns <= TOO_FEW_RETURNS:
                raise ValueError(
                    f"{where}lookback_days {rules.lookback_days} gives {returns} returns of "
                    f"{archive.interval} bars, and nothing is eligible with {TOO_FEW_RETURNS} or "
                    f"fewer: make it {(TOO_FEW_RETURNS + 1) // bars_per_day + 1} or more"
                )
        return index

    @property
    def scope(self) -> dict[str, str]:
        """The market and interval that this run works on, as table columns name them."""
        return {"market": self.archive.market, "interval": self.archive.interval}

    @property
    def has_folder(self) -> bool:
        """Whether the warehouse is a folder, on a disk of this machine or mounted there."""
        return self.catalog is None and not is_uri(self.warehouse)

    def with_candles_of(self, study: Study) -> "Settings":
        """These settings with `archive` naming the candles of one study.

        Raises:
            SettingsError: The factor model's first month is after its last.
        """
        if study == "archive":
            return self
        factors, archive = self.factors, self.archive
        start, end = factors.start or archive.start, factors.end or archive.end
        if start > end:
            raise SettingsError(f"factors: the first month {start} is after the last, {end}")
        months = {"interval": factors.interval, "start": start, "end": end}
        return self.model_copy(update={"archive": archive.model_copy(update=months)})

    def as_json(self) -> str:
        """Canonical JSON of every setting: equal settings give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, hex."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()


class _Loader(yaml.SafeLoader):
    """YAML as people write it: `1e-6` is a number, and no key of a file may hide another."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.MarkedYAMLError(None, None, f"key {twice} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load_settings(conf: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read the settings of one environment.

    Args:
        conf: The environment's file; `base.yaml` must lie beside it.
        overrides: `key=value` pairs with dotted keys; values are YAML (`[BTCUSDT, ETHUSDT]`).

    Raises:
        SettingsError: A file is missing or not YAML; a key is unknown, missing or ill-typed.
    """
    base = conf.parent / BASE_FILE
    _require_files(conf, base)
    layers = [(str(path), _read_yaml(path)) for path in dict.fromkeys((base, conf))]
    layers += [("--set", _override(text)) for text in overrides]
    merged: dict[str, Any] = {}
    for _, layer in layers:
        merged = _merge(merged, layer)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError(_explain(error, layers)) from error


def _require_files(conf: Path, base: Path) -> None:
    if not _is_there(conf):
        raise SettingsError(
            f"settings file {conf} does not exist: run this in the folder that holds conf/, or "
            "name a file with --conf"
        )
    if conf.is_dir():
        raise SettingsError(f"{conf} is a folder: name a settings file with --conf")
    if not _is_there(base):
        raise SettingsError(f"settings file {base} does not exist: it must lie beside {conf.name}")


def _is_there(path: Path) -> bool:
    return os.access(path, os.F_OK)  # not `exists()`, which raises below a closed folder


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, OSError) as error:  # ValueError: a date of month 13
        reason = yaml_problem(error)
        raise SettingsError(f"settings file {path} cannot be read as YAML: {reason}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"settings file {path} must hold `key: value` pairs")
    return content


def parse_yaml(text: str) -> Any:
    """Read YAML as settings and jobs are written: no key twice, and `1e-6` is a number.

    Raises:
        yaml.YAMLError: It is none.
        ValueError: A date does not exist.
    """
    return yaml.load(text, _Loader)  # a SafeLoader: plain values, never objects


def yaml_problem(error: Exception) -> str:
    """What is wrong with a file's YAML, in one line; who shows it has named the file."""
    return " ".join(str(error).split()).replace('in "<unicode string>", ', "in ")


def _override(text: str) -> dict[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise SettingsError(f"--set {text!r} must have the form key=value, such as index.top_n=10")
    try:
        tree: Any = parse_yaml(value)
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(f"--set {key}: {value!r} is not a YAML value") from error
    path = key.strip().split(".")
    if path[:2] == _SPARK_CONF and len(path) > len(_SPARK_CONF):
        # Spark's own keys have dots, and their values are texts.
        path, tree = [*_SPARK_CONF, ".".join(path[len(_SPARK_CONF) :])], value
    for part in reversed(path):
        tree = {part: tree}
    return dict(tree)


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = (
            _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _explain(error: ValidationError, layers: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Name the file and the key of the first thing that is wrong, and how many more there are."""
    problems = error.errors()
    problem = problems[0]
    # pydantic adds "[key]" where the name of a mapping's entry is what is wrong.
    path = [str(part) for part in problem["loc"] if part != "[key]"]
    where = next((name for name, layer in reversed(layers) if _holds(layer, path)), layers[0][0])
    reason = problem["msg"].removeprefix("Value error, ")
    given = f" (got {_as_written(problem['input'])})"
    if problem["type"] == "extra_forbidden":
        reason, given = f"no such key{did_you_mean(path[-1], _known_keys())}", ""
    elif problem["type"] == "tuple_type":
        reason = "must be a list"
        if isinstance(problem["input"], str):
            reason, given = f"{reason}, such as [{problem['input']}]", ""
    elif problem["type"] in ("dict_type", "model_type"):
        reason = "must hold `key: value` pairs"
    # A missing key, or a section whose keys do not go together: the whole section would be shown.
    elif isinstance(problem["input"], Mapping):
        given = ""
    more = f"; {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{where}: {'.'.join(path)}: {reason}{given}{more}"


def _as_written(value: object) -> str:
    """A value as its file or command line has it, and not as Python does."""
    if value is None:
        return "nothing"
    return str(value) if isinstance(value, date) else repr(value)


def _known_keys(section: type[BaseModel] = _Section) -> set[str]:
    """The keys of all sections."""
    below = (key for each in section.__subclasses__() for key in _known_keys(each))
    return {*section.model_fields, *below}


def _holds(layer: Any, path: Sequence[str]) -> bool:
    """Whether a layer wrote the key, or the value above it that hides it."""
    for part in path:
        if not isinstance(layer, Mapping):
            return True
        below = {str(key): value for key, value in layer.items()}
        if part not in below:
            return False
        layer = below[part]
    return True
