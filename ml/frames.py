"""Small tables of a warehouse as pandas frames: times in UTC, maps as dictionaries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gold.returns import FloatArray
from lakehouse.contracts import TableContract
from lakehouse.tables import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def rows(lake: Lake, contract: TableContract, condition: str) -> pd.DataFrame:
    """Rows that meet an SQL condition; none, with the contract's columns, without the table."""
    if not lake.exists(contract):
        return pd.DataFrame(columns=list(contract.column_names))
    return to_pandas(lake.read(contract).where(condition))


def to_pandas(frame: DataFrame) -> pd.DataFrame:
    """A small frame, with times in UTC and maps as dictionaries."""
    table: pd.DataFrame = frame.toArrow().to_pandas(maps_as_pydicts="strict")
    return table


def floats(column: pd.Series) -> FloatArray:
    """A column of numbers as an array; NULL becomes NaN."""
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def correlation_matrix(pairs: pd.DataFrame) -> tuple[list[str], FloatArray]:
    """Symmetric matrix of pairs that are listed once, with 1 on its diagonal.

    Args:
        pairs: symbol_a, symbol_b and rho; a NULL or a missing pair becomes NaN.

    Returns:
        The n symbols in order, and the n x n matrix.
    """
    symbols = sorted({*pairs["symbol_a"], *pairs["symbol_b"]})
    place = pd.Index(symbols)
    rows, columns = place.get_indexer(pairs["symbol_a"]), place.get_indexer(pairs["symbol_b"])
    matrix = np.full((len(symbols), len(symbols)), np.nan)
    matrix[rows, columns] = matrix[columns, rows] = floats(pairs["rho"])
    np.fill_diagonal(matrix, 1.0)
    return symbols, matrix
