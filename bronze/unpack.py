"""One archive ZIP's bytes in, its member's bytes out, or a refusal that says why."""

import io
import struct
import zipfile

from isal import isal_zlib

from bronze.contracts import FileStatus
from lakehouse.errors import ArchiveError

# A month of minute bars, the largest member of any interval, is below 10 MB, and candles deflate
# 3 to 4 fold, the flattest ones below 30 fold.
MAX_MEMBER_BYTES = 64 * 1024 * 1024
MAX_INFLATION = 100

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of name and extra field
_LOCAL_SIGNATURE = b"PK\x03\x04"
_SHOWN_BYTES = 24
_ENCRYPTED = 0x1
_UTF8_NAME = 0x800


class FileRefused(ArchiveError):
    """A source file that must not be ingested, with the status it ends with."""

    def __init__(self, status: FileStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def unpack(content: bytes, member_name: str) -> bytes:
    """Inflate the one member of a ZIP and verify its size and CRC-32.

    Never holds more than `MAX_MEMBER_BYTES` + 1 inflated bytes, whatever the ZIP declares.

    Raises:
        FileRefused: `corrupt_zip` for what is no whole ZIP; `unexpected_content` for what never
            was one (an HTML page), for anything but one unencrypted member named `member_name`,
            and for a zip bomb.
    """
    member = _only_member(content)
    name = _name_bytes(member)
    if name != member_name.encode():
        shown = name.decode("utf-8", "replace")
        what = "a member with a path" if any(c in shown for c in "/\\:") else "a wrong member"
        raise FileRefused("unexpected_content", f"{what}: {shown!r} where {member_name!r} belongs")
    _refuse_bomb(member)
    return _inflate(member, _stored_bytes(content, member, name))


def _only_member(content: bytes) -> zipfile.ZipInfo:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    # All that zipfile raises on a damaged directory: a wrong field surfaces where it is used.
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
        if content and not content.startswith(_LOCAL_SIGNATURE[: len(content)]):
            begins = content[:_SHOWN_BYTES].decode("utf-8", "replace")
            raise FileRefused("unexpected_content", f"no ZIP: it begins {begins!r}") from error
        raise FileRefused("corrupt_zip", f"not a whole ZIP: {error}") from error
    if len(members) != 1:
        raise FileRefused("unexpected_content", f"{len(members)} members where one belongs")
    return members[0]


def _name_bytes(member: zipfile.ZipInfo) -> bytes:
    # zipfile reads a name without the UTF-8 flag as cp437; archives with non-ASCII symbols may
    # hold UTF-8 all the same, so names are compared as the bytes that they are.
    encoding = "utf-8" if member.flag_bits & _UTF8_NAME else "cp437"
    return member.orig_filename.encode(encoding)


def _refuse_bomb(member: zipfile.ZipInfo) -> None:
    if member.file_size > MAX_MEMBER_BYTES:
        raise FileRefused(
            "unexpected_content",
            f"zip bomb: declares {member.file_size} bytes, at most {MAX_MEMBER_BYTES} are read",
        )
    if member.file_size > MAX_INFLATION * member.compress_size:
        raise FileRefused(
            "unexpected_content",
            f"zip bomb: {member.compress_size} bytes declare to inflate to {member.file_size}, "
            f"at most {MAX_INFLATION} fold is read",
        )


def _stored_bytes(content: bytes, member: zipfile.ZipInfo, name: bytes) -> bytes:
    """The member's bytes as they stand in the ZIP, deflated or not."""
    name_start = member.header_offset + _LOCAL_HEADER.size
    if member.header_offset < 0 or name_start > len(content):
        raise FileRefused("corrupt_zip", "the ZIP's directory points outside of it")
    signature, name_length, extra_length = _LOCAL_HEADER.unpack_from(content, member.header_offset)
    start = name_start + name_length + extra_length
    stored = content[start : start + member.compress_size]
    if (
        signature != _LOCAL_SIGNATURE
        or content[name_start : name_start + name_length] != name
        or len(stored) != member.compress_size
    ):
        raise FileRefused("corrupt_zip", "the ZIP's directory and its member do not agree")
    return stored


def _inflate(member: zipfile.ZipInfo, stored: bytes) -> bytes:
    if member.flag_bits & _ENCRYPTED:
        raise FileRefused("unexpected_content", "the member is encrypted")
    if member.compress_type == zipfile.ZIP_STORED:
        body = stored
    elif member.compress_type == zipfile.ZIP_DEFLATED:
        inflater = isal_zlib.decompressobj(-isal_zlib.MAX_WBITS)
        try:
            # One byte more than declared, so that a longer stream is seen for what it is.
            body = inflater.decompress(stored, member.file_size + 1)
        except isal_zlib.IsalError as error:  # type: ignore[misc]  # isal's stub types it as an instance
            raise FileRefused("corrupt_zip", f"the member does not inflate: {error}") from error
    else:
        raise FileRefused(
            "unexpected_content", f"compression method {member.compress_type}, not deflate"
        )
    if len(body) != member.file_size:
        raise FileRefused("corrupt_zip", f"the member is not of its {member.file_size} bytes")
    if isal_zlib.crc32(body) != member.CRC:
        raise FileRefused("corrupt_zip", "the member's CRC-32 does not match")
    return body
