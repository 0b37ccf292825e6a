"""Landing an http archive: over a network that fails, killed and begun again, and republished."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bronze import download, landing
from bronze.archive import CHECKSUM_SUFFIX, FileFailure, list_folder
from bronze.download import part_name
from bronze.http import ATTEMPTS, TIMEOUT_SECONDS, Http
from bronze.landed import RECORD_NAME
from bronze.plan import Doubts, periods_of, wanted_files
from bronze.remote import RemoteListing, land_archive
from bronze.universe import Universe, named_universe
from lakehouse.errors import ArchiveError, EnvironmentProblem
from lakehouse.settings import ArchiveSettings
from tests.bronze.archive_server import ENDLESS_BYTES, ServedArchive, seeded_faults, served
from tests.support import as_csv, month_of_candles, put_file

# A bound for what would never end; no test ends by it, on a slow machine either.
PATIENCE_SECONDS = 300
SYMBOLS = ("BTCUSDT", "ETHUSDT", "币安人生USDT")
MONTHS = ("2024-12", "2025-01", "2025-02")
KEY = "data/futures/um/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2025-01.zip"
FAULTS = {"503": 0.05, "429": 0.05, "cut": 0.1, "cut without length": 0.1, "slow": 0.1}
FAULTS |= {"no length": 0.1, "reset": 0.05}


def content(period: str, start: float = 100.0) -> bytes:
    lines = month_of_candles(period[:7], 24, start)
    return as_csv(lines if len(period) == 7 else lines[int(period[8:]) - 1 :][:1])


def put(root: Path, symbol: str, period: str, start: float = 100.0, **how: Any) -> str:
    return put_file(root, symbol, period, content(period, start), interval="1d", **how)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[ServedArchive]:
    root = tmp_path / "archive"
    for symbol in SYMBOLS:
        for month in MONTHS:
            put(root, symbol, month)
        for day in ("2025-02-01", "2025-03-01", "2025-03-02"):
            put(root, symbol, day)
    with served(root) as running:
        yield running
        # Some servers tell no length there: what a GET brings is enough.
        assert running.heads == []


def settings_of(archive: ServedArchive, folder: Path, **changes: Any) -> ArchiveSettings:
    given = {
        "url": archive.url,
        "listing_url": archive.listing_url,
        "landing": str(folder),
        "transfers": 4,
        "market": "um",
        "interval": "1d",
        "start": "2024-12",
        "end": "2025-03",
    }
    return ArchiveSettings.model_validate({**given, **changes})


def everything(names: Collection[str]) -> Universe:
    return named_universe(names, names)


def land(archive: ServedArchive, folder: Path, **changes: Any) -> RemoteListing:
    settings = settings_of(archive, folder, **changes)
    http = Http(settings.transfers, lambda seconds: None)
    return land_archive(http, settings, everything, threading.Event())


def files_of(root: Path) -> dict[str, bytes]:
    """Key -> content of the ZIPs and CHECKSUMs of a folder, and of nothing else."""
    paths = [path for path in root.rglob("*") if path.suffix in (".zip", CHECKSUM_SUFFIX)]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def wanted_of(root: Path) -> dict[str, bytes]:
    """What of the archive must be landed: the February day is superseded by its month."""
    return {key: body for key, body in files_of(root).items() if "2025-02-01" not in key}


def test_the_landing_folder_is_the_archive(archive: ServedArchive, tmp_path: Path) -> None:
    found = land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)
    for cadence, count in (("monthly", 9), ("daily", 6)):
        listed = list_folder(tmp_path / "landing", "um", "1d", cadence)
        original = list_folder(archive.root, "um", "1d", cadence)
        by_key = {each.key.source_file: each for each in original.files}
        assert len(listed.files) == count
        assert all(by_key[each.key.source_file] == each for each in listed.files)
        in_account = {each.key.source_file: each for each in found.account.files}
        assert all(in_account[each.key.source_file] == each for each in listed.files)
    account = found.account
    assert (len(account.kept), len(account.landed), account.failed) == (0, 15, [])
    leftovers = [path.name for path in (tmp_path / "landing").rglob("*.part")]
    assert leftovers == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_faults_change_nothing_but_the_number_of_requests(
    archive: ServedArchive, tmp_path: Path, seed: int
) -> None:
    archive.faults = seeded_faults(seed, FAULTS)
    archive.page_size = 3
    found = land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)
    assert set(archive.met) == set(FAULTS)
    assert len(found.account.landed) == 15
    assert not list((tmp_path / "landing").rglob("*.part"))


def test_a_second_run_asks_for_the_listing_alone(archive: ServedArchive, tmp_path: Path) -> None:
    first = land(archive, tmp_path / "landing")
    archive.forget()
    second = land(archive, tmp_path / "landing")
    assert archive.object_requests() == []
    assert archive.requests
    assert (len(second.account.kept), second.account.landed) == (15, [])
    assert sorted(map(str, second.account.files)) == sorted(map(str, first.account.files))
    assert second.listed == first.listed


def test_what_is_listed_plans_the_same_as_the_folder(
    archive: ServedArchive, tmp_path: Path
) -> None:
    for period in ("2024-08", "2024-10-01", "2025-06"):
        put(archive.root, "BTCUSDT", period)
    put(archive.root, "YOUNGUSDT", "2024-11-05")
    put(archive.root, "YOUNGUSDT", "2025-01")
    folder = [
        file
        for cadence in ("monthly", "daily")
        for file in list_folder(archive.root, "um", "1d", cadence).files
    ]
    for start, end in (("2024-10", "2025-05"), ("2024-12", "2025-02"), ("2024-11", "2025-01")):
        remote = land(archive, tmp_path / start, start=start, end=end)
        assert {symbol: set(periods) for symbol, periods in remote.listed.items()} == (
            periods_of(folder)
        )
        wanted = sorted(remote.account.files, key=lambda file: file.key.source_file)
        assert tuple(wanted) == wanted_files(folder, start, end)


def test_misnamed_zips_are_reported_and_left(archive: ServedArchive, tmp_path: Path) -> None:
    folder = archive.root / "data/futures/um/monthly/klines/BTCUSDT/1d"
    for name in ("BTCUSDT-1d-2025-13.zip", "BTCUSDT-1d-2025-01 (1).zip", "README.txt"):
        (folder / name).write_bytes(b"")
    found = land(archive, tmp_path / "landing")
    assert [key.rpartition("/")[2] for key in found.unexpected] == [
        "BTCUSDT-1d-2025-01 (1).zip",
        "BTCUSDT-1d-2025-13.zip",
    ]
    landed = files_of(tmp_path / "landing")
    assert landed == {k: v for k, v in wanted_of(archive.root).items() if v}


def test_a_symbol_without_files_of_the_interval_is_absent(
    archive: ServedArchive, tmp_path: Path
) -> None:
    put_file(archive.root, "HOURSUSDT", "2025-01", content("2025-01"), interval="1h")
    universe = land(archive, tmp_path / "landing").universe
    assert universe == Universe(symbols=SYMBOLS, absent=("HOURSUSDT",))


def test_a_republished_file_alone_is_fetched(archive: ServedArchive, tmp_path: Path) -> None:
    land(archive, tmp_path / "landing")
    key = put(archive.root, "ETHUSDT", "2025-01", start=300.0)
    archive.forget()
    found = land(archive, tmp_path / "landing")
    assert sorted(archive.object_requests()) == [key, key + CHECKSUM_SUFFIX]
    assert [each.key.source_file for each in found.account.landed] == [key]
    assert len(found.account.kept) == 14
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_a_corrected_checksum_fetches_no_zip_again(archive: ServedArchive, tmp_path: Path) -> None:
    key = put(archive.root, "ETHUSDT", "2025-01")
    (archive.root / (key + CHECKSUM_SUFFIX)).unlink()
    first = land(archive, tmp_path / "landing")
    of_file = {each.key.source_file: each for each in first.account.files}
    assert of_file[key].published_sha256 is None
    put(archive.root, "ETHUSDT", "2025-01")
    archive.forget()
    second = land(archive, tmp_path / "landing")
    assert archive.object_requests() == [key + CHECKSUM_SUFFIX]
    digest = hashlib.sha256((archive.root / key).read_bytes()).hexdigest()
    assert second.account.landed[0].published_sha256 == digest
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_a_checksum_that_disappears_is_no_checksum(archive: ServedArchive, tmp_path: Path) -> None:
    land(archive, tmp_path / "landing")
    key = put(archive.root, "ETHUSDT", "2025-01")
    (archive.root / (key + CHECKSUM_SUFFIX)).unlink()
    found = land(archive, tmp_path / "landing")
    assert [each.published_sha256 for each in found.account.landed] == [None]
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)
    archive.forget()
    assert len(land(archive, tmp_path / "landing").account.kept) == 15
    assert archive.object_requests() == []


def test_a_mismatch_is_downloaded_afresh_once_and_landed_as_published(
    archive: ServedArchive, tmp_path: Path
) -> None:
    key = put(archive.root, "ETHUSDT", "2025-01", checksum="0" * 64)
    found = land(archive, tmp_path / "landing")
    assert archive.object_requests().count(key) == 2
    assert archive.object_requests().count(key + CHECKSUM_SUFFIX) == 2
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)
    listed = {each.key.source_file: each for each in found.account.files}[key]
    assert (listed.published_sha256, listed.failure) == ("0" * 64, None)
    # It is not settled: the next run looks again, and takes it once it is right.
    put(archive.root, "ETHUSDT", "2025-01")
    assert [
        each.key.source_file for each in land(archive, tmp_path / "landing").account.landed
    ] == [key]
    archive.forget()
    land(archive, tmp_path / "landing")
    assert archive.object_requests() == []


@pytest.mark.parametrize("is_old", [False, True])
def test_a_mismatching_republication_leaves_the_last_good_zip_and_is_told(
    archive: ServedArchive, tmp_path: Path, is_old: bool
) -> None:
    """Its CHECKSUM is wrong, or still that of the last good one."""
    land(archive, tmp_path / "landing")
    before = files_of(tmp_path / "landing")
    key = put(archive.root, "ETHUSDT", "2025-01", start=300.0, checksum="0" * 64)
    fresh = (archive.root / key).read_bytes()
    if is_old:
        (archive.root / (key + CHECKSUM_SUFFIX)).write_bytes(before[key + CHECKSUM_SUFFIX])
    digest = hashlib.sha256(fresh).hexdigest()
    published = hashlib.sha256(before[key]).hexdigest() if is_old else "0" * 64
    for _ in range(2):
        archive.forget()
        found = land(archive, tmp_path / "landing")
        assert archive.object_requests().count(key) == 2
        assert files_of(tmp_path / "landing") == before
        assert (len(found.account.kept), found.account.landed) == (14, [])
        (failed,) = found.account.failed
        assert (failed.key.source_file, failed.published_sha256) == (key, published)
        # As the reader of a folder refuses it, though what stands here could be read.
        why = f"its SHA-256 is {digest}, published is {published}"
        assert failed.failure == FileFailure("checksum_mismatch", why, len(fresh), digest)
    put(archive.root, "ETHUSDT", "2025-01", start=300.0)
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


@pytest.mark.parametrize("part", ["", CHECKSUM_SUFFIX, "both"])
def test_a_cache_that_is_older_than_the_listing_settles_nothing(
    archive: ServedArchive, tmp_path: Path, part: str
) -> None:
    land(archive, tmp_path / "landing")
    old = files_of(archive.root)
    key = put(archive.root, "ETHUSDT", "2025-01", start=500.0)
    keys = [key, key + CHECKSUM_SUFFIX] if part == "both" else [key + part]
    archive.cached = {key: old[key] for key in keys}
    land(archive, tmp_path / "landing")
    land(archive, tmp_path / "landing")
    archive.cached = {}
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)
    archive.forget()
    land(archive, tmp_path / "landing")
    assert archive.object_requests() == []


def test_an_unsigned_zip_from_an_old_cache_settles_nothing(
    archive: ServedArchive, tmp_path: Path
) -> None:
    (archive.root / (KEY + CHECKSUM_SUFFIX)).unlink()
    land(archive, tmp_path / "landing")
    archive.cached = {KEY: (archive.root / KEY).read_bytes()}
    put(archive.root, "BTCUSDT", "2025-01", start=500.0, checksum=None)
    (archive.root / (KEY + CHECKSUM_SUFFIX)).unlink(missing_ok=True)
    land(archive, tmp_path / "landing")
    archive.cached = {}
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


@pytest.mark.parametrize("answer", ["page", "missing"])
@pytest.mark.parametrize("is_zip_wrong", [False, True])
@pytest.mark.parametrize("is_known", [False, True])
def test_one_wrong_answer_for_a_checksum_heals(
    archive: ServedArchive, tmp_path: Path, answer: str, is_zip_wrong: bool, is_known: bool
) -> None:
    if is_known:
        land(archive, tmp_path / "landing")
        put(archive.root, "BTCUSDT", "2025-01", start=500.0)
    before = files_of(tmp_path / "landing")
    wrong = [KEY + CHECKSUM_SUFFIX, *([KEY] if is_zip_wrong and answer == "page" else [])]
    page = b"<html>please log in</html>"
    archive.cached = {key: page for key in wrong if answer == "page"}
    archive.hidden = set(wrong) if answer == "missing" else set()
    found = land(archive, tmp_path / "landing")
    told = {each.key.source_file: each.published_sha256 for each in found.account.landed}
    assert told[KEY] is None
    if is_known:
        assert files_of(tmp_path / "landing") == before
    archive.cached, archive.hidden = {}, set()
    healed = land(archive, tmp_path / "landing")
    assert [each.key.source_file for each in healed.account.landed] == [KEY]
    assert healed.account.landed[0].published_sha256 is not None
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)
    archive.forget()
    land(archive, tmp_path / "landing")
    assert archive.object_requests() == []


@pytest.mark.parametrize("suffix", ["", CHECKSUM_SUFFIX])
def test_a_body_without_end_is_left(archive: ServedArchive, tmp_path: Path, suffix: str) -> None:
    endless = "/" + KEY + suffix
    archive.faults = lambda path, count: "endless" if path == endless else None
    found = land(archive, tmp_path / "landing")
    assert [each.key.source_file for each in found.account.failed] == [KEY]
    assert archive.sent[KEY + suffix] < ENDLESS_BYTES / 2
    assert not list((tmp_path / "landing").rglob("*.part"))
    archive.faults = lambda path, count: None
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_a_download_that_was_wrong_once_is_right_afresh(
    archive: ServedArchive, tmp_path: Path
) -> None:
    key = "data/futures/um/monthly/klines/ETHUSDT/1d/ETHUSDT-1d-2025-01.zip"
    published = (archive.root / key).read_bytes()

    def republish_meanwhile(path: str, count: int) -> None:
        """The ZIP's old edition is served first, beside its new checksum."""
        if path == "/" + key:
            (archive.root / key).write_bytes(b"x" * len(published) if count == 1 else published)

    archive.faults = republish_meanwhile
    land(archive, tmp_path / "landing")
    assert archive.object_requests().count(key) == 2
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_a_stale_listing_names_a_file_that_is_gone(archive: ServedArchive, tmp_path: Path) -> None:
    gone = "data/futures/um/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2025-02.zip"
    archive.gone = {gone}
    found = land(archive, tmp_path / "landing")
    (failed,) = found.account.failed
    assert failed.key.source_file == gone
    assert failed.failure is not None
    assert "404" in failed.failure.why
    assert len(found.account.landed) == 14
    assert archive.object_requests().count(gone) == 1
    archive.gone = set()
    again = land(archive, tmp_path / "landing")
    assert [each.key.source_file for each in again.account.landed] == [gone]
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_a_stale_listing_lacks_files(archive: ServedArchive, tmp_path: Path) -> None:
    late = "data/futures/um/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2024-12.zip"
    unsigned = "data/futures/um/monthly/klines/ETHUSDT/1d/ETHUSDT-1d-2025-01.zip"
    archive.unlisted = {late, late + CHECKSUM_SUFFIX, unsigned + CHECKSUM_SUFFIX}
    found = land(archive, tmp_path / "landing")
    landed = {each.key.source_file: each for each in found.account.landed}
    assert late not in landed
    # Its checksum is there, whatever the listing says.
    assert landed[unsigned].published_sha256 is not None
    archive.unlisted = set()
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_a_file_that_cannot_be_had_fails_alone_with_its_reason(
    archive: ServedArchive, tmp_path: Path
) -> None:
    name = "ETHUSDT-1d-2025-01.zip"
    archive.faults = lambda path, count: "503" if path.endswith(name) else None
    found = land(archive, tmp_path / "landing")
    (failed,) = found.account.failed
    assert failed.key.file_name == name
    assert failed.failure is not None
    assert f"503 Service Unavailable ({ATTEMPTS} attempts)" in failed.failure.why
    assert len(found.account.landed) == 14
    archive.faults = lambda path, count: None
    archive.forget()
    assert len(land(archive, tmp_path / "landing").account.landed) == 1
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_an_old_edition_stays_where_the_new_one_cannot_be_had(
    archive: ServedArchive, tmp_path: Path
) -> None:
    land(archive, tmp_path / "landing")
    before = files_of(tmp_path / "landing")
    key = put(archive.root, "ETHUSDT", "2025-01", start=300.0)
    archive.faults = lambda path, count: "503" if path == "/" + key else None
    found = land(archive, tmp_path / "landing")
    assert [each.key.source_file for each in found.account.failed] == [key]
    # The ZIP and the CHECKSUM that fits it.
    assert files_of(tmp_path / "landing") == before
    archive.faults = lambda path, count: None
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


