"""The rows that remember what the option market said, taken from a full analysis.

Rules of this file: an analysis in, rows out. A day is the session that the quotes belong to: what is asked on a Sunday
is Friday's.
"""

import datetime as dt
from typing import Any

from msgspec import UNSET

from bq.market import calendar
from bq.scan.wide import moment
from bq.schema import Analysis


def _key(analysis: Analysis, market: str) -> dict[str, Any]:
    at = moment(analysis)
    return {
        "market": market,
        "ticker": analysis.ticker,
        "day": calendar.as_date(calendar.session_at(at)),
        "quoted_at": at,
    }


def surface_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Give one row an expiry."""
    extended = analysis.extended
    if extended is UNSET or not extended.chain:
        return []
    key = _key(analysis, extended.source)
    return [
        key
        | {
            "expiry": dt.date.fromisoformat(one.expiry),
            "tau": one.tau,
            "forward": one.forward,
            "discount": one.discount,
            "atm_iv": one.atm_iv,
            **{name: getattr(one.smile, name) for name in ("a", "b", "rho", "m", "s")},
            "fit_error": one.fit_error,
            "grade": one.grade,
        }
        for one in extended.chain
    ]


def iv_level_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Give the one row of the 30-day volatility, where there is one."""
    extended = analysis.extended
    if extended is UNSET or extended.iv_level.iv_30d is None:
        return []
    return [_key(analysis, extended.source) | {"iv": extended.iv_level.iv_30d}]
