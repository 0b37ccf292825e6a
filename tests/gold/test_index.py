"""What the task says while it works, the making of indices left out."""

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gold import index
from lakehouse.errors import NotEnoughData
from lakehouse.tasks import TaskContext
from tests.gold.markets import index_with


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> TaskContext:
    """Two indices and one for which the candles are too few."""
    settings = index_with(mode="both", rulebooks={"long": {"lookback_days": 999}})

    def walked(_: Any, rulebook: Any, __: Any) -> tuple[str, dict[str, str]]:
        if rulebook.name == "long":
            return "", {rulebook.name: "long was not made: too few"}
        return f"{rulebook.name}: 9 determinations", {"members": "BTCUSDT"}

    monkeypatch.setattr(index, "listings", lambda _: "market")
    monkeypatch.setattr(index, "_remove_all_but", lambda *_: None)
    monkeypatch.setattr(index, "_make_static", lambda *_: ("20 members (in-sample)", {}))
    monkeypatch.setattr(index, "_make_walk_forward", walked)
    return cast("TaskContext", SimpleNamespace(settings=SimpleNamespace(index=settings)))


def test_each_index_is_told_as_it_is_made(
    context: TaskContext, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "gold.index"):
        outcome = index.run_smart_index(context)
    assert [record.getMessage() for record in caplog.records] == [
        "smart_index: 1 of 3: 20 members (in-sample)",
        "smart_index: 2 of 3: smart_monthly: 9 determinations",
        "smart_index: 3 of 3: long was not made",
    ]
    assert outcome.message == "20 members (in-sample); smart_monthly: 9 determinations"
    assert outcome.figures == {"members": "BTCUSDT", "long": "long was not made: too few"}


def test_with_no_index_made_the_task_fails_and_says_why(
    context: TaskContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ("", {"any": "too few candles"})
    monkeypatch.setattr(index, "_make_static", lambda *_: short)
    monkeypatch.setattr(index, "_make_walk_forward", lambda *_: short)
    with pytest.raises(NotEnoughData, match="too few candles"):
        index.run_smart_index(context)
