"""The name of the data that an answer was made from."""

import hashlib

import numpy as np

from bq.market.source import Snapshot


def data_hash(snapshot: Snapshot) -> str:
    """Hash what the analysis depends on: ticker, moment, closes, quotes, remembered volatilities."""
    digest = hashlib.blake2b(f"{snapshot.ticker} {snapshot.as_of.isoformat()}".encode(), digest_size=8)
    arrays = [snapshot.bars.date, snapshot.bars.close, snapshot.bars.model_close]
    if snapshot.chain is not None:
        c = snapshot.chain
        arrays += [c.expiry, c.strike, c.is_call, c.bid, c.ask]
    if snapshot.iv_history:
        arrays.append(np.array(snapshot.iv_history))
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
