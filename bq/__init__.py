"""ButterQuant: where each share is going, how much it will move, and which butterfly, if any, is worth buying.

`bq.analyze(["AAPL", "MSFT"], market="files:DIR", detail="full")` is the engine behind the server, as a function.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bq.library import analyze

__all__ = ["analyze"]


def __getattr__(name: str) -> Any:
    """Import the engine (pandas, numba, kernels) only when it is asked for."""
    if name in __all__:
        from bq import library

        return getattr(library, name)
    raise AttributeError(f"module 'bq' has no attribute {name!r}")
