import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.artifacts import download_artifacts
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from gold.panel import PANEL_COLUMNS
from lakehouse.errors import NotEnoughData
from lakehouse.settings import Settings
from lakehouse.tasks import TaskContext
from ml.contracts import PCA_COMPONENTS, PCA_WINDOWS
from ml.pca import fit_pca, pca_result, run_pca
from ml.pca_windows import pca_windows, window_dates
from ml.principal_components import WindowComponents, principal_components
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


def child_runs(trained: Trained) -> pd.DataFrame:
    parent = trained.table(PCA_COMPONENTS)["mlflow_run_id"][0]
    return mlflow.search_runs(
        experiment_names=["candlelake/pca"],
        filter_string=f"tags.`mlflow.parentRunId` = '{parent}'",
    )


def test_sparks_components_are_those_of_the_windows_kernel(trained: Trained) -> None:
    matrix = market.returns_matrix(market.closes())
    found = principal_components(matrix, 3, standardise=False)
    assert found is not None
    table = trained.table(PCA_COMPONENTS)
    np.testing.assert_allclose(table["explained_variance"], found.explained, rtol=1e-9)


def held_out(matrix: np.ndarray) -> float:
    """Share of the last fifth's variance along the three components of the bars before."""
    first, last = np.split(matrix, [len(matrix) * 4 // 5])
    pca = PCA(3).fit(first)
    residual = last - pca.inverse_transform(pca.transform(last))
    return float(1 - np.sum(residual**2) / np.sum((last - first.mean(axis=0)) ** 2))


def test_the_honest_metric_is_that_of_the_symbols_that_were_there(trained: Trained) -> None:
    logged = mlflow.get_run(trained.table(PCA_COMPONENTS)["mlflow_run_id"][0]).data.metrics
    covered = market.closes().query("symbol not in (@market.LATE, @market.BROKEN)")
    expected = held_out(market.returns_matrix(covered))
    assert logged["held_out_variance"] == pytest.approx(expected, abs=1e-9)


def test_standardised_components_are_those_of_the_correlation_matrix(
    make_context: ContextFactory, small: Settings, tmp_path: Path
) -> None:
    pca = small.ml.pca.model_copy(update={"standardise": True})
    standardised = changed_settings(
        small.model_copy(update={"warehouse": str(tmp_path)}), ml={"pca": pca}
    )
    context = make_context("pca", settings=standardised)
    candles = market.closes().query("symbol not in (@market.LATE, @market.BROKEN)")
    context.lake.append(CANDLES, market.candle_rows(context.spark, candles))
    found = pca_result(context).metrics
    matrix = market.returns_matrix(candles)
    expected = PCA(3).fit(StandardScaler().fit_transform(matrix)).explained_variance_ratio_
    explained = [found[f"explained_variance_{place}"] for place in (1, 2, 3)]
    np.testing.assert_allclose(explained, expected, rtol=1e-9)
    scale = matrix[: len(matrix) * 4 // 5].std(axis=0)
    assert found["held_out_variance"] == pytest.approx(held_out(matrix / scale), abs=1e-9)
    # The windows too.
    [window] = windows_of(context, candles, np.array([market.END.value // 1000]))
    assert window.found is not None
    inside = candles[candles["open_time"] >= market.END - pd.Timedelta(days=30)]
    matrix = market.returns_matrix(inside)
    expected = PCA(3).fit(StandardScaler().fit_transform(matrix)).explained_variance_ratio_
    np.testing.assert_allclose(window.found.explained, expected, rtol=1e-9)


def test_each_window_is_a_child_run_and_rows_of_the_table(trained: Trained) -> None:
    table = trained.table(PCA_WINDOWS)
    assert list(table["component"]) == [1, 2, 3]
    assert set(table["as_of"]) == {pd.Timestamp("2024-11-01", tz="UTC")}
    assert set(table["lookback_days"]) == {30}
    candles = market.closes().query("symbol not in (@market.LATE, @market.BROKEN)")
    opens = candles["open_time"]
    inside = candles[(opens >= "2024-10-02") & (opens < "2024-11-01")]
    reference = PCA(3).fit(market.returns_matrix(inside)).explained_variance_ratio_
    np.testing.assert_allclose(table["explained_variance"], reference, rtol=1e-9)
    correlated = StandardScaler().fit_transform(market.returns_matrix(inside))
    alike = PCA(3).fit(correlated).explained_variance_ratio_
    np.testing.assert_allclose(table["standardised_variance"], alike, rtol=1e-9)
    assert set(table["symbols"]) == {6}
    [run] = child_runs(trained).to_dict("records")
    assert run["params.as_of"] == "2024-11-01"
    assert run["tags.candlelake.evaluation"] == "in_sample"
    [read] = mlflow.get_run(run["run_id"]).inputs.dataset_inputs
    assert read.dataset.name == f"silver.candles@v{trained.version(CANDLES)}"
    rows = json.loads(read.dataset.profile)["rows"]
    assert rows == "open_time from 2024-10-02 to before 2024-11-01 UTC"
    assert run["metrics.explained_variance_1"] == table["explained_variance"][0]
    series = mlflow.MlflowClient().get_metric_history(
        run["tags.mlflow.parentRunId"], "market_integration"
    )
    at = [pd.Timestamp(point.timestamp, unit="ms", tz="UTC") for point in series]
    assert at == [pd.Timestamp("2024-11-01", tz="UTC")]
    assert [point.value for point in series] == [table["standardised_variance"][0]]


def test_a_later_month_changes_no_earlier_window(
    make_context: ContextFactory, trained: Trained
) -> None:
    context = make_context("pca", settings=trained.settings)
    candles = market.closes(bars=600)
    cut = pd.Timestamp("2024-12-01", tz="UTC")
    noise = candles["open_time"] >= cut
    scrambled = candles.assign(close=candles["close"].where(~noise, candles["close"][::-1].values))
    dates = np.array([pd.Timestamp(day).value // 1000 for day in ("2024-11-01", "2024-12-01")])
    late = pd.Timestamp("2025-01-01").value // 1000
    whole = windows_of(context, candles, np.append(dates, late))
    assert whole[2].found is not None
    for other in (candles[~noise], scrambled):
        found = windows_of(context, other, dates)
        for one, again in zip(whole, found, strict=False):
            assert one.found is not None
            assert again.found is not None
            assert one.symbols == again.symbols
            np.testing.assert_array_equal(one.found.explained, again.found.explained)
            np.testing.assert_array_equal(one.found.loadings, again.found.loadings)


def windows_of(
    context: TaskContext, candles: pd.DataFrame, dates: np.ndarray
) -> tuple[WindowComponents, ...]:
    micros = candles["open_time"].astype("int64") // 1000
    frame = context.spark.createDataFrame(
        pa.Table.from_pandas(candles.assign(open_us=micros)[list(PANEL_COLUMNS)])
    )
    return pca_windows(context, frame, dates)


def test_windows_end_with_the_months_that_the_data_cover(settings: Settings) -> None:
    first, last = (pd.Timestamp(day).value // 1000 for day in ("2024-10-01", "2025-03-09"))
    dates = window_dates(settings, first, last)  # 90 days
    days = [str(day) for day in dates.astype("datetime64[us]").astype("datetime64[D]")]
    assert days == ["2025-01-01", "2025-02-01", "2025-03-01"]
    assert window_dates(settings, first, first).size == 0


def test_a_standardised_fit_is_that_of_the_correlation_matrix(make_context: ContextFactory) -> None:
    context = make_context("pca")
    matrix = market.returns_matrix(market.closes())[:80]
    rows = context.spark.createDataFrame(
        pd.DataFrame({"open_us": range(80), "returns": list(matrix)})
    )
    fitted = fit_pca(rows, 2, standardise=True)
    varying = matrix[:, matrix.any(axis=0)]  # C has no return yet
    expected = PCA(2).fit(StandardScaler().fit_transform(varying)).explained_variance_ratio_
    explained = fitted.stages[-1].explainedVariance.toArray()
    np.testing.assert_allclose(explained, expected, rtol=1e-9)


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
