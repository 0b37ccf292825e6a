"""docs/conformance.md is what Candlelake does: each of its rows is published and run."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import polars as pl
import pytest

from bronze.contracts import ARCHIVE_FILES, KLINES, REJECTED_LINES
from bronze.tasks import ingest_archive
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from silver.contracts import CANDLES, REJECTED_CANDLES
from silver.tasks import clean_candles
from tests.dirty import CASES, FILES, LINES, ROWS, TAKEN, Case, name_of
from tests.pipelines import do, interpreted, lake_of, rows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DOCS = Path(__file__).parents[1] / "docs" / "conformance.md"
SYMBOLS = {case: f"CASE{n:02d}USDT" for n, case in enumerate(CASES)}
DAYS = 31


class Ended:
    """How each case ended, and the archive that it was published in."""

    def __init__(self, root: Path, lake: Lake) -> None:
        self.root = root
        self.files = {row["symbol"]: row for row in rows(lake, ARCHIVE_FILES)}
        self.klines = [row["symbol"] for row in rows(lake, KLINES)]
        self.lines = {row["symbol"]: row["reason"] for row in rows(lake, REJECTED_LINES)}
        refused = rows(lake, REJECTED_CANDLES)
        self.rules = {row["symbol"]: ", ".join(sorted(row["rules"])) for row in refused}
        self.candles = [row["symbol"] for row in rows(lake, CANDLES) if not row["is_filled"]]

    def of(self, case: Case) -> str:
        symbol = SYMBOLS[case]
        status: str = self.files[symbol]["status"]
        if status != "ingested":
            return status
        return self.lines.get(symbol) or self.rules.get(symbol) or TAKEN


@pytest.fixture(scope="module")
def ended(
    spark: "SparkSession", base_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Ended:
    base = tmp_path_factory.mktemp("conformance")
    for case, symbol in SYMBOLS.items():
        case.publish(base / "archive", symbol)
    settings = lake_of(base_settings, base, base / "archive", "1d")
    with interpreted(spark):
        do(spark, settings, ingest_archive, "run")
        do(spark, settings, clean_candles, "run")
        return Ended(base / "archive", Lake(spark, settings.warehouse))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_each_case_ends_as_told_and_costs_no_other_line(ended: Ended, case: Case) -> None:
    assert ended.of(case) == case.outcome
    symbol = SYMBOLS[case]
    file, candles = ended.files[symbol], ended.candles.count(symbol)
    if case in FILES:
        assert file["error"]
        assert (ended.klines.count(symbol), candles, file["rows"]) == (0, 0, 0)
    elif case in LINES:
        assert file["rejected_lines"] == 1
        assert file["rows"] == ended.klines.count(symbol) == candles >= DAYS - 1
    else:
        assert (file["rejected_lines"], file["error"]) == (0, None)
        assert candles >= DAYS - 1
        assert file["rows"] == ended.klines.count(symbol) == candles + (case in ROWS)


def test_the_documentation_lists_these_cases_and_outcomes(ended: Ended) -> None:
    told = [row for row in DOCS.read_text().splitlines() if row.startswith("| ") and "`" in row]
    assert told == [row_of(case, ended.root) for case in CASES]
    assert len(told) >= 50


def row_of(case: Case, root: Path) -> str:
    """The case's row of the documentation."""
    (path,) = root.rglob(name_of(SYMBOLS[case], "zip"))
    outcome = f"`{case.outcome}`"
    return f"| {case.what} | {outcome} | {by_pandas(path)} | {by_polars(path)} |"


def by_pandas(path: Path) -> str:
    """What pandas makes of a ZIP, as a user of it reads the archive."""
    try:
        frame = pd.read_csv(path, header=None)
    except Exception:  # noqa: BLE001 - whatever it raises, it does not read the file
        return "error"
    return verdict([str(dtype) for dtype in frame.dtypes], len(frame))


def by_polars(path: Path) -> str:
    """What polars makes of the first member of a ZIP."""
    try:
        with zipfile.ZipFile(path) as archive:
            frame = pl.read_csv(archive.read(archive.namelist()[0]), has_header=False)
    except BaseException as error:  # a panic of polars is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return "error"
    return verdict([str(dtype) for dtype in frame.dtypes], frame.height)


def verdict(types: list[str], height: int) -> str:
    """How many rows there are, and whether all of the eleven columns are numbers."""
    numbers = all(each.lower().startswith(("int", "float")) for each in types[:11])
    return f"{height} rows" if numbers else f"{height} rows, some columns text"
