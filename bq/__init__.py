"""ButterQuant: where each share is going, how much it will move, and which butterfly, if any, is worth buying.

`bq.analyze(["AAPL", "MSFT"], market="files:DIR", detail="full")` is the engine behind the server, as a function;
`bq.price` and `bq.implied_vol` take and give arrays or DataFrames, `bq.what_if`
judges a position of one's own.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bq.library import analyze
    from bq.options import implied_vol, price, what_if

__all__ = ["analyze", "implied_vol", "price", "what_if"]


def __getattr__(name: str) -> Any:
    """Import the engine (pandas, numba, kernels) only when it is asked for."""
    if name in __all__:
        from bq import library, options

        return getattr(library if name == "analyze" else options, name)
    raise AttributeError(f"module 'bq' has no attribute {name!r}")