@pytest.mark.parametrize("fault", ["cut", "cut without length"])
def test_a_broken_transfer_goes_on_where_it_stopped(
    archive: ServedArchive, tmp_path: Path, fault: str
) -> None:
    put_file(archive.root, "BTCUSDT", "2025-01", random.Random(1).randbytes(200_000), interval="1d")
    archive.faults = lambda path, count: fault if path == "/" + KEY and count < 4 else None
    land(archive, tmp_path / "landing")
    size = (archive.root / KEY).stat().st_size
    starts = [asked for path, asked in archive.requests if path == "/" + KEY]
    assert starts[0] is None
    reached = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in starts[1:] if asked]
    assert len(reached) == 3
    assert size // 2 < reached[0] < reached[1] < reached[2] < size
    # What is sent twice is a chunk at the most for each break.
    assert size <= archive.sent[KEY] < size + 3 * 16_384
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_a_server_without_etags_starts_anew(archive: ServedArchive, tmp_path: Path) -> None:
    archive.etags = False
    archive.faults = lambda path, count: "cut" if path == "/" + KEY and count == 1 else None
    land(archive, tmp_path / "landing")
    assert {asked for path, asked in archive.requests if path == "/" + KEY} == {None}
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_a_file_that_changes_between_two_attempts_starts_anew(
    archive: ServedArchive, tmp_path: Path
) -> None:
    def republish(path: str, count: int) -> str | None:
        if path == "/" + KEY and count == 2:
            put(archive.root, "BTCUSDT", "2025-01", start=500.0)
        return "cut" if path == "/" + KEY and count == 1 else None

    archive.faults = republish
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_the_rest_of_another_edition_is_not_appended(
    archive: ServedArchive, tmp_path: Path
) -> None:
    put_file(archive.root, "BTCUSDT", "2025-01", random.Random(1).randbytes(200_000), interval="1d")
    faults = iter(["cut", "another tag"])
    archive.faults = lambda path, count: next(faults, None) if path == "/" + KEY else None
    land(archive, tmp_path / "landing")
    asked = [asked for path, asked in archive.requests if path == "/" + KEY]
    assert [each is None for each in asked] == [True, False, True]
    assert archive.object_requests().count(KEY + CHECKSUM_SUFFIX) == 1
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


