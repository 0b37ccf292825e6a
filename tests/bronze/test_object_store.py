"""An archive behind an address of Arrow's file systems, against the same one as a folder."""

from pathlib import Path

import pytest

from bronze.archive import Cadence, list_folder
from bronze.object_store import list_objects, read_source
from lakehouse.errors import ArchiveError
from tests.support import put_file


def test_it_is_listed_as_a_folder_is(tmp_path: Path) -> None:
    put_file(tmp_path, "BTCUSDT", "2025-01", b"1")
    put_file(tmp_path, "BTCUSDT", "2025-02", b"22", checksum=None)
    put_file(tmp_path, "币安人生USDT", "2025-01", b"3", checksum="no checksum")
    put_file(tmp_path, "ETHUSDT", "2025-01-31", b"4")
    put_file(tmp_path, "ETHUSDT", "2025-01", b"5", interval="1h")
    put_file(tmp_path, "ETHUSDT", "2025-01", b"6", market="spot")
    folder = tmp_path / "data/futures/um/monthly/klines/BTCUSDT/4h"
    (folder / "BTCUSDT-4h-2025-13.zip").write_bytes(b"no such month")
    (folder / "notes.txt").write_bytes(b"no ZIP")
    cadences: tuple[Cadence, ...] = ("monthly", "daily")
    for cadence in cadences:
        expected = list_folder(tmp_path, "um", "4h", cadence)
        assert expected.files
        for url in (tmp_path.as_uri(), f"{tmp_path.as_uri()}/"):
            assert list_objects(url, "um", "4h", cadence, 2) == expected
    assert list_objects(tmp_path.as_uri(), "spot", "4h", "daily", 2).files == ()


def test_its_files_are_read_as_those_of_a_folder(tmp_path: Path) -> None:
    key = put_file(tmp_path, "BTCUSDT", "2025-01", b"1")
    content = (tmp_path / key).read_bytes()
    assert read_source(str(tmp_path), key) == read_source(tmp_path.as_uri(), key) == content
    for root in (str(tmp_path), tmp_path.as_uri()):
        with pytest.raises(OSError, match="BTCUSDT-4h-2024-01"):
            read_source(root, key.replace("2025", "2024"))


@pytest.mark.parametrize("url", ["ftp://host/archive", "nothing://", "s3a://"])
def test_an_address_that_is_no_archive_is_refused_in_words(url: str) -> None:
    with pytest.raises(ArchiveError, match="must be a folder that holds data/"):
        list_objects(url, "um", "4h", "monthly", 2)
