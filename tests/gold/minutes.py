"""Minute candles for the factor model's tests: the real ones in samples/, and plain regressions."""

import io
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from gold.returns import FloatArray

KLINES = Path(__file__).parents[2] / "samples/data/futures/um/daily/klines"


@dataclass(frozen=True)
class Minutes:
    """Candles of N coins at T minutes: (N, T) arrays; `first_bar` is minutes since the epoch."""

    symbols: tuple[str, ...]
    first_bar: int
    open: FloatArray
    close: FloatArray
    trades: FloatArray

    @property
    def returns(self) -> FloatArray:
        return np.asarray((self.close - self.open) / self.open)


@cache
def real_minutes() -> Minutes:
    """7 perpetuals x 5 days, straight from the ZIPs."""
    coins = {}
    for folder in sorted(KLINES.iterdir()):
        days = []
        for path in sorted(folder.glob("1m/*.zip")):
            with zipfile.ZipFile(path) as archive:
                days.append(pl.read_csv(io.BytesIO(archive.read(f"{path.stem}.csv"))))
        coins[folder.name] = pl.concat(days).sort("open_time")
    first = next(iter(coins.values()))["open_time"][0] // 60_000
    columns = [
        np.stack([frame[name].cast(pl.Float64).to_numpy() for frame in coins.values()])
        for name in ("open", "close", "count")
    ]
    return Minutes(tuple(coins), first, *columns)


@cache
def real_factors() -> FloatArray:
    """(10, T) market and bucket returns of these coins, sorted once over all bars."""
    minutes = real_minutes()
    returns = minutes.returns
    orders = (minutes.trades.mean(axis=1), returns.var(axis=1), returns.sum(axis=1))
    rows = [returns.mean(axis=0)]
    for value in orders:
        ranked = np.argsort(value)
        rows += [returns[part].mean(axis=0) for part in (ranked[:2], ranked[2:5], ranked[5:])]
    return np.stack(rows)


@dataclass(frozen=True)
class Fit:
    """One regression of one window."""

    coefficients: FloatArray
    r2: float
    adj_r2: float


def literal_ridge(factors: FloatArray, y: FloatArray, ridge: float) -> Fit:
    """`inv(X'X + ridge I) X'y` as it is written, a constant included, in double precision."""
    x = np.column_stack([np.ones(y.size), factors.T])
    b = np.linalg.inv(x.T @ x + ridge * np.eye(x.shape[1])) @ (x.T @ y)
    return _fit(x, y, b)


def exact_ridge(factors: FloatArray, y: FloatArray, ridge: float) -> Fit:
    """The same formula in extended precision, which says how far off double precision is."""
    x = np.column_stack([np.ones(y.size), factors.T]).astype(np.longdouble)
    long = y.astype(np.longdouble)
    a = x.T @ x + np.longdouble(ridge) * np.eye(x.shape[1], dtype=np.longdouble)
    b = x.T @ long
    for k in range(b.size):  # Gauss: numpy's own solver knows double precision only
        for i in range(k + 1, b.size):
            share = a[i, k] / a[k, k]
            a[i, k:] -= share * a[k, k:]
            b[i] -= share * b[k]
    for k in reversed(range(b.size)):
        b[k] = (b[k] - a[k, k + 1 :] @ b[k + 1 :]) / a[k, k]
    return _fit(x, long, b)


def _fit(x: FloatArray, y: FloatArray, b: FloatArray) -> Fit:
    residual, total = ((y - x @ b) ** 2).sum(), ((y - y.mean()) ** 2).sum()
    with np.errstate(invalid="ignore", divide="ignore"):  # of a constant coin
        r2 = 1 - residual / total
    n, size = x.shape
    return Fit(b, float(r2), float(1 - (1 - r2) * (n - 1) / (n - size)))