@pytest.mark.parametrize("stale_runs", [1, 2])
def test_an_old_checksum_without_a_tag_does_not_vouch_for_an_old_zip(
    archive: ServedArchive, tmp_path: Path, stale_runs: int
) -> None:
    land(archive, tmp_path / "landing")
    archive.etags = False
    archive.cached = {KEY + CHECKSUM_SUFFIX: (archive.root / (KEY + CHECKSUM_SUFFIX)).read_bytes()}
    put(archive.root, "BTCUSDT", "2025-01", start=500.0)
    for _ in range(stale_runs):
        land(archive, tmp_path / "landing")
    archive.cached = {}
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("trouble", ["503", "an old zip"])
def test_a_zip_of_another_edition_is_never_settled_by_its_own_checksum(
    archive: ServedArchive, tmp_path: Path, trouble: str, is_known: bool
) -> None:
    """The ZIP is published anew and its CHECKSUM is not: what came before still matches that."""
    if is_known:
        land(archive, tmp_path / "landing")
    before = (archive.root / KEY).read_bytes()
    digest = hashlib.sha256(before).hexdigest()
    put(archive.root, "BTCUSDT", "2025-01", start=500.0, checksum=digest)
    if trouble == "503":
        archive.faults = lambda path, count: "503" if path == "/" + KEY else None
    else:
        archive.cached = {KEY: before}
    land(archive, tmp_path / "landing")
    archive.faults, archive.cached = (lambda path, count: None), {}
    for _ in range(2):
        archive.forget()
        land(archive, tmp_path / "landing")
        assert archive.object_requests().count(KEY) == 2
    put(archive.root, "BTCUSDT", "2025-01", start=500.0)
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)
    archive.forget()
    land(archive, tmp_path / "landing")
    assert archive.object_requests() == []


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_part_of_a_killed_run_is_gone_on_with(
    archive: ServedArchive, tmp_path: Path, share: float
) -> None:
    whole = (archive.root / KEY).read_bytes()
    folder = (tmp_path / "landing" / KEY).parent
    folder.mkdir(parents=True)
    etag = f'"{hashlib.md5(whole).hexdigest()}"'
    start = int(len(whole) * share)
    (folder / part_name(Path(KEY).name, etag)).write_bytes(whole[:start])
    (folder / part_name(Path(KEY).name, '"another edition"')).write_bytes(b"x" * 99)
    (folder / part_name(Path(KEY).name, "")).write_bytes(b"y" * 99)
    land(archive, tmp_path / "landing")
    assert archive.sent[KEY] == len(whole) - start
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)
    assert not list((tmp_path / "landing").rglob("*.part"))


