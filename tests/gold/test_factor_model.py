"""The factor model's tasks on Delta tables: cut in any way, a day at a time or all at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gold import factor_exposures as exposures_module
from gold.factor_candles import Span
from gold.factor_contracts import FACTOR_BUCKETS, FACTOR_EXPOSURES, FACTOR_RETURNS, TABLES
from gold.factor_exposures import Cut
from gold.factor_returns import in_force, sorting_dates
from gold.tasks import factor_exposures, factor_returns
from lakehouse.errors import NotEnoughData
from lakehouse.intervals import MICROS_PER_DAY
from lakehouse.maintenance import maintain_tables
from lakehouse.runs import TaskRun
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from tests.gold.factor_market import (
    DAYS,
    FIRST_DAY,
    PER_DAY,
    SETTINGS,
    STEP_US,
    SYMBOLS,
    candles,
    model,
    scrambled_from,
    with_factors,
    write_silver,
)
from tests.pipelines import interpreted, run
from tests.support import rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LATER = FIRST_DAY + 10


def tables(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    return {table.name: rows_of(lake, table) for table in TABLES}


def known_by(lake: Lake, day: int) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of bars before a day, and of buckets that hold from its start at the latest."""
    end = f"TIMESTAMP '{datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}'"
    found = {}
    for table in TABLES:
        early = f"as_of <= {end}" if "as_of" in table.key else f"open_time < {end}"
        rows = lake.read_own(table).where(early).drop("run_id").toArrow().to_pylist()
        found[table.name] = sorted((tuple(row.items()) for row in rows), key=repr)
    return found


@dataclass(frozen=True)
class Grown:
    """A lake with a false last day, which was corrected and grew by one, and what each run did."""

    settings: Settings
    before: Mapping[str, list[tuple[Any, ...]]]
    final: Mapping[str, list[tuple[Any, ...]]]
    done: list[dict[str, TaskRun]]
    versions: list[dict[str, int]]


