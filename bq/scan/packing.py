"""Full answers as they are kept: packed, with the name of the packing beside them.

Rules of this file: bytes in, bytes out. A new packing gets a new name; what was packed by an old one stays readable.
"""

import zlib
from typing import Final

from bq.errors import Failure, Problem

CODEC: Final = "zlib"
LEGACY: Final = "v4.1"
"""A result of v4.1 in its own form, packed by zlib: kept, and never served as an answer."""
LEVEL: Final = 6


def pack(data: bytes) -> bytes:
    """Pack a full answer."""
    return zlib.compress(data, LEVEL)


def unpack(codec: str, body: bytes) -> bytes:
    """Give a full answer as it was recorded.

    Raises
    ------
    Failure
        `storage_failed`, when it was packed in a way that is not known here.
    """
    if codec != CODEC:
        raise Failure(Problem("storage_failed", f"A stored answer is packed as {codec!r}, which is not known here."))
    return zlib.decompress(body)
