"""Trend and cycles of a batch, each tested against noise; the usual and honest answer is "none"."""

from typing import NamedTuple

import numpy as np

from bq.analysis.panel import Panel
from bq.market.source import F64
from kernels import spectral
from kernels.spectral import Cycles, Phase, Spectrum, Trend

TREND_SESSIONS = 60
SHOWN = 5
ASKED = 0.01  # p-value of a frequency by itself, above which no second opinion is asked
STANDARDIZE = "ewma"  # variance shocks must not pass for lines: more power on real returns, the same size


class CycleStudy(NamedTuple):
    """What the spectrum of each row says."""

    cycles: Cycles
    spectrum: Spectrum
    trend: Trend
    phase: Phase
    stable: np.ndarray  # (n, 5) found in both halves, and a line; False where nobody asked
    low: F64  # (n, 505) smooth level of the log price
    mid: F64  # (n, 505) significant cycles of the log price, 0 without one


def study(panel: Panel) -> CycleStudy:
    """Look for cycles and a trend in every row."""
    cycles = spectral.cycles(panel.returns, panel.returns_length, k=SHOWN, standardize=STANDARDIZE, peaks_only=True)
    spectrum = spectral.spectrum(panel.returns, panel.returns_length, standardize=STANDARDIZE)
    trend = spectral.trend(panel.returns, panel.returns_length, window=TREND_SESSIONS)
    lengths = panel.returns_length + 1
    strongest = first_significant(cycles)
    phase = spectral.phase(panel.long_log_close, strongest, lengths)
    asked = np.where(cycles.p_value < ASKED, cycles.period, np.nan)
    confirmation = spectral.confirm(panel.returns, asked, panel.returns_length, standardize=STANDARDIZE)
    bands = spectral.band_signals(panel.long_log_close, strongest, lengths, wave=phase)
    return CycleStudy(cycles, spectrum, trend, phase, confirmation.stable, bands.low, bands.mid)


def first_significant(cycles: Cycles) -> F64:
    """Take each row's strongest significant period; NaN where there is none."""
    found = cycles.significant.any(axis=1)
    column = np.argmax(cycles.significant, axis=1)
    return np.where(found, cycles.period[np.arange(found.size), column], np.nan)
