"""The gold kernels over the sample candles, against plain polars and numpy from the same ZIPs."""

import io
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gold.correlation import correlation_matrix
from gold.decisions import Determination
from gold.eligibility import without_ratio
from gold.metrics import AssetMetrics, asset_metrics
from gold.returns import FloatArray, log_returns, returns_matrix
from gold.smart_index import correlated_pairs, determine
from tests.gold.markets import rules_with

KLINES = Path(__file__).parents[2] / "samples/data/futures/um/monthly/klines"
BAR = 4 * 3_600_000_000


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    """All 4h candles in time order; a hole of any length starts a new segment, none is filled."""
    months = []
    for path in sorted(KLINES.glob("*/4h/*.zip")):
        with zipfile.ZipFile(path) as archive:
            text = archive.read(f"{path.stem}.csv")
        month = pl.read_csv(io.BytesIO(text), columns=["open_time", "close", "quote_volume"])
        months.append(
            month.select(
                pl.lit(path.parent.parent.name).alias("symbol"),
                pl.col("open_time").cast(pl.Int64) * 1000,
                pl.col("close", "quote_volume").cast(pl.Float64),
            )
        )
    frame = pl.concat(months).sort("symbol", "open_time")
    hole = pl.col("open_time").diff().over("symbol") > BAR
    return frame.with_columns(hole.fill_null(value=False).cum_sum().over("symbol").alias("segment"))


class Gold:
    """What the kernels make of candles: metrics by symbol, correlations, and the index."""

    def __init__(self, candles: pl.DataFrame) -> None:
        candles = candles.sort("symbol", "open_time")
        symbol_index = candles["symbol"].rank("dense").to_numpy().astype(np.int64) - 1
        self.metrics: dict[str, AssetMetrics] = {}
        returns = []
        for (symbol,), rows in candles.group_by("symbol", maintain_order=True):
            open_time, close, segment, volume = (
                rows[name].to_numpy() for name in ("open_time", "close", "segment", "quote_volume")
            )
            returns.append(log_returns(close, segment))
            self.metrics[str(symbol)] = asset_metrics(open_time, close, segment, volume, "4h")
        self.times, self.matrix = returns_matrix(
            symbol_index, candles["open_time"].to_numpy(), np.concatenate(returns)
        )
        self.rho = correlation_matrix(self.matrix)

    def column(self, name: str) -> FloatArray:
        return np.array([getattr(row, name) for row in self.metrics.values()], dtype=np.float64)

    def index(self, top_n: int = 20) -> Determination:
        ratios = self.column("sharpe"), self.column("annual_volatility")
        counts = self.column("returns").astype(np.int64)
        return determine(
            list(self.metrics),
            without_ratio(self.metrics, counts, *ratios),
            *ratios,
            *correlated_pairs(self.rho, 0.85),
            rules_with(top_n=top_n),
        )


@pytest.fixture(scope="module")
def gold(candles: pl.DataFrame) -> Gold:
    return Gold(candles)


def test_metrics_equal_plain_polars(candles: pl.DataFrame, gold: Gold) -> None:
    part = ["symbol", "segment"]
    logs = pl.col("close").log().diff().over(part)
    fall = pl.col("close") / pl.col("close").cum_max().over(part) - 1
    enough = pl.col("r").count() > 50
    day = pl.col("open_time").cast(pl.Datetime("us")).dt.date()
    daily = candles.group_by("symbol", day).agg(pl.col("quote_volume").sum())
    expected = (
        candles.with_columns(logs.alias("r"), fall.alias("fall"))
        .group_by("symbol")
        .agg(
            pl.len().alias("bars"),
            pl.col("r").count().alias("returns"),
            pl.when(enough).then(pl.col("r").mean() * 2190).alias("annual_return"),
            pl.when(enough).then(pl.col("r").std() * 2190**0.5).alias("annual_volatility"),
            pl.col("fall").min().alias("max_drawdown"),
        )
        .with_columns((pl.col("annual_return") / pl.col("annual_volatility")).alias("sharpe"))
        .join(
            daily.group_by("symbol").agg(
                pl.col("quote_volume").median().alias("median_daily_quote_volume")
            ),
            on="symbol",
        )
        .sort("symbol")
    )
    assert len(gold.metrics) >= 60
    assert list(gold.metrics) == expected["symbol"].to_list()
    for name in expected.columns[1:]:
        np.testing.assert_allclose(
            gold.column(name), expected[name].to_numpy().astype(np.float64), rtol=1e-9, atol=0
        )
    # The samples hold listings too young for statistics.
    assert 0 < expected["sharpe"].null_count() < 10


