"""How much may run and wait, and what is said to whoever asks for more.

Rules of this file: decisions from numbers; it moves no flight and knows no clock.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from bq.errors import Problem
from bq.serving.cost import CostLine
from bq.serving.flights import Rank


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may run and wait."""

    compute_slots: int = 1  # and as many again for flights that somebody waits for, if the others hold these
    fetch_slots: int = 4
    fetch_group: int = 32  # keys a fetch
    fetch_ahead_s: float = 2.0  # predicted computation of what is fetched and nobody waits for; enough not to run dry
    slice_s: float = 0.025  # predicted seconds of a slice
    patient_slice_s: float = 0.1  # of one that nobody sits and waits for: kernels want eight tickers and more at once
    patient_least: int = 16  # keys of such a slice, the lanes of the kernels: a line fitted to small slices alone
    patient_longest_s: float = 1.0  # would never let them grow; but not where they are predicted to take longer
    max_slice: int = 128
    max_flights: int = 20_000
    max_refreshes: int = 2_000
    max_backlog_s: float = 5.0  # predicted work ahead of an interactive request
    max_waits: int = 500_000  # slots of requests that wait, whoever else waits for the same: some 200 bytes each
    scan_share: float = 0.2  # of the batches, while interactive flights wait as well
    refresh_share: float = 0.05  # of the batches, while anything else waits
    stuck_s: float = 5.0  # a slice that somebody waits for is stuck after this long, or four times what was predicted
    patient_stuck_s: float = 15.0  # one that only scans and refreshes wait for, or eight times what was predicted
    fetch_timeout_s: float = 30.0

    def shares(self) -> dict[Rank, float]:
        """Give the share of the batches that each of the later ranks is promised."""
        return {Rank.SCAN: self.scan_share, Rank.REFRESH: self.refresh_share}

    def stuck_after(self, predicted_s: float, hurried: bool) -> float:
        """Give the seconds after which a slice hangs, by what it was predicted to take and whether somebody waits.

        A prediction is of a machine that does nothing else. Where nobody sits and waits, being wrong about a slow one
        costs more (the process, and everybody's requests) than finding out later about one that hangs.
        """
        if hurried:
            return max(self.stuck_s, 4.0 * predicted_s)
        return max(self.stuck_s, self.patient_stuck_s, 8.0 * predicted_s)


class Backlog(NamedTuple):
    """What waits and runs, by rank."""

    flights: Mapping[Rank, int]
    weights: Mapping[Rank, int]  # of the flights, in ordinary keys
    unfetched: Mapping[Rank, int]


def seconds_ahead(rank: Rank, backlog: Backlog, compute: CostLine, fetch: CostLine, limits: Limits) -> float:
    """Predict the seconds until everything is done that would go before a newcomer of this rank."""
    ahead = sum(backlog.weights[other] for other in Rank if other <= rank)
    unfetched = sum(backlog.unfetched[other] for other in Rank if other <= rank)
    shares = limits.shares()
    share = 1.0 - sum(shares[other] for other in Rank if other > rank and backlog.flights[other])
    return (compute.each * ahead / limits.compute_slots + fetch.each * unfetched / limits.fetch_slots) / share


def refuse(flights: int, new: int, wait_s: float, left_s: float, rank: Rank, limits: Limits) -> Problem | None:
    """Say why a request for new flights cannot be let in; None when it can.

    Parameters
    ----------
    flights, new
        Those under way, and those that the request would add.
    wait_s, left_s
        Predicted seconds until its turn, and seconds until its deadline.
    """
    later = max(round(wait_s), 1.0)
    if flights + new > limits.max_flights:
        return Problem("too_busy", f"{flights} tickers are waiting already.", later)
    if rank is Rank.INTERACTIVE and wait_s > limits.max_backlog_s:
        return Problem("too_busy", f"There are {wait_s:.0f} s of work ahead of this request.", later)
    if wait_s > left_s:
        return Problem("too_busy", f"The deadline cannot be met: {wait_s:.1f} s of work ahead.", later)
    return None
