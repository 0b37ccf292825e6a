import pytest

from bronze.republished import republished_files
from lakehouse.errors import EnvironmentProblem
from lakehouse.listings import load_listing


def test_a_listing_is_found_by_the_name_that_the_wheel_gives_it() -> None:
    assert load_listing("republished_files") is republished_files


def test_an_unknown_listing_is_named() -> None:
    with pytest.raises(EnvironmentProblem, match="no listing 'nothing'"):
        load_listing("nothing")
