"""Rows that executors hand back, beside pandas."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gold.risk_rows import FACTORS, covariance_rows

NAN = np.nan


def test_bars_of_a_covariance_are_those_that_it_was_taken_over() -> None:
    rng = np.random.default_rng(1)
    returns = pd.DataFrame(rng.normal(0, 1e-3, (10, len(FACTORS))), columns=FACTORS)
    returns.loc[:5, "liquidity_low"] = NAN
    returns["momentum_high"] = NAN
    shuffled = returns.assign(end_us=9, open_us=range(10)).sample(frac=1, random_state=2)
    (row,) = covariance_rows(pa.Table.from_pandas(shuffled)).to_pylist()
    complete = returns.drop(columns="momentum_high").dropna()
    assert (row["end_us"], row["bars"]) == (9, len(complete)) == (9, 4)
    found = pd.DataFrame(np.reshape(row["covariance"], (13, 13)), FACTORS, FACTORS)
    assert found.pop("momentum_high").isna().all()
    expected = complete.cov()
    assert found.loc[complete.columns].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-9)
