import numpy as np
import pandas as pd
import pytest
from mlflow.artifacts import download_artifacts
from sklearn.decomposition import PCA

from lakehouse.errors import NotEnoughData
from lakehouse.settings import Settings
from ml.contracts import PCA_COMPONENTS
from ml.pca import run_pca
from silver.contracts import CANDLES
from tests.conftest import ContextFactory
from tests.ml import market
from tests.ml.conftest import RUN_ID, Trained
from tests.pipelines import changed_settings


def test_components_match_numpy_and_sklearn(trained: Trained) -> None:
    matrix = market.returns_matrix(market.closes())
    values = np.linalg.eigvalsh(np.cov(matrix, rowvar=False))[::-1]
    expected = (values / values.sum())[:3]
    table = trained.table(PCA_COMPONENTS)
    assert list(table["component"]) == [1, 2, 3]
    np.testing.assert_allclose(table["explained_variance"], expected, rtol=0, atol=1e-9)
    sklearn = PCA(3).fit(matrix).explained_variance_ratio_
    np.testing.assert_allclose(table["explained_variance"], sklearn, rtol=0, atol=1e-9)
    np.testing.assert_allclose(table["cumulative_variance"], np.cumsum(expected), rtol=0, atol=1e-9)
    assert set(table["run_id"]) == {RUN_ID}
    assert set(table["market"] + table["interval"]) == {"um4h"}


def test_loadings_are_the_covariance_matrix_eigenvectors(trained: Trained) -> None:
    table = trained.table(PCA_COMPONENTS)
    loadings = pd.read_csv(
        download_artifacts(run_id=table["mlflow_run_id"][0], artifact_path="model_output.csv"),
        index_col="symbol",
    )
    assert list(loadings.index) == market.SYMBOLS
    matrix = market.returns_matrix(market.closes())
    vectors = np.linalg.eigh(np.cov(matrix, rowvar=False)).eigenvectors[:, ::-1][:, :3]
    # An eigenvector's sign is arbitrary.
    np.testing.assert_allclose(np.abs(loadings), np.abs(vectors), atol=1e-8)


def test_too_few_symbols_are_refused(make_context: ContextFactory, in_store: Settings) -> None:
    context = make_context("pca", settings=in_store)
    two = market.closes().query("symbol in ('AUSDT', 'BUSDT')")
    context.lake.append(CANDLES, market.candle_rows(context.spark, two))
    with pytest.raises(NotEnoughData, match=r"2 symbols .* lower ml\.pca\.components"):
        run_pca(context)


def test_prices_that_never_move_are_refused(
    make_context: ContextFactory, in_store: Settings
) -> None:
    one = changed_settings(
        in_store, ml={"pca": in_store.ml.pca.model_copy(update={"components": 1})}
    )
    context = make_context("pca", settings=one)
    flat = market.closes().query("symbol == 'AUSDT'").head(20).assign(close=5.0)
    context.lake.append(CANDLES, market.candle_rows(context.spark, flat))
    with pytest.raises(NotEnoughData, match="no symbol's close ever changes"):
        run_pca(context)
