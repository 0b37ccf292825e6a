from pathlib import Path

import pytest

from lakehouse.places import absolute, is_uri


@pytest.mark.parametrize(
    ("place", "uri"),
    [
        ("lake", False),
        ("/data/lake", False),
        ("s3a://bucket/lake", True),
        ("https://data.example", True),
    ],
)
def test_a_uri_is_told_from_a_folder(place: str, uri: bool) -> None:
    assert is_uri(place) == uri


def test_a_folder_is_made_absolute_and_a_uri_loses_its_last_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("lake/") == absolute("lake") == f"{tmp_path}/lake"
    assert absolute("/data/lake/") == "/data/lake"
    assert absolute("s3a://bucket/lake/") == absolute("s3a://bucket/lake") == "s3a://bucket/lake"
