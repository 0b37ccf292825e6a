from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bronze.http import Http
from bronze.listing import ListedObject, listed_symbols, pages, parse_page
from lakehouse.errors import ArchiveError
from tests.bronze.archive_server import NAMESPACE, ServedArchive, served

KLINES = "data/spot/monthly/klines/"
BTC = f"{KLINES}BTCUSDT/4h/"


def page(inner: str, space: str = f' xmlns="{NAMESPACE}"') -> bytes:
    return f"<ListBucketResult{space}>{inner}</ListBucketResult>".encode()


def contents(key: str, more: str = "<Size>7</Size>") -> str:
    return f"<Contents><Key>{key}</Key>{more}</Contents>"


WHOLE = "<IsTruncated>false</IsTruncated>"
CUT = "<IsTruncated>true</IsTruncated>"


@pytest.mark.parametrize("space", [f' xmlns="{NAMESPACE}"', ""])
def test_a_page_as_the_bucket_gives_it(space: str) -> None:
    body = page(
        "<Name>data.binance.vision</Name><Prefix>data/</Prefix><Marker></Marker>"
        f"<MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter>{WHOLE}"
        + contents(
            f"{BTC}BTCUSDT-4h-2025-01.zip",
            "<LastModified>2025-02-01T05:03:44.000Z</LastModified>"
            "<ETag>&quot;5f3c&quot;</ETag><Size>11219</Size>"
            "<Owner><ID>x</ID></Owner><StorageClass>STANDARD</StorageClass>",
        )
        + "<CommonPrefixes><Prefix>data/spot/</Prefix></CommonPrefixes>",
        space,
    )
    found = parse_page(body)
    listed = ListedObject(
        f"{BTC}BTCUSDT-4h-2025-01.zip", 11219, '"5f3c"', "2025-02-01T05:03:44.000Z"
    )
    assert found.objects == (listed,)
    assert found.folders == ("data/spot/",)
    assert found.next_marker is None
    assert listed.edition == '"5f3c" 2025-02-01T05:03:44.000Z 11219'


@pytest.mark.parametrize(
    ("inner", "marker"),
    [
        (f"{CUT}<NextMarker>data/b</NextMarker>{contents('data/a')}", "data/b"),
        # Without a delimiter the bucket names no next marker: it is the last key.
        (f"{CUT}{contents('data/a')}{contents('data/é')}", "data/é"),
        (
            f"{CUT}{contents('a')}<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>",
            "b/",
        ),
        (f"{WHOLE}<NextMarker>data/b</NextMarker>", None),
    ],
)
def test_how_a_page_goes_on(inner: str, marker: str | None) -> None:
    assert parse_page(page(inner)).next_marker == marker


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html><body>Access denied</body></html>", "its root is html"),
        (b"<html><br></html>", "not XML"),
        (b"", "not XML"),
        (page(WHOLE)[:-5], "not XML"),
        (page(""), "IsTruncated"),
        (page("<IsTruncated>perhaps</IsTruncated>"), "IsTruncated is 'perhaps'"),
        (page(CUT), "cut off"),
        (page(WHOLE + contents("a", "")), "has no .*Size"),
        (page(WHOLE + contents("a", "<Size>many</Size>")), "many"),
        (page(WHOLE + contents("")), "has no .*Key"),
        (b"<Error><Code>AccessDenied</Code></Error>", "its root is Error"),
    ],
)
def test_what_is_no_page(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_page(body)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[ServedArchive]:
    with served(tmp_path / "archive") as running:
        yield running


def put(archive: ServedArchive, *keys: str) -> None:
    for key in keys:
        path = archive.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(key))


def http() -> Http:
    return Http(2, lambda seconds: None)


@pytest.mark.parametrize("page_size", [1, 2, 3, 1000])
def test_pages_are_followed_to_the_end(archive: ServedArchive, page_size: int) -> None:
    names = [f"BTCUSDT-4h-2025-{month:02d}.zip" for month in range(1, 8)]
    put(archive, *(BTC + name for name in names), f"{BTC}deeper/x.zip", f"{KLINES}other.zip")
    archive.page_size = page_size
    found = list(pages(http(), archive.listing_url, BTC))
    assert [each.key for one in found for each in one.objects] == [BTC + name for name in names]
    assert [folder for one in found for folder in one.folders] == [f"{BTC}deeper/"]
    assert all(len(one.objects) + len(one.folders) <= page_size for one in found)
    assert len(archive.requests) == len(found) == -(-8 // page_size)


SYMBOLS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Z", "C"], exclude_characters="/\\."),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(
    symbols=st.sets(SYMBOLS | st.sampled_from(["币安人生USDT", "A&B<USDT", "1000PEPEUSDT"])),
    page_size=st.integers(1, 4),
)
def test_symbols_of_any_script_are_listed_once(
    tmp_path_factory: pytest.TempPathFactory, symbols: set[str], page_size: int
) -> None:
    root = tmp_path_factory.mktemp("archive")
    with served(root) as archive:
        archive.page_size = page_size
        put(archive, *(f"{KLINES}{symbol}/4h/x.zip" for symbol in symbols))
        found = list(listed_symbols(http(), archive.listing_url, "spot", "monthly"))
    # A file system may know two names as one.
    there = {entry.name for entry in (root / KLINES).iterdir()} if symbols else set()
    assert sorted(found) == sorted(there)


def test_an_archive_without_the_market_lists_nothing(archive: ServedArchive) -> None:
    assert list(listed_symbols(http(), archive.listing_url, "um", "daily")) == []


def test_an_answer_that_is_no_listing_names_the_address(archive: ServedArchive) -> None:
    archive.documents["/page"] = b"<html><body>Welcome</body></html>"
    with pytest.raises(ArchiveError, match="/page gives no S3 listing") as caught:
        list(pages(http(), archive.url + "/page", KLINES))
    assert "archive.listing_url" in str(caught.value)
    assert len(archive.requests) == 1


def test_a_listing_that_goes_round_in_circles_ends(archive: ServedArchive) -> None:
    again = f"{CUT}<NextMarker>a</NextMarker>{contents('a')}"
    archive.documents["/page"] = page(again)
    with pytest.raises(ArchiveError, match="does not go on after a"):
        list(pages(http(), archive.url + "/page", ""))


def test_a_listing_that_goes_back_ends(archive: ServedArchive) -> None:
    def alternate(path: str, count: int) -> str | None:
        marker = "a" if "marker=b" in path else "b"
        archive.documents["/page"] = page(
            f"{CUT}<NextMarker>{marker}</NextMarker>{contents(marker)}"
        )
        return "503" if len(archive.requests) > 5 else None

    archive.faults = alternate
    with pytest.raises(ArchiveError, match="does not go on after b"):
        list(pages(http(), archive.url + "/page", ""))


@pytest.mark.parametrize("fault", ["503", "429", "cut", "cut without length", "reset", "slow"])
def test_a_listing_survives_a_fault(archive: ServedArchive, fault: str) -> None:
    keys = [f"{BTC}BTCUSDT-4h-2025-{month:02d}.zip" for month in range(1, 8)]
    put(archive, *keys)
    archive.page_size = 3
    archive.faults = lambda path, count: fault if count == 1 else None
    found = [each for one in pages(http(), archive.listing_url, BTC) for each in one.objects]
    assert [each.key for each in found] == keys
    assert [each.size_bytes for each in found] == [len(key) for key in keys]
