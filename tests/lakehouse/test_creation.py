from collections.abc import Iterator

import pytest

from lakehouse import creation
from lakehouse.creation import until_made
from lakehouse.errors import TableError

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
    assert until_made(lambda: looking(messages), "/lake/gold/bars") == "made"
    assert len(waits) == times


def test_any_other_error_is_raised_at_once(waits: list[float]) -> None:
    messages = iter(["[PARSE_SYNTAX_ERROR]"])
    with pytest.raises(RuntimeError, match="PARSE_SYNTAX_ERROR"):
        until_made(lambda: looking(messages), "/lake/gold/bars")
    assert waits == []


def test_what_stays_half_made_is_named_after_ten_seconds(waits: list[float]) -> None:
    messages = iter([HALF_MADE] * 100)
    with pytest.raises(TableError, match=r"^/lake/gold/bars .* remove that folder and run again$"):
        until_made(lambda: looking(messages), "/lake/gold/bars")
    assert 9 <= sum(waits) <= 10
