"""What Python's garbage collector is spared."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from lakehouse.collector import collector_paused, left_out_of_collections


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    assert gc.isenabled()
    yield
    gc.enable()


def test_it_lasts_as_long_as_the_outermost_block() -> None:
    with collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_of_two_threads_the_last_ends_it() -> None:
    first, second = collector_paused(), collector_paused()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not gc.isenabled()
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_it_ends_with_an_error_too() -> None:
    @collector_paused()
    def failing() -> None:
        assert not gc.isenabled()
        raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            failing()
        assert gc.isenabled()


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    with collector_paused():
        pass
    assert not gc.isenabled()


def test_what_is_left_out_is_collected_afterwards() -> None:
    class Node:
        def __init__(self) -> None:
            self.itself = self

    node = Node()
    seen = weakref.ref(node)
    with left_out_of_collections():
        del node
        gc.collect()
        assert seen() is not None
    gc.collect()
    assert seen() is None
