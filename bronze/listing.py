"""The listing of an S3 bucket, a page at a time: nothing here holds all keys of an archive.

`GET listing_url?prefix=…&delimiter=/&marker=…` answers with XML, 1,000 keys to a page by default.
Format: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from bronze.archive import Cadence, Market, klines_prefix
from bronze.http import Http, RequestFailed
from lakehouse.errors import ArchiveError


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object of the bucket.

    Attributes:
        key: Its key, from `data/` on.
        size_bytes: Its size.
        etag: Its entity tag with the quotes, as an answer's header has it; empty if not told.
        modified: When it was last written, as told; empty if not told.
    """

    key: str
    size_bytes: int
    etag: str
    modified: str

    @property
    def edition(self) -> str:
        """Text that changes whenever the object is published anew."""
        return f"{self.etag} {self.modified} {self.size_bytes}"


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of a listing.

    Attributes:
        objects: Objects right below the prefix, in the order of their keys.
        folders: Key prefixes below it that the delimiter cuts off, with the slash at their end.
        next_marker: Where the next page starts; None on the last one.
    """

    objects: tuple[ListedObject, ...]
    folders: tuple[str, ...]
    next_marker: str | None


def pages(http: Http, listing_url: str, prefix: str) -> Iterator[ListingPage]:
    """What lies right below a key prefix, page by page.

    Raises:
        ArchiveError: The listing cannot be had, or is none; names the address.
    """
    seen: str | None = ""
    while seen is not None:
        page = _page(http, listing_url, prefix, seen)
        yield page
        if page.next_marker is not None and page.next_marker <= seen:
            raise ArchiveError(
                f"the listing of {prefix} at {listing_url} does not go on after {seen}: check "
                "archive.listing_url"
            )
        seen = page.next_marker


def listed_symbols(http: Http, listing_url: str, market: Market, cadence: Cadence) -> Iterator[str]:
    """Symbols that have a folder in the archive, delisted ones included; any script."""
    prefix = klines_prefix(market, cadence)
    for page in pages(http, listing_url, prefix):
        for folder in page.folders:
            yield folder.removeprefix(prefix).rstrip("/")


def _page(http: Http, listing_url: str, prefix: str, marker: str) -> ListingPage:
    params = {"prefix": prefix, "delimiter": "/"} | ({"marker": marker} if marker else {})

    try:
        return http.read(listing_url, parse_page, params)
    except RequestFailed as error:
        raise ArchiveError(
            f"the archive cannot be listed: {error}: check archive.listing_url and the network, "
            "and run again"
        ) from error
    except ValueError as error:
        raise ArchiveError(
            f"{listing_url} gives no S3 listing of {prefix} ({error}): check archive.listing_url"
        ) from error


def parse_page(body: bytes) -> ListingPage:
    """Read one page.

    Raises:
        ValueError: It is no listing, or one that says neither that it is whole nor how it goes on.
    """
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML: {error}") from error
    namespace, _, tag = root.tag.rpartition("}")
    if tag != "ListBucketResult":
        raise ValueError(f"its root is {tag}")
    space = f"{namespace}}}" if namespace else ""
    objects = tuple(_object(entry, space) for entry in root.iter(f"{space}Contents"))
    folders = tuple(_text(each, f"{space}Prefix") for each in root.iter(f"{space}CommonPrefixes"))
    truncated = _text(root, f"{space}IsTruncated")
    if truncated not in ("true", "false"):
        raise ValueError(f"IsTruncated is {truncated!r}")
    if truncated == "false":
        return ListingPage(objects, folders, None)
    last = max([*(each.key for each in objects), *folders], default="")
    marker = root.findtext(f"{space}NextMarker") or last
    if not marker:
        raise ValueError("it is cut off and names nothing")
    return ListingPage(objects, folders, marker)


def _object(entry: ElementTree.Element, space: str) -> ListedObject:
    return ListedObject(
        _text(entry, f"{space}Key"),
        int(_text(entry, f"{space}Size")),
        entry.findtext(f"{space}ETag") or "",
        entry.findtext(f"{space}LastModified") or "",
    )


def _text(element: ElementTree.Element, tag: str) -> str:
    text = element.findtext(tag)
    if not text:
        raise ValueError(f"{element.tag} has no {tag}")
    return text
