"""A walk-forward index on Spark, against a plain computation with pandas, bar by bar."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gold.contracts import (
    INDEX_DECISIONS,
    INDEX_LEVELS,
    INDEX_RANDOM_LEVELS,
    INDEX_STATISTICS,
    INDEX_WEIGHTS,
)
from gold.tasks import smart_index
from lakehouse.contracts import TableContract
from lakehouse.errors import NotEnoughData
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from lakehouse.tasks import TaskOutcome
from silver.contracts import CANDLES, LISTINGS
from tests.pipelines import as_arrow, changed_settings, do, interpreted, rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

START = pd.Timestamp("2024-10-01", tz="UTC")
BAR = pd.Timedelta(hours=4)
BARS = 300
LOOKBACK = pd.Timedelta(days=14)
MAX_FILL, TOP_N, THRESHOLD, COST = 6, 4, 0.85, 0.001
LATE, STOPPED, THIN, EXCLUDED, TWIN, BACK = (
    f"{name}USDT" for name in ("LATE", "STOP", "THIN", "USDC", "TWIN", "BACK")
)
SYMBOLS = sorted(
    [LATE, STOPPED, THIN, EXCLUDED, TWIN, BACK, "BTCUSDT", "AUSDT", "DUSDT", "EUSDT", "GUSDT"]
)
STOPPED_AT = 200  # the first bar that it lacks, in the middle of a holding period
HOLE = 140  # the first of ten bars that another one lacks
RULES: dict[str, object] = {
    "mode": "monthly",
    "calendar": "weekly",
    "lookback_days": LOOKBACK.days,
    "top_n": TOP_N,
    "enter_volume": 1_000.0,
    "stay_volume": 500.0,
    "random_portfolios": 40,
}
TABLES = (INDEX_WEIGHTS, INDEX_DECISIONS, INDEX_LEVELS, INDEX_RANDOM_LEVELS, INDEX_STATISTICS)


def filled(frame: pd.DataFrame, start: int) -> pd.DataFrame:
    """The first bars of a hole, flat."""
    flat = slice(start, start + MAX_FILL - 1)
    frame = frame.copy()
    frame.loc[flat, ["open", "close"]] = frame.loc[start - 1, "close"]
    frame.loc[flat, "quote_volume"] = 0.0
    frame.loc[flat, "is_filled"] = True
    return frame


def market() -> pd.DataFrame:
    """symbol, open_time, open, close, quote_volume, is_filled, segment."""
    rng = np.random.default_rng(5)
    frames = []
    for place, symbol in enumerate(SYMBOLS):
        r = rng.normal(0.004 - 0.0008 * place, 0.01 + 0.002 * place, BARS)
        if symbol == STOPPED:
            r += 0.02  # a member by its Sharpe
        gap = rng.normal(0, 0.001, BARS)
        close = 100 * np.exp(np.cumsum(r))
        frame = pd.DataFrame(
            {
                "symbol": symbol,
                "open_time": START + BAR * np.arange(BARS),
                "open": np.concatenate([[100.0], close[:-1]]) * np.exp(gap),
                "close": close,
                "quote_volume": rng.uniform(900, 1300, BARS) * (0.1 if symbol == THIN else 1),
                "is_filled": False,
                "segment": 1,
            }
        )
        if symbol == LATE:
            frame = frame.iloc[100:]
        if symbol == STOPPED:
            frame = frame.iloc[: STOPPED_AT + MAX_FILL]
            frame = filled(frame, STOPPED_AT)
        if symbol == BACK:
            frame.loc[HOLE + 10 :, "segment"] = 2
            frame = filled(frame, HOLE).drop(index=range(HOLE + MAX_FILL, HOLE + 10))
        frames.append(frame)
    by_name = {frame["symbol"].iloc[0]: frame for frame in frames}
    for column in ("open", "close"):  # moves with another, so that one of them is dropped
        by_name[TWIN][column] = by_name["AUSDT"][column] * 2
    return pd.concat(frames, ignore_index=True)


def stored(spark: SparkSession, settings: Settings, candles: pd.DataFrame) -> Lake:
    """Silver tables with these candles."""
    lake = Lake(spark, settings.warehouse)
    scope = {"market": "um", "interval": "4h"}
    whole = candles.assign(
        **scope,
        high=candles[["open", "close"]].max(axis=1),
        low=candles[["open", "close"]].min(axis=1),
        **dict.fromkeys(("volume", "taker_buy_base", "taker_buy_quote"), 1.0),
        trades=1,
        warnings=None,
        source_file=np.where(candles["is_filled"], None, "data/made-up.zip"),
        line=1,
        month=candles["open_time"].dt.strftime("%Y-%m"),
    )
    real = candles[~candles["is_filled"]].groupby("symbol")["open_time"]
    listed = pd.DataFrame({"first_open_time": real.min(), "last_open_time": real.max()})
    listed = listed.reset_index().assign(**scope, bars=1, filled_bars=0, status="trading")
    for contract, frame in ((CANDLES, whole), (LISTINGS, listed)):
        rows_of = spark.createDataFrame(as_arrow(contract, frame))
        lake.replace(contract, rows_of, "market = 'um'")
    return lake


class Made:
    """The tables that the task wrote of a market."""

    def __init__(self, spark: SparkSession, settings: Settings, candles: pd.DataFrame) -> None:
        self.lake = stored(spark, settings, candles)
        with interpreted(spark):
            self.outcome: TaskOutcome = do(spark, settings, smart_index, "run-1")
        self.tables = {each.name: rows(self.lake, each) for each in TABLES}

    def levels(self, name: str) -> pd.DataFrame:
        found = [row for row in self.tables["index_levels"] if row["index_name"] == name]
        return pd.DataFrame(found).set_index("open_time")


@pytest.fixture(scope="module")
def of(base_settings: Settings) -> Any:
    def settings(warehouse: Any, **rules: object) -> Settings:
        placed = base_settings.model_copy(update={"warehouse": str(warehouse)})
        return changed_settings(placed, index={**RULES, **rules})

    return settings


@pytest.fixture(scope="module")
def made(spark: SparkSession, of: Any, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(spark, of(tmp_path_factory.mktemp("walk")), market())


def mondays() -> list[pd.Timestamp]:
    days = pd.date_range(START, START + BAR * BARS, freq="D")
    return [day for day in days if day.weekday() == 0 and day >= START + LOOKBACK]


def plain_determinations() -> dict[pd.Timestamp, dict[str, Any]]:
    """Word for word: decision and weight of each symbol at each date."""
    candles = market()
    members: set[str] = set()
    found: dict[pd.Timestamp, dict[str, Any]] = {}
    for as_of in mondays():
        past = candles[candles["open_time"] < as_of]
        first = past.groupby("symbol")["open_time"].min()
        look = past[past["open_time"] >= as_of - LOOKBACK]
        rule: dict[str, str] = {}
        sharpe, deviation, returns = {}, {}, {}
        for symbol in sorted(first.index):
            own = look[look["symbol"] == symbol].set_index("open_time")
            r = np.log(own["close"] / own["close"].shift())[own["segment"].diff() == 0]
            volume = own.groupby(own.index.floor("D"))["quote_volume"].sum().median()
            real = own[~own["is_filled"]]
            if symbol == EXCLUDED:
                rule[symbol] = "exclusion"
            elif real.empty or (as_of - real.index.max()) / BAR - 1 > MAX_FILL:
                rule[symbol] = "trading"
            elif first[symbol] > as_of - LOOKBACK or len(real) < 0.9 * 84:
                rule[symbol] = "history"
            elif not volume >= (500 if symbol in members else 1000):
                rule[symbol] = "liquidity"
            else:
                sharpe[symbol] = r.mean() / r.std() * np.sqrt(2190)
                deviation[symbol] = r.std()
                returns[symbol] = r
        rho = pd.DataFrame(returns).fillna(0.0).corr()
        lost: set[str] = set()
        for a, b in combinations(sorted(sharpe), 2):
            if a not in lost and b not in lost and abs(rho.loc[a, b]) > THRESHOLD:
                lost.add(a if sharpe[a] < sharpe[b] else b)
        ranked = sorted(sharpe.keys() - lost, key=lambda name: (-sharpe[name], name))
        inverse = {name: 1 / deviation[name] for name in ranked[:TOP_N]}
        members = set(inverse)
        found[as_of] = {
            "rule": rule | dict.fromkeys(lost, "correlation") | dict.fromkeys(ranked, "rank"),
            "weights": {name: value / sum(inverse.values()) for name, value in inverse.items()},
            "eligible": sorted(sharpe),
        }
    return found


def plain_levels(targets: dict[pd.Timestamp, dict[str, float]]) -> pd.DataFrame:
    """Units and cash, bar by bar: open_time, level, turnover."""
    candles = market()
    opens, closes = (
        candles.pivot(index="open_time", columns="symbol", values=v) for v in ("open", "close")
    )
    value, cash, units = 1000.0, 1000.0, dict[str, float]()
    lines = []
    for time in opens.index[opens.index >= min(targets)]:
        turnover = 0.0
        if time in targets:
            price = {name: float(opens.loc[time, name]) for name in SYMBOLS}
            value = cash + sum(amount * price[name] for name, amount in units.items())
            before = {name: amount * price[name] / value for name, amount in units.items()}
            after = targets[time]
            moved = sum(abs(after.get(n, 0) - before.get(n, 0)) for n in SYMBOLS)
            moved += abs(sum(before.values()) - sum(after.values()))
            turnover = moved / 2
            value *= 1 - COST * turnover
            units = {name: weight * value / price[name] for name, weight in after.items()}
            cash = value * (1 - sum(after.values()))
        for name in [n for n in units if np.isnan(closes.loc[time, n])]:
            last = float(closes[name].dropna().loc[:time].iloc[-1])
            amount = units.pop(name) * last
            cash += amount * (1 - COST)
            others = sum(units[n] * closes.loc[time, n] for n in units)
            turnover += amount / (cash + others + amount * COST)
        value = cash + sum(units[name] * closes.loc[time, name] for name in units)
        lines.append((time, value, turnover))
    return pd.DataFrame(lines, columns=["open_time", "level", "turnover"]).set_index("open_time")


def test_decisions_and_weights_are_the_rules_word_for_word(made: Made) -> None:
    expected = plain_determinations()
    decided = pd.DataFrame(made.tables["index_decisions"])
    held = pd.DataFrame(made.tables["index_weights"])
    assert sorted(decided["as_of"].unique()) == sorted(expected)
    for as_of, plain in expected.items():
        at = decided[decided["as_of"] == as_of]
        assert dict(zip(at["symbol"], at["rule"], strict=True)) == plain["rule"]
        weights = held[held["as_of"] == as_of].set_index("symbol")["weight"]
        assert set(weights.index) == set(plain["weights"])
        np.testing.assert_allclose(weights, [plain["weights"][n] for n in weights.index], rtol=1e-9)
    rules = {rule for plain in expected.values() for rule in plain["rule"].values()}
    assert rules == {"exclusion", "trading", "history", "liquidity", "correlation", "rank"}


def test_levels_are_units_and_cash_bar_by_bar(made: Made) -> None:
    plain = plain_determinations()
    last_bar = START + BAR * (BARS - 1)
    dates = [as_of for as_of in plain if as_of <= last_bar]
    targets = {
        "smart_monthly": {as_of: plain[as_of]["weights"] for as_of in dates},
        "equal_weight": {
            as_of: dict.fromkeys(plain[as_of]["eligible"], 1 / len(plain[as_of]["eligible"]))
            for as_of in dates
        },
        "buy_and_hold_btc": {as_of: {"BTCUSDT": 1.0} for as_of in dates},
    }
    for name, target in targets.items():
        expected, found = plain_levels(target), made.levels(name)
        assert found["level"].iloc[0] == 1000.0
        assert list(found.index[1:]) == list(expected.index)
        np.testing.assert_allclose(found["level"].iloc[1:], expected["level"], rtol=1e-9)
        np.testing.assert_allclose(found["turnover"].iloc[1:], expected["turnover"], atol=1e-9)


def test_a_member_that_stops_is_sold_and_named(made: Made) -> None:
    sold = made.levels("smart_monthly")["sold"].dropna()
    assert sold.to_dict() == {
        START + BAR * (HOLE + MAX_FILL): [BACK],
        START + BAR * (STOPPED_AT + MAX_FILL): [STOPPED],
    }
    named = made.outcome.figures["smart_monthly, sold as they stopped trading"]
    assert named == f"{BACK}, {STOPPED}"
    details = {
        (row["as_of"], row["symbol"]): row["detail"] for row in made.tables["index_decisions"]
    }
    told = {key: detail for key, detail in details.items() if "a member until sold" in detail}
    for at, symbols in sold.items():
        following = min(date for date in mondays() if date >= at + BAR)
        assert told.pop((following, symbols[0])).endswith(
            f"; a member until sold at the bar of {at:%Y-%m-%d %H:%M}"
        )
    assert told == {}


def test_rows_name_their_run_and_what_they_were_made_from(made: Made) -> None:
    for name, found in made.tables.items():
        assert found, name
        assert {row["run_id"] for row in found} == {"run-1"}
        assert all(
            dict(row["read_versions"]) == {"silver.candles": 1, "silver.listings": 1}
            for row in found
        )


def test_statistics_name_dates_and_numbers(made: Made) -> None:
    found = {(r["index_name"], r["statistic"]): r for r in made.tables["index_statistics"]}
    level = made.levels("smart_monthly")["level"]
    assert found["smart_monthly", "total_return"]["value"] == pytest.approx(
        level.iloc[-1] / 1000 - 1
    )
    trough = (level / level.cummax()).idxmin()
    assert found["smart_monthly", "max_drawdown_trough"]["at"] == trough
    assert found["smart_monthly", "max_drawdown_trough"]["value"] is None
    assert 0 <= found["smart_monthly", "random_share_below"]["value"] <= 1


def test_the_random_band_holds_the_random_portfolios(made: Made) -> None:
    band = pd.DataFrame(made.tables["index_random_levels"])
    assert len(band) == len(made.levels("smart_monthly"))
    assert (band.iloc[0][["p05", "p50", "p95"]] == 1000.0).all()
    assert band.iloc[-1]["p05"] < band.iloc[-1]["p95"]


@pytest.mark.parametrize("cut", [190, 247])
def test_cutting_the_future_changes_no_bit_of_the_past(
    spark: SparkSession, of: Any, made: Made, tmp_path: Any, cut: int
) -> None:
    candles = market()
    now = START + BAR * cut
    earlier = Made(spark, of(tmp_path), candles[candles["open_time"] < now]).tables
    for name in ("index_weights", "index_decisions", "index_levels", "index_random_levels"):
        column = "as_of" if name in ("index_weights", "index_decisions") else "open_time"
        # The last bar's trades are not done yet when the candles end with the bar before.
        past = [
            row
            for row in made.tables[name]
            if row[column] <= now - (BAR if column == "open_time" else 0 * BAR)
        ]
        assert past, name
        assert earlier[name] == past, name


def test_an_index_with_nothing_eligible_is_cash(
    spark: SparkSession, of: Any, tmp_path: Any
) -> None:
    poor = Made(spark, of(tmp_path, enter_volume=1e12, stay_volume=1e12), market())
    assert poor.tables["index_weights"] == []
    assert set(poor.levels("smart_monthly")["level"]) == {1000.0}
    assert {r["rule"] for r in poor.tables["index_decisions"]} >= {"liquidity", "exclusion"}


def test_a_run_with_no_level_leaves_none_of_an_earlier_run(
    spark: SparkSession, of: Any, tmp_path: Any
) -> None:
    candles = market()
    early = candles[candles["open_time"] < mondays()[0]]
    first = Made(spark, of(tmp_path), candles[candles["open_time"] <= mondays()[0]])
    assert first.tables["index_levels"]
    # The same candles less one bar: determined at the last close, and not held for a bar yet.
    again = Made(spark, of(tmp_path), early)
    assert again.tables["index_weights"]
    assert "none in effect yet" in again.outcome.message
    for name in ("index_levels", "index_random_levels", "index_statistics"):
        assert again.tables[name] == []
    # And none of an index that the settings do not name any more, or that the candles are too few
    # for: it would be taken for a current one.
    lake = again.lake
    lake.append(INDEX_WEIGHTS, renamed(lake, INDEX_WEIGHTS, "smart_monthly", "gone"))
    lake.append(INDEX_DECISIONS, renamed(lake, INDEX_DECISIONS, "smart_monthly", "gone"))
    settings = of(tmp_path)
    stored(spark, settings, candles[candles["open_time"] < START + pd.Timedelta(days=10)])
    with pytest.raises(NotEnoughData, match=r"do not reach over 14 days.*index.lookback_days"):
        do(spark, settings, smart_index, "run-1")
    assert {contract.name: rows(lake, contract) for contract in TABLES} == {
        contract.name: [] for contract in TABLES
    }


def renamed(lake: Lake, contract: TableContract, name: str, other: str) -> DataFrame:
    """The rows of an index under another name."""
    return lake.read_own(contract).where(f"index_name = '{name}'").replace(name, other)
