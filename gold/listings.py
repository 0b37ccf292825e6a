"""The symbols of a market and when each was first published, from silver.listings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F

from gold.statistics import no_candles
from lakehouse.sql import equals
from silver.contracts import LISTINGS

if TYPE_CHECKING:
    from gold.returns import IntArray
    from lakehouse.tasks import TaskContext


@dataclass(frozen=True)
class Listings:
    """Symbols of a market by name, with the open of each one's first published bar.

    Attributes:
        symbols: N symbols, ascending.
        first_open_time: N opens, UTC microseconds.
        last_open: Open of the market's last published bar.
    """

    symbols: tuple[str, ...]
    first_open_time: IntArray
    last_open: int

    @property
    def first_open(self) -> int:
        """Open of the market's first published bar."""
        return int(self.first_open_time.min())

    def before(self, as_of: int) -> tuple[tuple[str, ...], IntArray]:
        """Symbols listed before a date, and their first opens."""
        known = np.flatnonzero(self.first_open_time < as_of)
        return tuple(self.symbols[i] for i in known), self.first_open_time[known]


def listings(context: TaskContext) -> Listings:
    """The market's symbols, from silver.listings.

    Raises:
        NotEnoughData: There are no candles.
    """
    rows = (
        context.lake.read(LISTINGS)
        .where(equals(context.settings.scope))
        .where("first_open_time IS NOT NULL")
        .select("symbol", F.unix_micros("first_open_time"), F.unix_micros("last_open_time"))
        .toArrow()
        .sort_by("symbol")
    )
    if not rows.num_rows:
        raise no_candles(context)
    _, first, last = rows.columns
    return Listings(tuple(rows["symbol"].to_pylist()), first.to_numpy(), int(last.to_numpy().max()))