def test_correlations_equal_numpy(candles: pl.DataFrame, gold: Gold) -> None:
    logs = pl.col("close").log().diff().over("symbol", "segment").alias("r")
    wide = (
        candles.with_columns(logs)
        .drop_nulls("r")
        .pivot(on="symbol", index="open_time", values="r")
        .sort("open_time")
        .select(["open_time", *gold.metrics])
        .fill_null(0.0)
    )
    np.testing.assert_array_equal(gold.times, wide["open_time"])
    np.testing.assert_allclose(gold.matrix, wide.drop("open_time"), rtol=0, atol=1e-14)
    expected = np.corrcoef(wide.drop("open_time").to_numpy(), rowvar=False)
    np.testing.assert_allclose(gold.rho, expected, rtol=1e-9, atol=1e-13)


def test_index_equals_the_rules_word_for_word(gold: Gold) -> None:
    symbols = list(gold.metrics)
    sharpe = {s: m.sharpe for s, m in gold.metrics.items() if m.sharpe is not None}
    dropped: set[str] = set()
    for i, first in enumerate(symbols):
        for j, second in enumerate(symbols[i + 1 :], start=i + 1):
            known = first in sharpe and second in sharpe
            if known and not dropped & {first, second} and abs(gold.rho[i, j]) > 0.85:
                dropped.add(first if sharpe[first] < sharpe[second] else second)
    members = sorted(sharpe.keys() - dropped, key=lambda symbol: (-sharpe[symbol], symbol))[:20]
    inverse = [1 / (gold.metrics[symbol].annual_volatility or np.nan) for symbol in members]

    outcome = gold.index()
    assert dropped
    assert {row.symbol for row in outcome.decisions if row.rule == "correlation"} == dropped
    assert [row.symbol for row in outcome.holdings] == members
    np.testing.assert_allclose(
        [row.weight for row in outcome.holdings], np.array(inverse) / sum(inverse), rtol=1e-12
    )


def test_rows_in_any_order_give_the_same_bits(candles: pl.DataFrame, gold: Gold) -> None:
    shuffled = Gold(candles.sample(fraction=1.0, shuffle=True, seed=1))
    assert shuffled.metrics == gold.metrics
    np.testing.assert_array_equal(shuffled.rho, gold.rho)
    assert shuffled.index() == gold.index()


def test_a_symbol_gone_from_the_batch_changes_no_other(candles: pl.DataFrame, gold: Gold) -> None:
    # The youngest, so that the times at which any symbol has a return stay the same.
    youngest = min(gold.metrics, key=lambda symbol: gold.metrics[symbol].bars)
    without = Gold(candles.filter(pl.col("symbol") != youngest))
    assert without.metrics == {s: m for s, m in gold.metrics.items() if s != youngest}
    kept = [i for i, symbol in enumerate(gold.metrics) if symbol != youngest]
    np.testing.assert_array_equal(without.rho, gold.rho[np.ix_(kept, kept)])


def test_cutting_the_future_changes_nothing_in_the_past(candles: pl.DataFrame, gold: Gold) -> None:
    as_of = int(gold.times[gold.times.size // 2])
    past = Gold(candles.filter(pl.col("open_time") < as_of))
    known = np.array([symbol in past.metrics for symbol in gold.metrics])
    before = gold.times < as_of
    assert 0 < known.sum() < known.size  # some symbols were listed later
    np.testing.assert_array_equal(past.times, gold.times[before])
    np.testing.assert_array_equal(past.matrix, gold.matrix[before][:, known])
    # Columns of coins not yet listed are all 0 there, and leave the others' bits alone.
    rho = correlation_matrix(gold.matrix[before])
    assert np.isnan(rho[~known]).all()
    np.testing.assert_array_equal(past.rho, rho[np.ix_(known, known)])