def test_a_part_that_a_killed_run_completed_is_on_the_disk_before_it_counts(
    archive: ServedArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (archive.root / KEY).read_bytes()
    target = tmp_path / "landing" / KEY
    target.parent.mkdir(parents=True)
    part = target.with_name(part_name(target.name, f'"{hashlib.md5(whole).hexdigest()}"'))
    part.write_bytes(whole)
    synced, fsync = set(), os.fsync

    def seen(handle: int) -> None:
        fsync(handle)
        if not target.exists():
            synced.add(os.fstat(handle).st_ino)

    monkeypatch.setattr(download.os, "fsync", seen)
    inode = part.stat().st_ino
    land(archive, tmp_path / "landing")
    assert target.stat().st_ino == inode
    assert inode in synced


def test_a_wrong_part_of_the_right_edition_does_no_harm(
    archive: ServedArchive, tmp_path: Path
) -> None:
    whole = (archive.root / KEY).read_bytes()
    folder = (tmp_path / "landing" / KEY).parent
    folder.mkdir(parents=True)
    etag = f'"{hashlib.md5(whole).hexdigest()}"'
    for length in (50, len(whole), len(whole) + 10):
        (folder / part_name(Path(KEY).name, etag)).write_bytes(b"z" * length)
        (folder / Path(KEY).name).unlink(missing_ok=True)
        land(archive, tmp_path / "landing")
        assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_without_its_record_a_landed_file_is_compared_and_not_fetched(
    archive: ServedArchive, tmp_path: Path
) -> None:
    land(archive, tmp_path / "landing")
    for number, record in enumerate((tmp_path / "landing").rglob(RECORD_NAME)):
        record.write_bytes([b"", b"[]", b'{"x": {"y": 1}}', b"\xff"][number % 4])
    archive.forget()
    found = land(archive, tmp_path / "landing")
    assert len(found.account.landed) == 15
    assert all(key.endswith(CHECKSUM_SUFFIX) for key in archive.object_requests())
    archive.forget()
    land(archive, tmp_path / "landing")
    assert archive.object_requests() == []


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_or_removed_file_is_fetched_again(
    archive: ServedArchive, tmp_path: Path, damage: bytes | None
) -> None:
    land(archive, tmp_path / "landing")
    path = tmp_path / "landing" / KEY
    path.unlink() if damage is None else path.write_bytes(damage)
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_a_damaged_file_of_the_right_size_is_fetched_again_once_the_ledger_says_so(
    archive: ServedArchive, tmp_path: Path
) -> None:
    land(archive, tmp_path / "landing")
    path = tmp_path / "landing" / KEY
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    archive.forget()
    http, given = Http(4, lambda seconds: None), settings_of(archive, tmp_path / "landing")
    doubts = Doubts(damaged={KEY})
    found = land_archive(http, given, everything, threading.Event(), doubts)
    assert archive.object_requests() == [KEY + CHECKSUM_SUFFIX, KEY]
    assert [each.key.source_file for each in found.account.landed] == [KEY]
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_the_days_of_a_broken_month_are_landed(archive: ServedArchive, tmp_path: Path) -> None:
    http, given = Http(4, lambda seconds: None), settings_of(archive, tmp_path / "landing")
    doubts = Doubts(broken={("BTCUSDT", "2025-02")})
    land_archive(http, given, everything, threading.Event(), doubts)
    landed = {key for key in files_of(tmp_path / "landing") if "2025-02-01" in key}
    assert {key.rpartition("/")[2].partition(".")[0] for key in landed} == {"BTCUSDT-1d-2025-02-01"}


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), stops=st.lists(st.integers(1, 40), max_size=3))
def test_broken_off_anywhere_and_begun_again_it_converges(
    tmp_path_factory: pytest.TempPathFactory, seed: int, stops: list[int]
) -> None:
    base = tmp_path_factory.mktemp("landing")
    for month in MONTHS:
        put(base / "archive", "BTCUSDT", month)
    with served(base / "archive") as archive:
        faults = seeded_faults(seed, FAULTS)
        for limit in stops:
            stop, left = threading.Event(), iter(range(limit))

            def break_off(
                path: str, count: int, stop: threading.Event = stop, left: Iterator[int] = left
            ) -> str | None:
                if next(left, None) is None:
                    stop.set()
                return faults(path, count)

            archive.faults = break_off
            http = Http(4, lambda seconds: None)
            with suppress(EnvironmentProblem):
                land_archive(http, settings_of(archive, base / "landing"), everything, stop)
        archive.faults = faults
        # A file whose every attempt met a fault is told as failed, and is the next run's.
        while land(archive, base / "landing").account.failed:
            assert files_of(base / "landing") != wanted_of(archive.root)
        assert files_of(base / "landing") == wanted_of(archive.root)
        archive.faults = lambda path, count: None
        archive.forget()
        land(archive, base / "landing")
        assert archive.object_requests() == []


