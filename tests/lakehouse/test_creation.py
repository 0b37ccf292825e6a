from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from lakehouse import creation
from lakehouse.creation import until_made
from lakehouse.errors import TableError

PLACE = "/lake/gold/bars"
HALF_MADE = "[DELTA_TABLE_NOT_FOUND] Delta table `/lake/gold/bars` doesn't exist."


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(creation, "_pause", waited.append)
    return waited


def looking(messages: Iterator[str]) -> str:
    message = next(messages, None)
    if message is None:
        return "made"
    raise RuntimeError(message)


@pytest.mark.parametrize("times", [0, 1, 5])
def test_it_looks_again_until_the_table_is_there(waits: list[float], times: int) -> None:
    messages = iter([HALF_MADE] * times)
    assert until_made(lambda: looking(messages), PLACE, None, nullcontext()) == "made"
    assert len(waits) == times


def test_any_other_error_is_raised_at_once(waits: list[float]) -> None:
    messages = iter(["[PARSE_SYNTAX_ERROR]"])
    with pytest.raises(RuntimeError, match="PARSE_SYNTAX_ERROR"):
        until_made(lambda: looking(messages), PLACE, None, nullcontext())
    assert waits == []


@pytest.mark.parametrize("left", ["part-0.parquet", "_delta_log/00000000000000000000.json", None])
def test_what_stays_half_made_and_may_hold_something_is_named_after_ten_seconds(
    waits: list[float], tmp_path: Path, left: str | None
) -> None:
    messages = iter([HALF_MADE] * 100)
    (tmp_path / "_delta_log").mkdir()
    if left:
        (tmp_path / left).touch()
    folder = tmp_path if left else None
    with pytest.raises(TableError, match=r"^/lake/gold/bars .* remove that folder and run again$"):
        until_made(lambda: looking(messages), PLACE, folder, nullcontext())
    assert 9 <= sum(waits) <= 10
    assert (tmp_path / "_delta_log").exists()


def test_an_empty_folder_that_a_kill_left_is_removed(waits: list[float], tmp_path: Path) -> None:
    log = tmp_path / "bars" / "_delta_log"
    log.mkdir(parents=True)
    (log / ".00000000000000000000.json.1234.tmp").write_text("{")

    def make() -> str:
        if log.exists():
            raise RuntimeError(HALF_MADE)
        return "made"

    assert until_made(make, PLACE, tmp_path / "bars", nullcontext()) == "made"
    assert 9 <= sum(waits) <= 10
