"""The gold tasks over a small silver layer, against plain numpy; dates, runs and undefined values.

Metrics, correlations and the index are computed twice over the same candles, then the metrics
once more after a day has come.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from gold.contracts import ASSET_METRICS, CORRELATIONS, INDEX_DECISIONS, INDEX_WEIGHTS
from gold.tasks import asset_metrics, correlations, smart_index
from lakehouse.errors import NotEnoughData
from lakehouse.runs import TASK_RUNS
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from silver.contracts import CANDLES, LISTINGS
from tests.pipelines import changed_settings, interpreted, rows, run, versions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FloatArray = npt.NDArray[np.float64]
Row = dict[str, Any]

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
BAR = timedelta(hours=12)
BARS = 80
GOLD = (ASSET_METRICS, CORRELATIONS, INDEX_WEIGHTS, INDEX_DECISIONS)

Series = list[tuple[int, float, int, bool]]  # (bar, close, segment, is_filled)


def market() -> dict[str, Series]:
    """ALIKE and ALSO move together; BACK has two segments; FLAT never moves; NEW came late."""
    random = np.random.default_rng(7)
    steps = random.normal(0.001, 0.02, (4, BARS))
    steps[1] = steps[0] + random.normal(0, 0.002, BARS)
    walk = 100 * np.exp(np.cumsum(steps, axis=1))
    back = [
        (i, float(walk[2, i]), 1 if i < 30 else 2, False) for i in range(BARS) if not 22 < i < 30
    ]
    filled = [(i, back[22][1], 1, True) for i in (23, 24)]
    return {
        "ALIKEUSDT": [(i, float(walk[0, i]), 1, False) for i in range(BARS)],
        "ALSOUSDT": [(i, float(walk[1, i]), 1, False) for i in range(BARS)],
        "BACKUSDT": sorted(back + filled),
        "FLATUSDT": [(i, 5.0, 1, False) for i in range(BARS)],
        "NEWUSDT": [(i, float(walk[3, i]), 1, False) for i in range(BARS - 51, BARS)],
        "SOLOUSDT": [(i, float(walk[3, i]), 1, False) for i in range(BARS - 52, BARS)],
    }  # fmt: skip


def candle_rows(symbol: str, series: Series) -> Iterator[Row]:
    for bar, close, segment, is_filled in series:
        open_time = FIRST + bar * BAR
        yield {
            "market": "um", "interval": "12h", "symbol": symbol, "open_time": open_time,
            "open": close, "high": close, "low": close, "close": close, "volume": 1.0,
            "quote_volume": 0.0 if is_filled else close + bar, "trades": 1,
            "taker_buy_base": 0.0, "taker_buy_quote": 0.0, "is_filled": is_filled,
            "segment": segment, "warnings": None, "source_file": None if is_filled else "file",
            "line": None if is_filled else bar + 1, "month": f"{open_time:%Y-%m}",
        }  # fmt: skip


def listing_row(symbol: str, series: Series) -> Row:
    real = [FIRST + bar * BAR for bar, _, _, is_filled in series if not is_filled]
    return {
        "market": "um", "interval": "12h", "symbol": symbol, "first_open_time": real[0],
        "last_open_time": real[-1], "bars": len(real), "filled_bars": len(series) - len(real),
        "status": "trading",
    }  # fmt: skip


@dataclass
class Gold:
    """The tables after each run."""

    series: dict[str, Series]
    settings: Settings
    lake: Lake
    tables: list[dict[str, list[Row]]] = field(default_factory=list)
    versions: list[dict[str, int]] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    def look(self) -> None:
        self.tables.append({each.name: rows(self.lake, each) for each in GOLD})
        self.versions.append(versions(self.lake, GOLD))


@pytest.fixture(scope="module")
def gold(
    spark: "SparkSession", base_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gold]:
    warehouse = str(tmp_path_factory.mktemp("gold") / "lake")
    settings = changed_settings(base_settings, archive={"interval": "12h"}, index={"top_n": 2})
    settings = settings.model_copy(update={"warehouse": warehouse})
    made = Gold(market(), settings, Lake(spark, warehouse))

    def write(series: dict[str, Series]) -> None:
        candles = [row for symbol in series for row in candle_rows(symbol, series[symbol])]
        listed = [listing_row(symbol, series[symbol]) for symbol in series]
        made.lake.replace(CANDLES, made.lake.frame(CANDLES, candles), "market = 'um'")
        made.lake.replace(LISTINGS, made.lake.frame(LISTINGS, listed), "market = 'um'")

    with interpreted(spark):
        write(made.series)
        for run_id in ("run-1", "run-2"):
            done = run(spark, settings, run_id, asset_metrics, correlations, smart_index)
            made.figures = done["smart_index"].figures
            made.look()
        write({s: [*series, (BARS, series[-1][1], series[-1][2], False)]
               for s, series in made.series.items()})  # fmt: skip
        run(spark, settings, "run-3", asset_metrics)
        made.look()
        yield made


def log_returns(series: Series) -> dict[int, float]:
    """Returns by the bar at whose close they are known."""
    return {
        bar: float(np.log(close) - np.log(before))
        for (_, before, old, _), (bar, close, new, _) in pairwise(series)
        if old == new
    }


def max_drawdown(series: Series) -> float:
    falls = [0.0]
    for segment in {row[2] for row in series}:
        closes = np.array([close for _, close, own, _ in series if own == segment])
        falls.append(float((closes / np.maximum.accumulate(closes) - 1).min()))
    return min(falls)


def median_daily_volume(series: Series) -> float:
    days: dict[int, float] = {}
    for bar, close, _, is_filled in series:
        days[bar // 2] = days.get(bar // 2, 0.0) + (0.0 if is_filled else close + bar)
    return float(np.median(list(days.values())))


def test_metrics_equal_numpy(gold: Gold) -> None:
    found = gold.tables[0]["asset_metrics"]
    assert [row["symbol"] for row in found] == list(gold.series)
    for row in found:
        series = gold.series[row["symbol"]]
        returns = np.array(list(log_returns(series).values()))
        assert (row["bars"], row["returns"]) == (len(series), returns.size)
        assert row["max_drawdown"] == pytest.approx(max_drawdown(series), rel=1e-12)
        volume = median_daily_volume(series)
        assert row["median_daily_quote_volume"] == pytest.approx(volume, rel=1e-12)
        if row["symbol"] not in ("FLATUSDT", "NEWUSDT"):
            annual, deviation = returns.mean() * 730, returns.std(ddof=1) * np.sqrt(730)
            assert row["annual_return"] == pytest.approx(annual, rel=1e-9)
            assert row["annual_volatility"] == pytest.approx(deviation, rel=1e-9)
            assert row["sharpe"] == pytest.approx(annual / deviation, rel=1e-9)


def test_what_is_undefined_is_null(gold: Gold) -> None:
    by_symbol = {row["symbol"]: row for row in gold.tables[0]["asset_metrics"]}
    names = ("returns", "annual_return", "annual_volatility", "sharpe")
    flat, new = ([by_symbol[s][n] for n in names] for s in ("FLATUSDT", "NEWUSDT"))
    assert flat == [79, 0.0, 0.0, None]
    assert new == [50, None, None, None]  # more than 50 are needed, as SOLO has
    assert by_symbol["SOLOUSDT"]["returns"] == 51
    assert by_symbol["SOLOUSDT"]["sharpe"] is not None
    assert by_symbol["FLATUSDT"]["max_drawdown"] == 0.0


def test_correlations_equal_numpy(gold: Gold) -> None:
    returns = {symbol: log_returns(series) for symbol, series in gold.series.items()}
    bars = sorted(set().union(*returns.values()))
    matrix = np.array([[by_bar.get(bar, 0.0) for by_bar in returns.values()] for bar in bars])
    moving = [symbol for symbol in returns if symbol != "FLATUSDT"]
    kept = [list(returns).index(symbol) for symbol in moving]
    rho = np.corrcoef(matrix[:, kept], rowvar=False)
    found = {(r["symbol_a"], r["symbol_b"]): r["rho"] for r in gold.tables[0]["correlations"]}
    assert list(found) == list(combinations(gold.series, 2))
    for (i, a), (j, b) in combinations(enumerate(moving), 2):
        assert found[a, b] == pytest.approx(rho[i, j], rel=1e-9, abs=1e-13)
    constant = {pair: value for pair, value in found.items() if "FLATUSDT" in pair}
    assert len(constant) == 5
    assert set(constant.values()) == {None}


def test_rows_carry_the_close_of_the_last_bar_and_their_run(gold: Gold) -> None:
    for name, found in gold.tables[0].items():
        assert {row["as_of"] for row in found} == {FIRST + BARS * BAR}, name
        assert {row["run_id"] for row in found} == {"run-1"}, name
        assert {(row["market"], row["interval"]) for row in found} == {("um", "12h")}, name
        assert {row.get("lookback_days") for row in found} == {None}, name


def test_the_run_is_in_ops_with_the_versions_it_read_and_wrote(gold: Gold) -> None:
    runs = {(r["run_id"], r["task"]): r for r in rows(gold.lake, TASK_RUNS)}
    first = runs["run-1", "smart_index"]
    assert dict(first["read_versions"]) == {
        "silver.listings": 1,
        "gold.asset_metrics": gold.versions[0]["asset_metrics"],
        "gold.correlations": gold.versions[0]["correlations"],
    }
    assert dict(first["written_versions"]) == {
        "gold.index_weights": gold.versions[0]["index_weights"],
        "gold.index_decisions": gold.versions[0]["index_decisions"],
    }
    read = dict(runs["run-1", "asset_metrics"]["read_versions"])
    assert read == {"silver.listings": 1, "silver.candles": 1}
    assert dict(runs["run-3", "asset_metrics"]["read_versions"])["silver.candles"] == 2


def test_a_second_run_replaces_the_rows(gold: Gold) -> None:
    for name, second in gold.tables[1].items():
        stamps = [
            {key: row[key] for key in ("run_id", "read_versions") if key in row} for row in second
        ]
        first = zip(gold.tables[0][name], stamps, strict=True)
        assert second == [{**row, **stamp} for row, stamp in first], name
        assert {stamp["run_id"] for stamp in stamps} == {"run-2"}
        assert gold.versions[1][name] == gold.versions[0][name] + 1


def test_a_later_date_leaves_the_earlier_one(gold: Gold) -> None:
    before, after = gold.tables[1]["asset_metrics"], gold.tables[2]["asset_metrics"]
    assert [row for row in after if row["as_of"] == FIRST + BARS * BAR] == before
    later = [row for row in after if row["as_of"] == FIRST + (BARS + 1) * BAR]
    assert [row["bars"] for row in later] == [row["bars"] + 1 for row in before]
    assert len(after) == len(before) + len(later)


def test_the_index_decides_on_every_symbol(gold: Gold) -> None:
    decided = {r["symbol"]: r for r in gold.tables[0]["index_decisions"]}
    sharpe = {r["symbol"]: r["sharpe"] for r in gold.tables[0]["asset_metrics"]}
    loser, winner = sorted(("ALIKEUSDT", "ALSOUSDT"), key=lambda symbol: float(sharpe[symbol]))
    members = sorted((winner, "BACKUSDT", "SOLOUSDT"), key=lambda symbol: -float(sharpe[symbol]))
    assert {s: (row["decision"], row["rule"]) for s, row in decided.items()} == {
        loser: ("dropped", "correlation"),
        "FLATUSDT": ("ineligible", "history"),
        "NEWUSDT": ("ineligible", "history"),
        members[0]: ("selected", "rank"),
        members[1]: ("selected", "rank"),
        members[2]: ("not_ranked", "rank"),
    }
    assert winner in decided[loser]["detail"]
    assert decided["FLATUSDT"]["detail"] == "no volatility"
    assert decided["NEWUSDT"]["detail"] == "50 returns, more than 50 needed"
    assert {row["index_name"] for row in decided.values()} == {"smart_static"}
    held = sorted(gold.tables[0]["index_weights"], key=lambda row: int(row["rank"]))
    assert [row["symbol"] for row in held] == members[:2]
    assert sum(row["weight"] for row in held) == pytest.approx(1, abs=1e-15)
    inverse = np.array([1 / row["annual_volatility"] for row in held])
    np.testing.assert_allclose([row["weight"] for row in held], inverse / inverse.sum(), rtol=1e-12)
    assert members[0] in gold.figures["smart_static (in-sample)"]


def test_an_index_without_correlations_of_its_date_is_refused(
    spark: "SparkSession", gold: Gold
) -> None:
    with pytest.raises(NotEnoughData, match="run correlations first"):
        run(spark, gold.settings, "run-4", smart_index)
    assert rows(gold.lake, INDEX_WEIGHTS) == gold.tables[2]["index_weights"]


def test_without_candles_it_says_what_to_run(spark: "SparkSession", gold: Gold) -> None:
    spot = changed_settings(gold.settings, archive={"market": "spot"})
    for task in (asset_metrics, correlations, smart_index):
        with pytest.raises(NotEnoughData, match="ingest_archive and clean_candles first"):
            run(spark, spot, "run-5", task)