KILLED = """
import sys, threading
from bronze.http import Http
from bronze.remote import land_archive
from bronze.universe import named_universe
from lakehouse.settings import ArchiveSettings
archive = ArchiveSettings.model_validate_json(sys.argv[1])
http, stop = Http(4, lambda seconds: None), threading.Event()
land_archive(http, archive, lambda names: named_universe(names, names), stop)
"""


def test_killed_by_the_system_it_continues(archive: ServedArchive, tmp_path: Path) -> None:
    arguments = settings_of(archive, tmp_path / "landing").model_dump_json()
    process = subprocess.Popen([sys.executable, "-c", KILLED, arguments])
    killed = threading.Event()

    def kill(path: str, count: int) -> None:
        # Not the 12th exactly: of two requests at once, both may find thirteen.
        if path.startswith("/data/") and len(archive.object_requests()) >= 12:
            process.kill()
            killed.set()

    archive.faults = kill
    process.wait(PATIENCE_SECONDS)
    assert killed.is_set()
    before = files_of(tmp_path / "landing")
    assert all(body == files_of(archive.root)[key] for key, body in before.items())
    archive.faults = lambda path, count: None
    archive.forget()
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)
    whole = {key for key in before if key.endswith(".zip")}
    assert not whole & set(archive.object_requests())


