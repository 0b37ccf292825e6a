"""The static index from metrics and pairs as they come from the tables."""

import pyarrow as pa
import pytest

from gold.static_index import determine_from
from lakehouse.errors import NotEnoughData
from tests.gold.markets import rules_with


def metrics(returns: int, sharpe: list[float | None]) -> pa.Table:
    """Symbols A, B … with these Sharpe ratios."""
    columns = {
        "symbol": [chr(ord("A") + place) for place in range(len(sharpe))],
        "returns": [returns] * len(sharpe),
        "sharpe": pa.array(sharpe, pa.float64()),
        "annual_volatility": pa.array([None if x is None else 0.5 for x in sharpe], pa.float64()),
    }
    return pa.table(columns)


def pairs(*rho: tuple[str, str, float]) -> pa.Table:
    names = ("symbol_a", "symbol_b", "rho")
    types = (pa.string(), pa.string(), pa.float64())
    return pa.table(
        [pa.array([row[i] for row in rho], kind) for i, kind in enumerate(types)], names
    )


def test_a_pair_of_the_table_is_one_of_the_tournament() -> None:
    found = determine_from(metrics(500, [1.0, None, 2.0]), pairs(("A", "C", 0.9)), rules_with())
    assert [row.decision for row in found.decisions] == ["dropped", "ineligible", "selected"]


def test_an_index_by_sharpe_with_none_above_0_is_in_cash() -> None:
    found = determine_from(metrics(500, [-1.0, -0.5]), pairs(), rules_with(weighting="sharpe"))
    assert found.holdings == ()
    assert found.eligible == ("A", "B")


def test_with_nothing_eligible_there_is_no_index() -> None:
    with pytest.raises(NotEnoughData, match="none of 2 symbols has more than 50 returns"):
        determine_from(metrics(50, [None, None]), pairs(), rules_with())
