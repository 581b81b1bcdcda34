"""Mathematics of batches: arrays in, arrays out.

The rule of this folder: a module knows numpy, numba and math, and nothing of tickers, HTTP, files or time.
Who may call whom is in `docs/kernels.md`.
"""
