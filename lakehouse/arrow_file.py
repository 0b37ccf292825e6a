"""Bytes as a file for Arrow's readers."""

import pyarrow as pa


def arrow_file(content: bytes) -> pa.BufferReader:
    """A file that lies in Arrow's own memory.

    One of Arrow's threads may let go of what a reader was given a moment after the reader is done.
    For an object of Python it would need the GIL, and abort a process that is ending.
    """
    memory = pa.allocate_buffer(len(content))
    with pa.FixedSizeBufferWriter(memory) as writer:
        writer.write(content)
    return pa.BufferReader(memory)
