"""The sample candles through all tasks up to the index, against numpy and polars from the ZIPs."""

import io
import zipfile
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from bronze.tasks import ingest_archive
from gold.contracts import ASSET_METRICS, CORRELATIONS, INDEX_DECISIONS, INDEX_WEIGHTS
from gold.tasks import asset_metrics, correlations, smart_index
from lakehouse.contracts import TableContract
from lakehouse.runs import TaskRun
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from silver.contracts import CANDLES, LISTINGS
from silver.tasks import clean_candles, quality_gate
from tests.pipelines import lake_of, rows, run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SAMPLES = Path(__file__).parents[1] / "samples"
KLINES = SAMPLES / "data/futures/um/monthly/klines"
TASKS = (ingest_archive, clean_candles, asset_metrics, correlations, smart_index, quality_gate)
AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
BARS_PER_YEAR = 365 * 6

FloatArray = npt.NDArray[np.float64]


class Golden:
    """The tables that the tasks made, and the same candles straight from the ZIPs."""

    def __init__(self, lake: Lake, done: dict[str, TaskRun]) -> None:
        self.lake = lake
        self.done = done
        self.candles = published_candles()
        self.symbols: list[str] = self.candles["symbol"].unique().sort().to_list()
        logs = pl.col("close").log().diff().over("symbol", order_by="open_time").alias("r")
        self.returns = self.candles.with_columns(logs).drop_nulls("r")

    def rho(self) -> FloatArray:
        """Correlations over the bars at which any symbol has a return; a missing return is 0."""
        wide = self.returns.pivot(on="symbol", index="open_time", values="r")
        matrix = wide.select(self.symbols).fill_null(0.0).to_numpy()
        return np.asarray(np.corrcoef(matrix, rowvar=False))


def published_candles() -> pl.DataFrame:
    months = []
    for path in sorted(KLINES.glob("*/4h/*.zip")):
        with zipfile.ZipFile(path) as archive:
            month = pl.read_csv(io.BytesIO(archive.read(f"{path.stem}.csv")))
        symbol = pl.lit(path.parent.parent.name).alias("symbol")
        numbers = pl.col("close", "quote_volume").cast(pl.Float64)
        months.append(month.select(symbol, pl.from_epoch("open_time", "ms"), numbers))
    return pl.concat(months).sort("symbol", "open_time")


