"""What the engine found about one ticker: the input of everything that writes the answer."""

from typing import NamedTuple

import numpy as np

from bq import schema
from bq.analysis.cash_dividends import Payments
from bq.analysis.cycles import CycleStudy
from bq.analysis.design import Design
from bq.analysis.forecast import PriceForecast
from bq.analysis.measures import Measures
from bq.analysis.panel import Panel
from bq.analysis.risk import Assessed, Errors
from bq.analysis.search import Choice, Found
from bq.analysis.slices import Slice
from bq.analysis.volatility import Volatility
from bq.market.quality import ChainQuality
from bq.market.source import Snapshot


class Target(NamedTuple):
    """The expiry that an analysis is about."""

    expiry: np.datetime64
    dte: int
    tau: float
    sessions: int
    slice: Slice | None  # None: no usable quotes


class Findings(NamedTuple):
    """All that was found about one ticker; `row` is its row in the batch's arrays."""

    row: int
    snapshot: Snapshot
    quality: ChainQuality
    sound: bool  # the history can carry a claim
    panel: Panel
    volatility: Volatility
    price: PriceForecast
    cycles: CycleStudy
    slices: list[Slice]
    target: Target
    spot: float
    sigma: float  # forecast volatility to the expiry, on the basis of an implied one
    total_variance: float
    measures: Measures
    design: Design
    payments: Payments
    assessed: Assessed
    found: Found | None  # None: no quotes to search
    candidates: list[tuple[Choice, schema.Risk]]  # the best first: the trade

    @property
    def risk(self) -> schema.Risk:
        """What can come of the position."""
        return self.assessed.risk

    @property
    def errors(self) -> Errors:
        """What is uncertain about it."""
        return self.assessed.errors
