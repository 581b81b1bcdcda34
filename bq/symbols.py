"""How a ticker is spelled: what callers may write, and when two spellings are one share.

Rules of this file: pure functions of strings; whether there is such a share is for the market to say.
"""

import re
from collections.abc import Iterable
from typing import Final

from bq.errors import Problem, bad_request

_SYMBOL: Final = re.compile(r"[A-Z0-9^][A-Z0-9.\-=^]{0,14}")
_SHARE_CLASS: Final = re.compile(r"([A-Z]{1,5})[.\-/]([ABCK])")
"""BRK.B, BRK-B or BRK/B; other single letters after a dot are exchanges (.L London, .F Frankfurt, .V Venture)."""
SHOWN: Final = 32  # characters of a malformed symbol that are sent back


def normalize(symbol: str) -> str:
    """Spell a symbol as the markets do: no surrounding blanks, capitals.

    What is not ASCII stays as it is, to be refused: the capital of a dotless i is an ASCII I, another share's symbol.
    """
    symbol = symbol.strip()
    return symbol.upper() if symbol.isascii() else symbol


def check_symbol(symbol: str) -> Problem | None:
    """Say what is wrong with the form of a normalised symbol, if anything is."""
    if _SYMBOL.fullmatch(symbol):
        return None
    if not symbol:
        return bad_request("The ticker is empty.")
    return bad_request(f"{symbol[:SHOWN]!r} cannot be a ticker: 1 to 15 of A-Z, 0-9, and . - ^ = are.")


def distinct(symbols: Iterable[str]) -> list[str]:
    """Normalise symbols and leave out repetitions, first appearances in order."""
    return list(dict.fromkeys(map(normalize, symbols)))


def share(symbol: str) -> str:
    """Give the one spelling of a share class, however it is written.

    Examples
    --------
    >>> share("BRK-B"), share("BRK.B"), share("AAPL"), share("VOD.L")
    ('BRK.B', 'BRK.B', 'AAPL', 'VOD.L')
    """
    match = _SHARE_CLASS.fullmatch(symbol)
    return f"{match[1]}.{match[2]}" if match else symbol
