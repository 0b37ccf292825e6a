import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest

from lakehouse.errors import NotEnoughData
from lakehouse.tables import Lake
from ml.contracts import FEATURES
from ml.feature_table import run_gbt_features
from ml.features import FEATURE_NAMES, TARGET
from silver.contracts import CANDLES
from tests.conftest import ContextFactory
from tests.ml import market
from tests.ml.conftest import RUN_ID, Trained

VALUES = [*FEATURE_NAMES, TARGET]


def test_the_table_holds_what_pandas_computes(trained: Trained) -> None:
    table = trained.table(FEATURES)
    expected = market.features(market.closes())
    pd.testing.assert_frame_equal(table[["symbol"]], expected[["symbol"]])
    assert (table["open_time"].to_numpy() == expected["open_time"].to_numpy()).all()
    np.testing.assert_allclose(table[VALUES], expected[VALUES], rtol=1e-9, atol=1e-12)
    assert set(table["run_id"]) == {RUN_ID}
    usable = len(expected.dropna())
    assert trained.outcomes["gbt_features"].message.startswith(
        f"{len(expected):,} rows, {usable:,}"
    )


def test_what_is_unknown_is_null_and_not_nan(trained: Trained) -> None:
    lake = Lake(trained.spark, trained.settings.warehouse)
    table = lake.read_own(FEATURES, trained.version(FEATURES)).toArrow()
    expected = market.features(market.closes())[VALUES].isna().sum()
    assert {name: table[name].null_count for name in VALUES} == expected.to_dict()
    assert not any(pc.any(pc.is_nan(table[name])).as_py() for name in VALUES)


def test_a_repeated_run_replaces_its_scope_and_no_other(make_context: ContextFactory) -> None:
    context = make_context("gbt_features")
    few = market.closes().query("symbol == 'AUSDT'").head(40)
    context.lake.append(CANDLES, market.candle_rows(context.spark, few))
    run_gbt_features(context)
    run_gbt_features(make_context("gbt_features", run_id="run-2"))
    table = context.lake.read_own(FEATURES).toArrow().to_pandas()
    assert len(table) == 40
    assert set(table["run_id"]) == {"run-2"}


def test_no_candles_are_named_as_the_reason(make_context: ContextFactory) -> None:
    with pytest.raises(NotEnoughData, match="clean_candles"):
        run_gbt_features(make_context("gbt_features"))