@pytest.fixture(scope="module")
def grown(
    spark: "SparkSession", base_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Grown:
    settings = with_factors(base_settings, tmp_path_factory.mktemp("grown"))
    lake, whole = Lake(spark, settings.warehouse), candles()
    false_day = scrambled_from(whole[whole["bar"] < (LATER + 1) * PER_DAY], LATER * PER_DAY, 1)
    done, versions = [], []
    before: dict[str, list[tuple[Any, ...]]] = {}
    with interpreted(spark):
        for step, frame in enumerate((false_day, whole, whole)):
            write_silver(lake, frame)
            done.append(run(spark, settings, f"r{step}", factor_returns, factor_exposures))
            versions.append({table.name: lake.version(table) for table in TABLES})
            before = before or known_by(lake, LATER)
        final = tables(lake)
        run(spark, settings, "upkeep", maintain_tables)
        versions.append({table.name: lake.version(table) for table in TABLES})
        done.append(run(spark, settings, "r3", factor_returns, factor_exposures))
    return Grown(settings, before, final, done, versions)


@dataclass(frozen=True)
class MadeAtOnce:
    """What a lake holds that was made at once in small pieces over many partitions.

    Attributes:
        settings: Of the lake.
        rows: Of all tables.
        known: Those known by the day that was false in the lake that grew.
        returns: gold.factor_returns.
        exposures: gold.factor_exposures.
    """

    settings: Settings
    rows: Mapping[str, list[tuple[Any, ...]]]
    known: Mapping[str, list[tuple[Any, ...]]]
    returns: pd.DataFrame
    exposures: pd.DataFrame


@pytest.fixture(scope="module")
def otherwise_cut(
    spark: "SparkSession", base_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> MadeAtOnce:
    settings = with_factors(base_settings, tmp_path_factory.mktemp("cut"))
    lake = Lake(spark, settings.warehouse)
    shuffled = spark.conf.get("spark.sql.shuffle.partitions")
    with pytest.MonkeyPatch.context() as patch, interpreted(spark):
        patch.setattr(exposures_module, "_BLOCK_CANDLES", 1_200)
        assert Cut.of(7, SETTINGS.window, 1_200) == Cut(bars=208, coins=3)
        spark.conf.set("spark.sql.shuffle.partitions", "5")
        try:
            write_silver(lake, candles().sample(frac=1, random_state=1))
            run(spark, settings, "r", factor_returns, factor_exposures)
        finally:
            spark.conf.set("spark.sql.shuffle.partitions", str(shuffled))
        returns, exposures = (
            lake.read_own(table).toArrow().to_pandas()
            for table in (FACTOR_RETURNS, FACTOR_EXPOSURES)
        )
        return MadeAtOnce(settings, tables(lake), known_by(lake, LATER), returns, exposures)


def test_a_lake_that_grew_equals_one_made_at_once_in_other_pieces(
    grown: Grown, otherwise_cut: MadeAtOnce
) -> None:
    assert grown.final == otherwise_cut.rows


def test_the_tables_hold_what_the_kernels_say(otherwise_cut: MadeAtOnce) -> None:
    expected = model(candles())
    found = otherwise_cut.exposures
    found["bar"] = found["open_time"].astype("int64") // STEP_US
    columns = expected.exposures.column_names
    whole = expected.exposures.to_pandas().sort_values(["symbol", "bar"], ignore_index=True)
    pd.testing.assert_frame_equal(
        found[columns].sort_values(["symbol", "bar"], ignore_index=True),
        whole,
        check_exact=True,
        check_dtype=False,
    )
    returns = otherwise_cut.returns.sort_values("open_time")
    for name in ("market_return", "liquidity_low", "momentum_high", "coins"):
        np.testing.assert_array_equal(returns[name], expected.returns.to_pandas()[name])
    months = {f"{time:%Y-%m}" for time in returns["open_time"]}
    assert set(returns["month"]) == months == {"2026-01", "2026-02"}


def test_no_row_of_the_past_changes_with_the_future(
    grown: Grown, otherwise_cut: MadeAtOnce
) -> None:
    """Made before a false day and before the true one: no later run wrote the rows again."""
    assert grown.before == otherwise_cut.known
    assert all(grown.before.values())


def test_a_corrected_and_a_new_day_are_all_that_is_made_again(grown: Grown) -> None:
    first, second, third, after_upkeep = grown.done
    assert first["factor_exposures"].message.startswith("all bars:")
    day = f"{datetime.fromtimestamp(LATER * 86_400, UTC):%Y-%m-%d}"
    for name in ("factor_returns", "factor_exposures"):
        assert second[name].message.startswith(f"from {day} on:")
        assert third[name].status == after_upkeep[name].status == "unchanged"
    assert grown.versions[2] == grown.versions[1]
    assert grown.versions[3]["factor_exposures"] > grown.versions[2]["factor_exposures"]
    bars = 2 * PER_DAY
    assert f"from {day} on: {bars} bars of up to 7 coins" in second["factor_returns"].message
    assert second["factor_exposures"].read_versions[FACTOR_RETURNS.full_name] > 0


def test_static_buckets_are_one_in_sample_date_and_long_short_is_high_minus_low(
    spark: "SparkSession", otherwise_cut: MadeAtOnce
) -> None:
    factors = SETTINGS.model_copy(update={"buckets": "static", "portfolios": "long_short"})
    settings = otherwise_cut.settings.model_copy(update={"factors": factors})
    lake = Lake(spark, settings.warehouse)
    with interpreted(spark):
        done = run(spark, settings, "static", factor_returns, factor_exposures)
        buckets = lake.read_own(FACTOR_BUCKETS).toArrow().to_pylist()
        returns = lake.read_own(FACTOR_RETURNS).toArrow().to_pandas()
        exposures = lake.read_own(FACTOR_EXPOSURES).toArrow().to_pandas()
    assert done["factor_returns"].figures["buckets"] == "static (in-sample)"
    end = datetime.fromtimestamp((FIRST_DAY + DAYS) * 86_400, UTC)
    assert {(row["as_of"], row["lookback_days"]) for row in buckets} == {(end, None)}
    held = {(row["factor"], row["symbol"]): row["bucket"] for row in buckets}
    assert set(returns["buckets"]) == {"static"}
    # Momentum needs 720 bars in a row: one coin is too new, one has a hole, one ended.
    without = {symbol for symbol in SYMBOLS if ("momentum", symbol) not in held}
    assert without == {"BUSDT", "DUSDT", "GUSDT"}
    assert len(held) == 3 * 7 - 3
    assert returns["liquidity_low"].notna().all()
    frame = candles()
    low = frame[[held["liquidity", symbol] == "low" for symbol in frame["symbol"]]]
    mean = ((low["close"] - low["open"]) / low["open"]).groupby(low["bar"]).mean()
    np.testing.assert_allclose(returns.sort_values("open_time")["liquidity_low"], mean, rtol=1e-9)
    assert exposures["beta_liquidity_low"].isna().all()
    assert exposures["beta_momentum_high_minus_low"].notna().all()
    assert exposures["beta_market"].notna().all()


def test_too_few_coins_are_told(spark: "SparkSession", grown: Grown) -> None:
    # With another lookback everything is made again, as in an empty lake.
    factors = SETTINGS.model_copy(update={"lookback_days": 3})
    settings = grown.settings.model_copy(update={"factors": factors})
    other = SETTINGS.model_copy(update={"interval": "5m"})
    lake, frame = Lake(spark, settings.warehouse), candles()
    with interpreted(spark):
        with pytest.raises(NotEnoughData, match="holds no 5m candles of market um"):
            run(spark, settings.model_copy(update={"factors": other}), "none", factor_returns)
        write_silver(lake, frame[frame["symbol"].isin(["AUSDT", "DUSDT"])])
        run(spark, settings, "two", factor_returns)
        with pytest.raises(NotEnoughData, match="three coins or more"):
            run(spark, settings, "two", factor_exposures)


# 2026-01-31 and the days after it: a month ends.
END = 20_484


@pytest.mark.parametrize(
    ("schedule", "start", "dates"),
    [
        ("daily", None, [END, END + 1, END + 2, END + 3]),
        ("daily", END + 1, [END + 2, END + 3]),
        ("monthly", None, [END + 1]),
        ("monthly", END + 1, []),
        ("static", None, [END + 3]),
    ],
)
def test_dates_of_sorting(
    base_settings: Settings, schedule: str, start: int | None, dates: list[int]
) -> None:
    how = {"buckets": schedule} if schedule == "static" else {"schedule": schedule}
    factors = SETTINGS.model_copy(update=how)
    first = END - 1
    covered = Span(first * MICROS_PER_DAY, (END + 3) * MICROS_PER_DAY, SYMBOLS)
    found = sorting_dates(factors, covered, start)
    lookback = [(first, END + 2)] if schedule == "static" else [(d - 4, d - 1) for d in dates]
    assert found == [
        (as_of * MICROS_PER_DAY, *days) for as_of, days in zip(dates, lookback, strict=True)
    ]


def test_buckets_hold_from_the_day_that_they_are_known_to_the_next_ones() -> None:
    days, as_ofs = range(10, 16), [12 * MICROS_PER_DAY, 14 * MICROS_PER_DAY]
    held = in_force(as_ofs, days, is_static=False).to_pydict()
    assert held["block"] == [12, 13, 14, 15]
    assert [us // MICROS_PER_DAY for us in held["as_of_us"]] == [12, 12, 14, 14]
    sample = in_force([16 * MICROS_PER_DAY], days, is_static=True).to_pydict()
    assert sample == {"block": [*days], "as_of_us": [16 * MICROS_PER_DAY] * 6}


@pytest.mark.parametrize("coins", [1, 7, 100, 347, 348, 500, 3000])
@pytest.mark.parametrize("window", [60, 1440, 20_160])
def test_no_piece_is_larger_than_it_may_be(coins: int, window: int) -> None:
    cut = Cut.of(coins, window, candles=1_000_000)
    assert cut.bars >= window
    assert cut.coins * (cut.bars + window) <= 1_000_000


def test_a_window_too_large_for_any_group_is_worked_on_coin_by_coin() -> None:
    assert Cut.of(100, 600_000, candles=1_000_000) == Cut(bars=600_000, coins=1)
