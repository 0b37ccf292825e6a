from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from ml.forecasts import score_forecasts
from ml.validation import forecast_score

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_each_split_scores_as_all_its_rows_at_once(spark: "SparkSession") -> None:
    rng = np.random.default_rng(1)
    time = np.repeat(np.arange(60), 5)
    forecasts = pd.DataFrame(
        {
            "split": np.where(time < 25, "fold_1", "fold_2"),
            "open_time": pd.Timestamp("2025-01-01", tz="UTC") + pd.Timedelta("4h") * time,
            "target": rng.normal(0, 0.02, time.size),
            "prediction": rng.integers(0, 4, time.size) / 100,
        }
    )
    scores = score_forecasts(spark.createDataFrame(forecasts).repartition(3))
    assert set(scores) == {"fold_1", "fold_2"}
    for split, rows in forecasts.groupby("split"):
        expected = forecast_score(
            rows["open_time"].astype("int64").to_numpy(),
            rows["prediction"].to_numpy(),
            rows["target"].to_numpy(),
        )
        assert scores[split].metrics() == pytest.approx(expected.metrics(), rel=1e-9)