def test_two_runs_at_once_land_each_file_once(archive: ServedArchive, tmp_path: Path) -> None:
    archive.faults = seeded_faults(5, {"cut": 0.2, "slow": 0.3})
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(land, archive, tmp_path / "landing") for _ in range(2)]
    accounts = [run.result().account for run in runs]
    assert sorted((len(each.kept), len(each.landed)) for each in accounts) == [(0, 15), (15, 0)]
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_broken_off_it_never_looks_complete(archive: ServedArchive, tmp_path: Path) -> None:
    stop = threading.Event()

    def break_off(path: str, count: int) -> None:
        if path == "/" + KEY:
            stop.set()

    archive.faults = break_off
    http = Http(4, lambda seconds: None)
    with pytest.raises(EnvironmentProblem, match="a new run goes on from here"):
        land_archive(http, settings_of(archive, tmp_path / "landing"), everything, stop)
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_a_stop_is_seen_while_a_body_stands_still(archive: ServedArchive, tmp_path: Path) -> None:
    stop = threading.Event()

    def stall(path: str, count: int) -> str | None:
        if path != "/" + KEY:
            return None
        threading.Timer(0.5, stop.set).start()
        return "stall"

    archive.faults = stall
    http = Http(4, lambda seconds: None)
    started = time.monotonic()
    with pytest.raises(EnvironmentProblem, match="a new run goes on from here"):
        land_archive(http, settings_of(archive, tmp_path / "landing"), everything, stop)
    assert time.monotonic() - started < TIMEOUT_SECONDS / 2
    (part,) = (tmp_path / "landing").rglob("*.part")
    had = part.stat().st_size
    archive.faults = lambda path, count: None
    archive.forget()
    land(archive, tmp_path / "landing")
    assert ("/" + KEY, f"bytes={had}-") in archive.requests
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_a_server_that_fails_for_every_file_ends_the_run(
    archive: ServedArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "_FAILURES_IN_A_ROW", 5)
    archive.faults = lambda path, count: "503" if path.startswith("/data/") else None
    with pytest.raises(EnvironmentProblem, match=r"for 5 files in a row, .* 503 .*: try later"):
        land(archive, tmp_path / "landing")
    assert len(set(archive.object_requests())) < 15
    # Files that are gone are another matter: the server answers.
    archive.faults = lambda path, count: None
    archive.gone = {key for key in files_of(archive.root) if "2025-0" in key}
    found = land(archive, tmp_path / "landing")
    assert (len(found.account.failed), len(found.account.landed)) == (12, 3)


