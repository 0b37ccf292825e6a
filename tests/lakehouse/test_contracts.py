from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import bronze.contracts
import gold.contracts
import lakehouse.runs
import ml.contracts
import silver.contracts
from lakehouse.contracts import LAYERS, Column, TableContract
from lakehouse.settings import Settings
from lakehouse.tables import Lake

MODULES = (bronze.contracts, silver.contracts, gold.contracts, ml.contracts, lakehouse.runs)
# By identity: silver.contracts imports one of bronze's.
PRODUCT = list(
    {
        id(value): value
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, TableContract)
    }.values()
)
SPARK_NAMES = {
    '"long"': "BIGINT",
    '"integer"': "INT",
    '"double"': "DOUBLE",
    '"string"': "STRING",
    '"boolean"': "BOOLEAN",
    '"timestamp"': "TIMESTAMP",
}
COLUMNS = (Column("id", "BIGINT", "Key"), Column("day", "DATE", "Day"))


def contract(**changes: Any) -> TableContract:
    given = {"layer": "gold", "name": "t", "comment": "c", "columns": COLUMNS, "key": ("id",)}
    return TableContract(**{**given, **changes})


def test_names() -> None:
    made = contract(partitioned_by=("day",))
    assert made.full_name == "gold.t"
    assert made.column_names == ("id", "day")


@pytest.mark.parametrize(
    "changes",
    [
        {"layer": "platinum"},
        {"key": ("id", "other")},
        {"partitioned_by": ("month",)},
        {"added": ("month",)},
        {"added": ("id",), "columns": (Column("id", "BIGINT", "Key", nullable=False),)},
        {"columns": (*COLUMNS, Column("id", "STRING", "Again"))},
    ],
)
def test_an_inconsistent_contract_is_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"contract \w+\.t is inconsistent"):
        contract(**changes)


NAMES = st.lists(st.sampled_from("abcd"), min_size=1, max_size=4)


@hypothesis_settings(max_examples=100, deadline=None)
@given(layer=st.sampled_from([*LAYERS, "x"]), columns=NAMES, key=NAMES, parts=NAMES)
def test_a_contract_is_made_exactly_when_its_names_fit(
    layer: str, columns: list[str], key: list[str], parts: list[str]
) -> None:
    fits = layer in LAYERS and len(columns) == len(set(columns)) and {*key, *parts} <= set(columns)
    try:
        made = contract(
            layer=layer,
            columns=tuple(Column(name, "INT", "c") for name in columns),
            key=tuple(key),
            partitioned_by=tuple(parts),
        )
    except ValueError:
        assert not fits
    else:
        assert fits
        assert made.column_names == tuple(columns)


def test_a_contract_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(contract(), "name", "other")  # noqa: B010 - mypy refuses the assignment itself


def test_no_two_tables_of_the_product_share_a_name() -> None:
    names = [made.full_name for made in PRODUCT]
    assert len(names) == len(set(names)) >= 17
    assert {made.layer for made in PRODUCT} == set(LAYERS)


@pytest.mark.parametrize("made", PRODUCT, ids=lambda made: made.full_name)
def test_every_table_of_the_product_explains_itself(made: TableContract) -> None:
    assert made.key
    assert made.comment.strip()
    for text in (made.comment, *(column.comment for column in made.columns)):
        assert text.strip() == text != ""
        assert "\n" not in text
    nullable = {column.name for column in made.columns if column.nullable}
    assert not nullable & set(made.partitioned_by)
    # All history has no lookback: the one key column that may be NULL.
    assert nullable & set(made.key) <= {"lookback_days"}


@pytest.mark.parametrize("made", PRODUCT, ids=lambda made: made.full_name)
def test_every_check_names_columns_of_its_table(made: TableContract) -> None:
    for name, condition in made.checks.items():
        assert name.isidentifier()
        assert any(column in condition for column in made.column_names), name


def test_every_table_of_the_product_is_made_as_its_contract_says(
    lake: Lake, settings: Settings
) -> None:
    for made in PRODUCT:
        assert lake.version(made) == 0
        folder = Path(settings.warehouse, made.layer, made.name)
        table = DeltaTable(str(folder))  # by another engine than the one that made it
        metadata, protocol = table.metadata(), table.protocol()
        assert metadata.description == made.comment
        assert tuple(metadata.partition_columns) == made.partitioned_by
        fields = {field.name: field for field in table.schema().fields}
        assert tuple(fields) == made.column_names
        for column in made.columns:
            field = fields[column.name]
            assert field.metadata["comment"] == column.comment, column
            assert field.nullable == column.nullable, column
            known = SPARK_NAMES.get(str(field.type.to_json()))
            assert known == column.type or (known is None and "<" in column.type), column
        checks = {
            name.removeprefix("delta.constraints."): condition
            for name, condition in metadata.configuration.items()
            if name.startswith("delta.constraints.")
        }
        assert checks == made.checks
        # Nothing that a reader of the first protocol does not understand.
        assert (protocol.min_reader_version, protocol.reader_features) == (1, None)
        assert pl.read_delta(str(folder)).columns == list(made.column_names)


# The columns that must be there; more may be added.
REQUIRED = {
    "bronze.archive_files": "source_file market interval symbol period cadence size_bytes sha256 "
    "published_sha256 status error rows rejected_lines has_header time_unit run_id ingested_at",
    "bronze.klines": "source_file line market interval symbol open_time open high low close volume "
    "close_time quote_volume trades taker_buy_base taker_buy_quote",
    "bronze.rejected_lines": "source_file line text reason",
    "silver.candles": "market interval symbol open_time open high low close volume quote_volume "
    "trades taker_buy_base taker_buy_quote is_filled segment",
    "silver.rejected_candles": "source_file line open_time open high low close volume rules",
    "silver.gaps": "market interval symbol gap_start gap_end bars kind filled_bars",
    "silver.listings": "market interval symbol first_open_time last_open_time bars filled_bars "
    "status",
    "gold.asset_metrics": "market interval as_of lookback_days symbol bars annual_return "
    "annual_volatility sharpe max_drawdown median_daily_quote_volume",
    "gold.correlations": "market interval as_of lookback_days symbol_a symbol_b rho",
    "gold.index_weights": "index_name as_of symbol weight rank sharpe annual_volatility",
    "gold.index_decisions": "index_name as_of symbol decision rule detail",
    "ml.pca_components": "run_id component explained_variance cumulative_variance",
    "ml.clusters": "run_id symbol cluster is_leader annual_return annual_volatility sharpe",
    "ml.feature_importances": "run_id feature importance",
    "ml.predictions": "run_id symbol open_time target prediction split",
    "ops.task_runs": "run_id task job status started_at ended_at message rows_in rows_out "
    "read_versions written_versions settings_digest code_version",
}


@pytest.mark.parametrize("name", REQUIRED)
def test_the_columns_that_others_rely_on_are_there(name: str) -> None:
    (made,) = (made for made in PRODUCT if made.full_name == name)
    assert set(REQUIRED[name].split()) <= set(made.column_names)
    assert set(made.key) <= set(made.column_names)
