import sys

from lakehouse.arrow_file import arrow_file


def test_a_file_holds_the_bytes_and_no_object_of_python() -> None:
    """Whose end in a thread of Arrow would need the GIL, also when Python is ending."""
    content = b"open,close\n1,2\n"
    users = sys.getrefcount(content)
    file = arrow_file(content)
    assert sys.getrefcount(content) == users
    assert file.read() == content
    assert arrow_file(b"").read() == b""