def test_a_full_disk_is_told_before_it_is_full(
    archive: ServedArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 1_500_000
    key = put_file(archive.root, "BTCUSDT", "2024-12", b"x" * size, interval="1d", zipped=False)
    free = [500_000_000 + size - 1_000_000]
    one = {"start": "2024-12", "end": "2024-12"}
    for symbol in SYMBOLS[1:]:
        (archive.root / key.replace("BTCUSDT", symbol)).unlink()

    def usage(path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=free[0])

    monkeypatch.setattr(landing.shutil, "disk_usage", usage)
    with pytest.raises(EnvironmentProblem, match=r"lacks 1\.0 MB .* 500 MB .*archive\.landing"):
        land(archive, tmp_path / "landing", **one)
    assert not list((tmp_path / "landing").rglob("*.zip"))
    free[0] += 1_000_000 + 3 * 4096  # what the ZIP and its CHECKSUM leave of their last blocks
    assert len(land(archive, tmp_path / "landing", **one).account.landed) == 1


def test_small_files_take_whole_blocks_of_the_disk(
    archive: ServedArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = wanted_of(archive.root).values()
    assert max(map(len, bodies)) < 4096
    free = [500_000_000 + sum(map(len, bodies))]
    monkeypatch.setattr(landing.shutil, "disk_usage", lambda path: SimpleNamespace(free=free[0]))
    with pytest.raises(EnvironmentProblem, match=r"lacks 0\.\d MB .* 500 MB"):
        land(archive, tmp_path / "landing")
    free[0] = 500_000_000 + len(bodies) * 4096
    assert len(land(archive, tmp_path / "landing").account.files) == 15


@pytest.mark.parametrize("name", [Path(KEY).name + CHECKSUM_SUFFIX, RECORD_NAME])
def test_a_disk_that_fills_meanwhile_ends_the_run_and_the_next_one_goes_on(
    archive: ServedArchive, tmp_path: Path, name: str
) -> None:
    folder = (tmp_path / "landing" / KEY).parent

    def fill(path: str, count: int) -> None:
        """The device on which each write fails for want of room."""
        if path == "/" + KEY:
            (folder / f"{name}.part").symlink_to("/dev/full")

    archive.faults = fill
    with pytest.raises(EnvironmentProblem, match=r"BTCUSDT/1d cannot be written \(No space left"):
        land(archive, tmp_path / "landing")
    archive.faults = lambda path, count: None
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)
    archive.forget()
    land(archive, tmp_path / "landing")
    assert archive.object_requests() == []


def test_a_folder_that_cannot_be_written_is_named(archive: ServedArchive, tmp_path: Path) -> None:
    in_the_way = tmp_path / "landing" / KEY
    in_the_way.mkdir(parents=True)
    (in_the_way / "file").touch()
    with pytest.raises(EnvironmentProblem, match=r"BTCUSDT/1d cannot be written .*landing"):
        land(archive, tmp_path / "landing")
    shutil.rmtree(in_the_way.parent)
    in_the_way.parent.touch()
    with pytest.raises(EnvironmentProblem, match=r"BTCUSDT/1d cannot be written .*landing"):
        land(archive, tmp_path / "landing")
    in_the_way.parent.unlink()
    land(archive, tmp_path / "landing")
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


def test_a_listing_that_cannot_be_had_ends_the_run(archive: ServedArchive, tmp_path: Path) -> None:
    archive.faults = lambda path, count: "503" if "ETHUSDT%2F1d" in path else None
    with pytest.raises(ArchiveError, match=r"cannot be listed: .*ETHUSDT.* 503 .*run again"):
        land(archive, tmp_path / "landing")


def test_downloads_begin_while_the_listing_goes_on(archive: ServedArchive, tmp_path: Path) -> None:
    downloaded = threading.Event()

    def hold_the_last_listing(path: str, count: int) -> None:
        if path.startswith("/data/"):
            downloaded.set()
        elif "prefix=" in path and "%E5%B8%81" in path:
            assert downloaded.wait(PATIENCE_SECONDS)

    archive.faults = hold_the_last_listing
    land(archive, tmp_path / "landing")
    assert downloaded.is_set()
    assert files_of(tmp_path / "landing") == wanted_of(archive.root)


@pytest.mark.parametrize("transfers", [1, 3])
def test_so_many_transfers_at_once_and_no_more(
    archive: ServedArchive, tmp_path: Path, transfers: int
) -> None:
    lock, now, most = threading.Lock(), [0], [0]
    full = threading.Event()

    def count_them(path: str, count: int) -> None:
        if not path.startswith("/data/"):
            return
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            if now[0] >= transfers:
                full.set()
        # All places are taken at some moment, or this would wait in vain.
        assert full.wait(PATIENCE_SECONDS)
        with lock:
            now[0] -= 1

    archive.faults = count_them
    land(archive, tmp_path / "landing", transfers=transfers)
    assert most[0] == transfers