@pytest.fixture(scope="module")
def golden(
    spark: "SparkSession", base_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Golden:
    settings = lake_of(base_settings, tmp_path_factory.mktemp("golden"), SAMPLES, "4h")
    done = run(spark, settings, "golden", *TASKS)
    return Golden(Lake(spark, settings.warehouse), done)


def column(found: list[dict[str, Any]], name: str) -> FloatArray:
    return np.array([row[name] for row in found], dtype=np.float64)


def static(lake: Lake, contract: TableContract) -> list[dict[str, Any]]:
    return [row for row in rows(lake, contract) if row["index_name"] == "smart_static"]


def test_every_published_candle_is_in_silver(golden: Golden) -> None:
    # The samples have no hole, so the grid is the published bars.
    found = golden.lake.read_own(CANDLES).where("NOT is_filled").toArrow()
    naive = pl.col("open_time").dt.replace_time_zone(None).dt.cast_time_unit("ms")
    silver = pl.DataFrame(found).sort("symbol", "open_time").with_columns(naive)
    assert silver.select(golden.candles.columns).equals(golden.candles)
    assert golden.lake.read_own(CANDLES).where("is_filled").isEmpty()
    listed = rows(golden.lake, LISTINGS)
    assert {row["symbol"]: row["bars"] for row in listed} == dict(
        golden.candles.group_by("symbol").len().iter_rows()
    )
    assert golden.done["quality_gate"].message == "passed: 0 failed files, 0 rejected rows (0.000%)"


def test_metrics(golden: Golden) -> None:
    found = rows(golden.lake, ASSET_METRICS)
    assert [row["symbol"] for row in found] == golden.symbols
    assert {(row["as_of"], row["lookback_days"], row["run_id"]) for row in found} == {
        (AS_OF, None, "golden")
    }
    enough = pl.len() > 50
    returns = golden.returns.group_by("symbol").agg(
        pl.len().alias("returns"),
        pl.when(enough).then(pl.col("r").sum() * BARS_PER_YEAR / pl.len()).alias("annual_return"),
        pl.when(enough).then(pl.col("r").std() * BARS_PER_YEAR**0.5).alias("annual_volatility"),
    )
    day = pl.col("open_time").dt.date().alias("day")
    daily = golden.candles.group_by("symbol", day).agg(pl.col("quote_volume").sum())
    volume = daily.group_by("symbol").agg(
        pl.col("quote_volume").median().alias("median_daily_quote_volume")
    )
    peak = pl.col("close").cum_max().over("symbol")
    fall = golden.candles.with_columns((pl.col("close") / peak - 1).alias("max_drawdown"))
    falls = fall.group_by("symbol").agg(pl.len().alias("bars"), pl.col("max_drawdown").min())
    expected = (
        falls.join(returns, on="symbol")
        .join(volume, on="symbol")
        .with_columns((pl.col("annual_return") / pl.col("annual_volatility")).alias("sharpe"))
        .sort("symbol")
    )
    assert expected.height == len(found) == 68
    for name in expected.columns[1:]:
        np.testing.assert_allclose(
            column(found, name), expected[name].to_numpy().astype(np.float64), rtol=1e-9, atol=0
        )
    assert expected["sharpe"].null_count() == 4


def test_all_correlations(golden: Golden) -> None:
    found = rows(golden.lake, CORRELATIONS)
    pairs = list(combinations(golden.symbols, 2))
    assert [(row["symbol_a"], row["symbol_b"]) for row in found] == pairs
    expected = golden.rho()[np.triu_indices(len(golden.symbols), k=1)]
    np.testing.assert_allclose(column(found, "rho"), expected, rtol=1e-9, atol=1e-13)


def test_tournament_and_weights(golden: Golden) -> None:
    metrics = {row["symbol"]: row for row in rows(golden.lake, ASSET_METRICS)}
    sharpe = {s: row["sharpe"] for s, row in metrics.items() if row["sharpe"] is not None}
    rho = golden.rho()
    dropped: dict[str, str] = {}
    for (i, first), (j, second) in combinations(enumerate(golden.symbols), 2):
        known = first in sharpe and second in sharpe
        if known and not {first, second} & dropped.keys() and abs(rho[i, j]) > 0.85:
            loser = first if sharpe[first] < sharpe[second] else second
            dropped[loser] = second if loser == first else first
    members = sorted(sharpe.keys() - dropped, key=lambda symbol: (-sharpe[symbol], symbol))[:20]
    inverse = np.array([1 / metrics[symbol]["annual_volatility"] for symbol in members])

    decided = {row["symbol"]: row for row in static(golden.lake, INDEX_DECISIONS)}
    assert list(decided) == golden.symbols
    assert {s for s, row in decided.items() if row["decision"] == "dropped"} == dropped.keys()
    assert len(dropped) > 5
    for loser, winner in dropped.items():
        assert f"with {winner} > 0.85" in decided[loser]["detail"]
    ineligible = {s for s, row in decided.items() if row["decision"] == "ineligible"}
    assert ineligible == set(golden.symbols) - sharpe.keys()
    held = sorted(static(golden.lake, INDEX_WEIGHTS), key=lambda row: int(row["rank"]))
    assert [row["symbol"] for row in held] == members
    np.testing.assert_allclose(column(held, "weight"), inverse / inverse.sum(), rtol=1e-9, atol=0)
    assert {row["as_of"] for row in held} == {AS_OF}
