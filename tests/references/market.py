"""Real histories, cut into windows that are always the same."""

import numpy as np
import pandas as pd


def histories(folder):
    """Yield each ticker's name, dates and adjusted closes, oldest first."""
    (path,) = (folder / "market").glob("bars_36tickers*.csv.xz")
    bars = pd.read_csv(path, usecols=["ticker", "date", "adj_close"]).sort_values(["ticker", "date"])
    for ticker, group in bars.groupby("ticker"):
        yield ticker, group.date.to_numpy(), group.adj_close.to_numpy()


def rolling_returns(folder, length, every):
    """Names (ticker and last day) and log returns in per cent of every window, all histories over: (n, length)."""
    names, rows = [], []
    for ticker, dates, closes in histories(folder):
        returns = 100.0 * np.diff(np.log(closes))
        for k in range(0, returns.size - length + 1, every):
            names.append(f"{ticker} to {dates[k + length]}")
            rows.append(returns[k : k + length])
    return names, np.array(rows)


def rolling_levels(folder, length, count):
    """Names and log closes of `count` windows of each history, evenly spread over it: (n, length)."""
    names, rows = [], []
    for ticker, dates, closes in histories(folder):
        for k in np.linspace(0, closes.size - length, count).astype(int):
            names.append(f"{ticker} to {dates[k + length - 1]}")
            rows.append(np.log(closes[k : k + length]))
    return names, np.array(rows)
