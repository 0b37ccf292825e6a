import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lakehouse.errors import SettingsError
from lakehouse.settings import RuleSettings, Settings, load_settings

CONF = Path(__file__).parents[2] / "conf"
SAMPLE = CONF / "sample.yaml"


def leaves(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Dotted key -> value of everything in a settings tree that is no section."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= (
            leaves(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
        )
    return found


def by_key(settings: Settings) -> dict[str, Any]:
    """Its values, without those of spark.conf, whose own keys hold dots."""
    tree = settings.model_dump(mode="json")
    del tree["spark"]["conf"]
    return leaves(tree)


def at(tree: dict[str, Any], key: str, value: object) -> None:
    *sections, last = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[last] = value


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A settings file beside a copy of base.yaml; it changes nothing yet."""
    shutil.copy(CONF / "base.yaml", tmp_path)
    file = tmp_path / "test.yaml"
    file.touch()
    return file


def refused(conf: Path, *overrides: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(conf, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("conf", sorted(CONF.glob("*.yaml")), ids=lambda path: path.name)
def test_every_environment_loads(conf: Path) -> None:
    settings = load_settings(conf)
    for key, value in leaves(yaml.safe_load(conf.read_text())).items():
        if not key.startswith("spark.conf."):
            assert by_key(settings)[key] == value


def test_base_names_every_setting() -> None:
    written = leaves(yaml.safe_load((CONF / "base.yaml").read_text()))
    named = {key for key in written if not key.startswith("spark.conf.")}
    assert named == set(by_key(load_settings(SAMPLE)))


def test_the_settings_that_everyone_relies_on() -> None:
    settings = load_settings(SAMPLE)
    assert (settings.archive.interval, settings.archive.start, settings.archive.end) == (
        "4h",
        "2024-10",
        "2025-12",
    )
    assert (settings.silver.max_fill_bars, settings.silver.outage_share) == (6, 0.5)
    assert (settings.quality.max_failed_files, settings.quality.max_rejected_share) == (0, 0.01)
    assert (settings.index.correlation_threshold, settings.index.top_n) == (0.85, 20)
    assert (settings.index.lookback_days, settings.index.cost_bps) == (90, 10)
    factors = settings.factors
    assert (factors.interval, factors.window, factors.ridge) == ("1m", 1440, 1e-6)
    assert factors.buckets == "trailing"
    assert settings.ml.seed == 42
    assert settings.universe.mode == "historical-usdt"
    assert settings.mlflow.tracking_uri == "sqlite:///mlflow.db"


def test_an_environment_wins_over_base_and_an_override_over_both(environment: Path) -> None:
    environment.write_text("index: {top_n: 7}\narchive: {url: /elsewhere}\n")
    settings = load_settings(environment)
    assert settings.index.top_n == 7
    assert settings.index.correlation_threshold == 0.85  # base.yaml's: sections are merged
    assert load_settings(environment, ["index.top_n=8"]).index.top_n == 8
    assert load_settings(environment, ["index.top_n=8", "index.top_n=9"]).index.top_n == 9
    assert load_settings(environment, ["index={top_n: 8}"]).index.correlation_threshold == 0.85


def test_base_can_be_the_environment() -> None:
    assert load_settings(CONF / "base.yaml").warehouse == "lake"


def test_spark_conf_is_merged_key_by_key(environment: Path) -> None:
    environment.write_text("spark: {conf: {spark.ui.port: '4041'}}")
    before = load_settings(environment).spark.conf
    assert before["spark.ui.port"] == "4041"
    # Spark's keys have dots, and its values are texts whatever they look like.
    for override in (
        "spark.conf={spark.sql.shuffle.partitions: '8'}",
        "spark.conf.spark.sql.shuffle.partitions=8",
    ):
        after = load_settings(environment, [override]).spark.conf
        assert after == {**before, "spark.sql.shuffle.partitions": "8"}


# Per type of leaf, values that are valid under every constraint of that type.
COUNT = st.integers(2, 30)
SHARE = st.floats(0.001, 1)
TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\u2028\u2029"),
    min_size=1,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "archive.market": st.sampled_from(["spot", "um"]),
    "archive.interval": st.sampled_from(["1m", "15m", "1h", "1d"]),
    "archive.start": st.sampled_from(["2024-11", "2025-01"]),
    "archive.end": st.sampled_from(["2025-01", "2099-12"]),
    "archive.require_checksum": st.booleans(),
    "universe.mode": st.just("historical-usdt"),  # these two must fit each other: see below
    "universe.symbols": st.just([]),
    "silver.outage_share": SHARE,
    "silver.quote_volume_tolerance": SHARE,
    "quality.max_rejected_share": SHARE,
    "maintenance.retention_days": st.none() | st.integers(7, 4000),
    "index.mode": st.sampled_from(["static", "monthly", "both"]),
    "index.lookback_days": st.integers(9, 400),  # 4h bars of fewer days are too few
    "index.calendar": st.sampled_from(["monthly", "weekly", "quarterly"]),
    "index.exclusions.reviewed": st.sampled_from(["2024-02-29", "2026-01-31"]),
    "index.min_real_share": SHARE,
    "index.enter_volume": st.floats(1e7, 1e9),
    "index.stay_volume": st.floats(0, 5e6),
    "index.weighting": st.sampled_from(["inverse_volatility", "equal", "sharpe"]),
    "index.cap": st.floats(0.05, 1),  # 20 members must be able to fill it
    "index.floor": st.floats(0, 0.05),
    "index.execution": st.sampled_from(["next_open", "close"]),
    "index.correlation_threshold": SHARE,
    "report.symbols": st.lists(TEXT, max_size=3),
    "factors.stress.market_return": st.none() | SHARE,
    "factors.interval": st.sampled_from(["1m", "5m"]),
    "factors.start": st.none() | st.just("2025-01"),
    "factors.end": st.none() | st.just("2025-02"),
    "factors.buckets": st.sampled_from(["trailing", "static"]),
    "factors.schedule": st.sampled_from(["daily", "monthly"]),
    "factors.portfolios": st.sampled_from(["buckets", "long_short"]),
    "factors.window": st.integers(720, 1440),  # it must hold min_bars
    "factors.ridge": SHARE,
    "ml.kmeans.sweep": st.lists(COUNT),
    "ml.pca.standardise": st.booleans(),
    "ml.pca.min_coverage": SHARE,
    "catalog": st.none() | TEXT,
    "spark.master": st.none() | TEXT,
    "spark.remote": st.none() | TEXT,
    "warehouse": TEXT,
    "archive.url": TEXT.filter(lambda text: ":/" not in text) | st.just("s3a://bucket/mirror"),
    "archive.listing_url": st.sampled_from(["", "http://127.0.0.1:9/x", "https://example.org"]),
    "archive.landing": TEXT,
    "assets.reviewed": st.dates(date(2000, 1, 1), date(2099, 12, 31)).map(str),
    "assets.top100": st.lists(TEXT),
    "mlflow.tracking_uri": TEXT,
    "mlflow.experiments": TEXT,
    "report.folder": TEXT,
}


EXCLUDED = ("stable", "pegged", "wrapped", "staked", "leveraged")


def value_of(key: str) -> st.SearchStrategy[Any]:
    if key.startswith("silver.severity."):
        return st.sampled_from(["reject", "warn"])
    if key in (f"index.exclusions.{kind}" for kind in EXCLUDED):
        return st.lists(TEXT, max_size=3)
    if key.startswith("assets.sectors."):
        return st.lists(TEXT)
    if key.startswith("exchange."):
        return TEXT
    return VALUES.get(key, COUNT)


OVERRIDE = st.sampled_from(sorted(by_key(load_settings(SAMPLE)))).flatmap(
    lambda key: st.tuples(st.just(key), value_of(key), value_of(key))
)


@hypothesis_settings(max_examples=100, deadline=None)
@given(override=OVERRIDE)
def test_any_override_of_a_known_key_wins_over_both_files(
    tmp_path_factory: pytest.TempPathFactory, override: tuple[str, Any, Any]
) -> None:
    key, in_file, given_last = override
    folder = tmp_path_factory.mktemp("conf")
    shutil.copy(CONF / "base.yaml", folder)
    tree: dict[str, Any] = {}
    at(tree, key, in_file)
    (folder / "test.yaml").write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    from_file = by_key(load_settings(folder / "test.yaml"))
    overridden = by_key(
        load_settings(folder / "test.yaml", [f"{key}={json.dumps(given_last, ensure_ascii=False)}"])
    )
    assert from_file[key] == in_file
    assert overridden[key] == given_last
    base = by_key(load_settings(folder / "base.yaml"))
    assert {**overridden, key: base[key]} == base  # and nothing else has changed


def test_a_list_of_symbols_comes_with_its_mode() -> None:
    listed = "universe={mode: symbols, symbols: [BTCUSDT, 1INCHUSDT]}"
    assert load_settings(SAMPLE, [listed]).universe.symbols == ("BTCUSDT", "1INCHUSDT")
    both = ["universe.mode=symbols", "universe.symbols=[BTCUSDT]"]
    assert load_settings(SAMPLE, both).universe.symbols == ("BTCUSDT",)
    for override in both:
        assert refused(SAMPLE, override).startswith("--set: universe: ")


def test_a_named_rulebook_is_the_rules_of_the_index_with_some_changed(environment: Path) -> None:
    environment.write_text("index: {top_n: 7, rulebooks: {small: {top_n: 3}, weekly: {}}}")
    index = load_settings(environment, ["index.rulebooks.weekly.calendar=weekly"]).index
    rules = {name: getattr(index, name) for name in RuleSettings.model_fields}
    assert index.rulebooks == {
        "small": RuleSettings.model_validate({**rules, "top_n": 3}),
        "weekly": RuleSettings.model_validate({**rules, "calendar": "weekly"}),
    }


def test_a_named_rulebook_changes_one_list_of_exclusions_and_keeps_the_others() -> None:
    index = load_settings(SAMPLE, ["index.rulebooks.a.exclusions.wrapped=[WBTC]"]).index
    base = index.exclusions
    assert index.rulebooks["a"].exclusions == base.model_copy(update={"wrapped": ("WBTC",)})


def test_a_static_index_has_no_lookback_that_could_be_too_short() -> None:
    overrides = ["index.mode=static", "index.lookback_days=1"]
    assert load_settings(SAMPLE, overrides).index.lookback_days == 1


@pytest.mark.parametrize(
    "name", ["smart_monthly", "equal_weight", "buy_and_hold_btc", "random_1", "all_coins"]
)
def test_a_named_rulebook_takes_no_name_of_another_index(name: str) -> None:
    said = refused(SAMPLE, f"index.rulebooks.{name}={{}}")
    assert said.startswith("--set: index.rulebooks")
    assert "is taken" in said


@pytest.mark.parametrize("name", ["Top10", "10top", "top-10", "''"])
def test_the_name_of_a_rulebook_is_one_that_a_table_can_hold(name: str) -> None:
    assert "pattern" in refused(SAMPLE, f"index.rulebooks={{{name}: {{}}}}")


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["index.lookback_days=8"], "lookback_days 8 gives 47 returns of 4h bars"),
        (["index.lookback_days=8"], "make it 9 or more"),
        (["index.lookback_days=51", "archive.interval=1d"], "gives 50 returns of 1d bars"),
        (["index.rulebooks={a: {lookback_days: 8}}"], "index: rulebooks.a.lookback_days 8 gives"),
        (["index.exclusions.stable=[BTCUSDT]"], "name its base asset, BTC"),
        (["index.rulebooks={a: {exclusions: {wrapped: [ETHUSDT]}}}"], "name its base asset, ETH"),
        (["index.enter_volume=1"], "stay_volume 5e+06 is above enter_volume 1"),
        (["index.cap=0.04"], "20 members of at most cap 0.04 do not reach 1"),
        (["index.floor=0.06"], "20 members of at least floor 0.06 exceed 1"),
        (["index.rulebooks={few: {top_n: 3, cap: 0.3}}"], "3 members of at most cap 0.3"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(overrides: list[str], reason: str) -> None:
    said = refused(SAMPLE, *overrides)
    assert said.startswith("--set: index")
    assert reason in said


def test_the_months_are_in_order() -> None:
    one = load_settings(SAMPLE, ["archive.start=2025-12"])
    assert one.archive.start == one.archive.end
    said = refused(SAMPLE, "archive.start=2026-01")
    assert said.startswith("--set: archive: ")
    assert "start 2026-01 is after end 2025-12" in said


UNKNOWN_OR_ILL_TYPED = [
    ("index.topn", "3", "no such key"),
    ("indx.top_n", "3", "no such key"),
    ("silver.severity.high_low", "ignore", "'reject' or 'warn'"),
    ("index.top_n", "many", "integer"),
    ("index.top_n", "'7'", "integer"),
    ("index.top_n", "true", "integer"),
    ("index.top_n", "0", "greater than or equal to 1"),
    ("index.correlation_threshold", "1.5", "less than or equal to 1"),
    ("index.mode", "daily", "'static', 'monthly' or 'both'"),
    ("index.exclusions.reviewed", "'2025-02-32'", "must look like"),
    ("index.exclusions.stabel", "[USDC]", "no such key"),
    ("index.rulebooks.top10.topn", "10", "no such key"),
    ("index.rulebooks.top10.top_n", "0", "greater than or equal to 1"),
    ("index.rulebooks.top10.mode", "static", "no such key"),
    ("index.rulebooks.top10", "10", "must hold `key: value` pairs"),
    ("quality.max_rejected_share", ".nan", "finite"),
    ("silver.quote_volume_tolerance", ".inf", "finite"),
    ("archive.interval", "4H", "'4h'"),
    ("archive.market", "futures", "'spot' or 'um'"),
    ("archive.start", "2024-13", "must look like"),
    ("archive.start", "2024-10-01", "must look like 2024-10 (got 2024-10-01)"),
    ("archive.require_checksum", "maybe", "boolean"),
    ("archive.transfers", "0", "greater than or equal to 1"),
    ("universe.mode", "top10", "'top100'"),
    ("universe.target", "0", "greater than or equal to 1"),
    ("assets.reviewed", "yesterday", "must look like"),
    ("assets.top100", "BTC", "must be a list, such as [BTC]"),
    ("universe.symbols", "BTCUSDT", "must be a list, such as [BTCUSDT]"),
    ("assets.top100", "3", "must be a list (got 3)"),
    ("index.top_n", "'7'", "(got '7')"),
    ("universe.symbols", "[ETHUSDT, btcusdt]", "must look like BTCUSDT"),
    ("archive.listing_url", "foo", "must look like https://"),
    ("archive.url", "ftp://example.org", "must be a folder"),
    ("archive.url", "http:/127.0.0.1:9", "must be a folder"),
    ("archive.url", "https//:/x", "must be a folder"),
    ("spark.conf", "{spark.driver.memory: lots}", "must look like 4g"),
    ("spark.conf", "{spark.driver.memory: '0g'}", "must look like 4g"),
    ("warehouse", "", "string (got nothing)"),
    ("spark.conf", "{spark.sql.shuffle.partitions: 8}", "string"),
    ("factors.stress", "-0.2", "must hold `key: value` pairs (got -0.2)"),
    ("index", "5", "must hold `key: value` pairs"),
]


@pytest.mark.parametrize(("key", "value", "reason"), UNKNOWN_OR_ILL_TYPED)
def test_an_error_names_where_the_key_was_written(
    environment: Path, key: str, value: str, reason: str
) -> None:
    said = refused(environment, f"{key}={value}")
    wrong = key if reason != "no such key" or key.startswith("index") else key.partition(".")[0]
    assert said.startswith(f"--set: {wrong}")
    assert reason in said
    tree: dict[str, Any] = {}
    at(tree, key, yaml.safe_load(value))
    environment.write_text(yaml.safe_dump(tree))
    assert refused(environment) == said.replace("--set:", f"{environment}:", 1)


@pytest.mark.parametrize(
    ("key", "meant"), [("archve.url", "archive"), ("index.topn", "top_n"), ("zzz", "")]
)
def test_a_misspelt_key_is_told_what_it_may_have_meant(key: str, meant: str) -> None:
    said = refused(SAMPLE, f"{key}=1")
    assert said.endswith(f"no such key: did you mean {meant}?" if meant else "no such key")


def test_what_is_no_yaml_is_told_by_its_line_and_column_alone(environment: Path) -> None:
    environment.write_text("warehouse: lake\na: b: c\n")
    said = refused(environment)
    assert "in line 2, column 5" in said
    assert "<unicode string>" not in said


def test_the_layer_that_hides_the_others_is_the_one_named(environment: Path) -> None:
    environment.write_text("index: {top_n: wrong}")
    assert refused(environment).startswith(f"{environment}: index.top_n:")
    assert refused(environment, "index.top_n=worse").startswith("--set: index.top_n:")
    assert load_settings(environment, ["index.top_n=5"]).index.top_n == 5


def test_a_section_with_all_its_lines_commented_out_is_named(environment: Path) -> None:
    environment.write_text("archive:\n#  url: here\n")
    assert refused(environment).startswith(f"{environment}: archive:")


def test_a_missing_key_is_named_with_base(environment: Path) -> None:
    base = environment.with_name("base.yaml")
    base.write_text(base.read_text().replace("  url: samples", "  # url: samples"))
    assert refused(environment).startswith(f"{base}: archive.url: Field required")


def test_further_problems_are_counted(environment: Path) -> None:
    assert refused(environment, "index.top_n=a", "ml.seed=b", "nothing=c").endswith("; 2 more")


@pytest.mark.parametrize(
    "content",
    [
        b"a: [",
        b"- a\n- b",
        b"just text",
        b"archive: {start: 2024-13-01}",  # looks like a date and is none
        b"index: {top_n: 0b_}",  # looks like a number and is none
        b"warehouse: \xff\xfe\xfa",
        b"a: b: c",
        b"index: {top_n: 5}\nml: {seed: 1}\nindex: {top_n: 6}",
    ],
)
def test_a_file_that_is_no_settings_file_is_named(environment: Path, content: bytes) -> None:
    environment.write_bytes(content)
    assert f"settings file {environment}" in refused(environment)


@pytest.mark.parametrize("content", ["1: 2", "index: {1: 2}", "spark: {conf: {1: x}}"])
def test_a_key_that_is_no_text_is_named_with_its_file(environment: Path, content: str) -> None:
    environment.write_text(content)
    assert refused(environment).startswith(f"{environment}: ")


@pytest.mark.parametrize("name", ["smaple.yaml", "nowhere/sample.yaml", "test.yaml/sample.yaml"])
def test_a_missing_file_is_named(environment: Path, name: str) -> None:
    missing = environment.parent / name
    said = refused(missing)
    assert said.startswith(f"settings file {missing} does not exist: ")
    assert "the folder that holds conf/" in said


def test_a_file_without_base_beside_it_says_so(tmp_path: Path) -> None:
    shutil.copy(SAMPLE, tmp_path)
    base = tmp_path / "base.yaml"
    missing = f"settings file {base} does not exist: it must lie beside sample.yaml"
    assert refused(tmp_path / "sample.yaml") == missing


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    assert refused(tmp_path) == f"{tmp_path} is a folder: name a settings file with --conf"
    shutil.copy(SAMPLE, tmp_path)
    (tmp_path / "base.yaml").mkdir()
    assert str(tmp_path / "base.yaml") in refused(tmp_path / "sample.yaml")


@pytest.mark.parametrize("override", ["index.top_n", "=5", " =5", ""])
def test_an_override_needs_a_key_and_a_value(override: str) -> None:
    assert f"--set {override!r}" in refused(SAMPLE, override)


@pytest.mark.parametrize("value", ["[", "2024-13-01", "0b_", "a: b: c", "\udcff"])
def test_an_override_that_is_no_yaml_names_its_key(value: str) -> None:
    assert refused(SAMPLE, f"warehouse={value}").startswith("--set warehouse: ")


@pytest.mark.parametrize(
    ("override", "warehouse"),
    [
        ("warehouse=s3://bucket/lake", "s3://bucket/lake"),
        ("warehouse=/data/my lake", "/data/my lake"),
        ("warehouse='2024'", "2024"),
        ("warehouse=a=b", "a=b"),
        (" warehouse = lake ", "lake"),
    ],
)
def test_addresses_and_paths_need_no_quotes(override: str, warehouse: str) -> None:
    assert load_settings(SAMPLE, [override]).warehouse == warehouse


@pytest.mark.parametrize("number", ["1e-6", "1E-6", "1.0e-6", "0.000001", "1.5e0", "2e1"])
def test_a_number_may_have_an_exponent(environment: Path, number: str) -> None:
    override = f"silver.quote_volume_tolerance={number}"
    assert load_settings(environment, [override]).silver.quote_volume_tolerance == float(number)
    environment.write_text(f"silver: {{quote_volume_tolerance: {number}}}")
    assert load_settings(environment).silver.quote_volume_tolerance == float(number)


def test_a_key_that_stands_twice_is_named_with_its_file(environment: Path) -> None:
    environment.write_text("archive: {url: a}\nindex: {top_n: 5}\narchive: {market: um}")
    said = refused(environment)
    assert str(environment) in said
    assert "archive stands twice" in said


def test_settings_are_frozen() -> None:
    settings = load_settings(SAMPLE)
    with pytest.raises(ValidationError):
        setattr(settings, "warehouse", "other")  # noqa: B010 - mypy refuses the assignment itself
    with pytest.raises(ValidationError):
        setattr(settings.index, "top_n", 3)  # noqa: B010


def test_the_scope_is_what_tables_are_filtered_by() -> None:
    assert load_settings(SAMPLE, ["archive.market=spot", "archive.interval=1m"]).scope == {
        "market": "spot",
        "interval": "1m",
    }


def test_the_digest_does_not_depend_on_the_order_or_the_layer(environment: Path) -> None:
    digest = load_settings(environment).digest()
    base = environment.with_name("base.yaml")
    tree = yaml.safe_load(base.read_text())
    reversed_tree = {
        key: dict(reversed(value.items())) if isinstance(value, dict) else value
        for key, value in reversed(tree.items())
    }
    base.write_text(yaml.safe_dump(reversed_tree, sort_keys=False))
    assert load_settings(environment).digest() == digest
    environment.write_text("index: {top_n: 7}")
    assert load_settings(environment).digest() != digest
    assert load_settings(environment, ["index.top_n=20"]).digest() == digest


@pytest.mark.parametrize(
    "override",
    [
        *("warehouse=x", "catalog=x", "archive.url=x", "archive.market=spot"),
        *("archive.interval=1m", "archive.start=2024-11", "archive.end=2025-11"),
        *("archive.require_checksum=false", "universe={mode: symbols, symbols: [A]}"),
        *("archive.listing_url=https://x", "archive.landing=x", "archive.transfers=3"),
        *("universe.mode=top100", "universe.target=9", "assets.reviewed='2026-01-01'"),
        *("assets.top100=[A]", "assets.sectors.meme=[A]", "exchange.um.info_url=x"),
        *("exchange.um.ticker_url=x", "exchange.spot.info_url=x", "exchange.spot.ticker_url=x"),
        *("silver.max_fill_bars=7", "silver.outage_share=0.51", "silver.severity={x: warn}"),
        *("silver.quote_volume_tolerance=0.1", "quality.max_failed_files=1"),
        *("quality.max_rejected_share=0.1", "index.correlation_threshold=0.8"),
        *("index.mode=static", "index.calendar=weekly", "index.lookback_days=30"),
        *("index.exclusions.reviewed='2024-01-01'", "index.exclusions.stable=[]"),
        *("index.exclusions.pegged=[]", "index.exclusions.wrapped=[]"),
        *("index.exclusions.staked=[]", "index.exclusions.leveraged=[]"),
        *("index.min_real_share=0.8", "index.min_age_days=1", "index.enter_volume=10000001"),
        *("index.stay_volume=1", "index.rank_buffer=1", "index.weighting=equal", "index.cap=0.2"),
        *("index.floor=0.01", "index.delay_bars=1", "index.execution=close", "index.cost_bps=5"),
        *("index.random_portfolios=0", "index.seed=43", "index.trials=2"),
        *("index.rulebooks={other: {}}", "index.rulebooks={other: {top_n: 3}}"),
        *("index.top_n=19", "ml.seed=43", "ml.pca.components=9", "ml.kmeans.clusters=4"),
        *("ml.pca.standardise=true", "ml.pca.lookback_days=30", "ml.pca.min_coverage=0.8"),
        *("ml.kmeans.resamples=3", "ml.kmeans.sweep=[3]"),
        *("ml.gbt.max_iter=9", "ml.gbt.max_depth=6", "ml.gbt.fold_days=4"),
        *("ml.gbt.embargo_bars=31", "ml.gbt.ridge_penalty=1", "mlflow.tracking_uri=x"),
        *("report.folder=x", "spark.master=x", "spark.remote=x", "spark.conf={a: b}"),
        *("factors.interval=5m", "factors.start=2025-01", "factors.end=2026-03"),
        *("factors.buckets=static", "factors.schedule=monthly", "factors.lookback_days=7"),
        *("factors.portfolios=long_short", "factors.window=2880", "factors.min_bars=100"),
        "factors.ridge=1.0e-7",
    ],
)
def test_the_digest_depends_on_every_setting(override: str) -> None:
    assert load_settings(SAMPLE, [override]).digest() != load_settings(SAMPLE).digest()


def test_the_canonical_json_says_it_all() -> None:
    settings = load_settings(SAMPLE)
    assert Settings.model_validate_json(settings.as_json()) == settings


def test_the_factor_model_has_candles_of_its_own() -> None:
    months = ["archive.start=2025-01", "archive.end=2025-06"]
    settings = load_settings(CONF / "base.yaml", [*months, "factors.end=2025-03"])
    assert settings.with_candles_of("archive") == settings
    own = settings.with_candles_of("factors")
    assert own.scope == {"market": "um", "interval": "1m"}
    assert (own.archive.start, own.archive.end) == ("2025-01", "2025-03")
    assert own.with_candles_of("factors") == own
    late = load_settings(CONF / "base.yaml", [*months, "factors.start=2025-07"])
    with pytest.raises(SettingsError, match="first month 2025-07 is after the last, 2025-06"):
        late.with_candles_of("factors")


def test_a_window_holds_the_bars_it_must_have() -> None:
    assert "min_bars 720 is above window 719" in refused(SAMPLE, "factors.window=719")


def test_a_stress_test_names_factors() -> None:
    overrides = [
        "factors.stress={momentum_high_minus_low: 0.1}",
        "factors.stress.market_return=null",
    ]
    assert load_settings(SAMPLE).factors.moves == {"market_return": -0.2}
    assert load_settings(SAMPLE, overrides).factors.moves == {"momentum_high_minus_low": 0.1}
    said = refused(SAMPLE, "factors.stress={size_low: -0.2}")
    assert "market_return or liquidity_low" in said
