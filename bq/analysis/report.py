"""From findings to the words on the wire: legs and Greeks for the whole batch, then one analysis a ticker.

Rule of this file: it decides nothing about markets. It converts units once (vega per volatility point, theta per day),
rounds once, and refuses to write a number that is not finite.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bq import schema
from bq.analysis import charts, score
from bq.analysis.chain import Slice
from bq.analysis.cycles import CycleStudy
from bq.analysis.design import Design
from bq.analysis.forecast import BAND, SESSIONS, PriceForecast
from bq.analysis.identity import data_hash
from bq.analysis.panel import Panel
from bq.analysis.position import LEGS
from bq.analysis.risk import Measures, probability_of_losing_half
from bq.analysis.volatility import SESSIONS_A_YEAR, Volatility, historical_vol, percentile_in_own_year, rolling_vol
from bq.errors import Problem
from bq.market import calendar
from bq.market.quality import ChainQuality
from bq.market.source import F64, Snapshot
from bq.schema import Analysis, Reason
from kernels import american, smile, spectral, status

DELTA_NEUTRAL = 0.05
IV_HIGH = 60.0
LOW_RISK, MEDIUM_RISK = 0.35, 0.60
PAYOFF_POINTS = 41
SKEW_DELTA = 0.25


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
    risk: schema.Risk
    search: schema.Search | None = None


class _Legs(NamedTuple):
    sigma: F64
    bid: F64
    ask: F64
    strike: F64
    is_call: np.ndarray
    quantity: F64
    greeks: Any  # kernels.black_scholes.Greeks of the legs
    today: F64  # value of the position over the payoff grid
    grid: F64


class NotFiniteError(ArithmeticError):
    """A number of an analysis is missing: a defect, reported as such and never papered over."""


def number(value: float, digits: int = 6) -> float:
    """Round a finite number.

    Raises
    ------
    NotFiniteError
        If it is NaN or infinite.
    """
    if not math.isfinite(value):
        raise NotFiniteError("a number of the analysis is not finite")
    return round(float(value), digits)


def numbers(values: F64, digits: int = 4) -> list[float]:
    """Round a vector of finite numbers."""
    if not np.isfinite(values).all():
        raise NotFiniteError("a series of the analysis holds numbers that are not finite")
    rounded: list[float] = np.round(values, digits).tolist()
    return rounded


def write(findings: Sequence[Findings | Problem], version: str) -> list[Analysis | Problem]:
    """Write the analyses of a batch, in order."""
    found = [f for f in findings if not isinstance(f, Problem)]
    legs = iter(_price_legs(found))
    answers: list[Analysis | Problem] = []
    for f in findings:
        if isinstance(f, Problem):
            answers.append(f)
            continue
        own = next(legs)
        try:
            answers.append(_analysis(f, own, version))
        except NotFiniteError as error:
            answers.append(Problem("compute_failed", f"{f.snapshot.ticker}: {error}."))
    return answers


def _price_legs(found: Sequence[Findings]) -> list[_Legs]:
    """Give every leg of the batch its volatility, Greeks and value today, in three kernel calls."""
    if not found:
        return []
    specs = [LEGS[f.design.position.form] for f in found]
    sizes = [len(s) for s in specs]
    owner = np.repeat(np.arange(len(found)), sizes)
    strikes = [(f.design.position.lower, f.design.position.center, f.design.position.upper) for f in found]
    strike = np.array([strikes[i][leg.strike] for i, s in enumerate(specs) for leg in s])
    is_call = np.array([leg.is_call for s in specs for leg in s])
    quantity = np.array([float(leg.quantity) for s in specs for leg in s])
    bid = np.array([q.bid for f in found for q in f.design.position.quotes])
    ask = np.array([q.ask for f in found for q in f.design.position.quotes])

    def column(name: str) -> F64:
        return np.array([getattr(f.design, name) for f in found])[owner]

    spot = np.array([f.spot for f in found])[owner]
    tau, rate, dividend = column("tau"), column("rate"), column("dividend")
    fallback = np.concatenate(
        [
            np.full(n, f.sigma) if f.design.source is None else f.design.source.sigma(strike[owner == i])
            for i, (f, n) in enumerate(zip(found, sizes, strict=True))
        ]
    )
    own, code = american.implied_vol(0.5 * (bid + ask), spot, strike, tau, rate, dividend, is_call)
    quoted = np.array([f.design.source is not None for f in found])[owner]
    sigma = np.where(quoted & (code == status.OK), own, fallback)
    greeks: Any = american.greeks(spot, strike, tau, rate, dividend, sigma, is_call)
    grids = [f.spot * np.exp(np.linspace(-3.5, 3.5, PAYOFF_POINTS) * math.sqrt(f.total_variance)) for f in found]
    points = np.array(grids)[owner]  # (legs, points)

    def wide(values: F64) -> F64:
        return np.repeat(values, PAYOFF_POINTS)

    values = american.price(
        points.ravel(), wide(strike), wide(tau), wide(rate), wide(dividend), wide(sigma), wide(is_call)
    ).price.reshape(points.shape)
    result = []
    start = 0
    for i, n in enumerate(sizes):
        part = slice(start, start + n)
        start += n
        own_greeks = type(greeks)(*(field[part] for field in greeks))
        today = quantity[part] @ values[part]
        result.append(
            _Legs(
                sigma[part],
                bid[part],
                ask[part],
                strike[part],
                is_call[part],
                quantity[part],
                own_greeks,
                today,
                grids[i],
            )
        )
    return result


def _net_greeks(legs: _Legs) -> schema.Greeks:
    g, n = legs.greeks, legs.quantity
    return schema.Greeks(
        delta=number(float(n @ g.delta), 8),
        gamma=number(float(n @ g.gamma), 8),
        vega=number(float(n @ g.vega) / 100.0, 8),
        theta=number(float(n @ g.theta) / 365.0, 8),
    )


def _analysis(f: Findings, legs: _Legs, version: str) -> Analysis:
    i, snapshot = f.row, f.snapshot
    returns = f.panel.returns[i, : f.panel.returns_length[i]]
    mean, sd = f.price.mean[i], f.price.sd[i]
    middle = f.spot * np.exp(mean)
    upper, lower = f.spot * np.exp(mean + BAND * sd), f.spot * np.exp(mean - BAND * sd)
    at_expiry = f.target.sessions - 1
    greeks = _net_greeks(legs)
    evidence, facts = _evidence(f, greeks, returns)
    judged, parts = score.judge(evidence)
    judged = _rounded(judged)
    butterfly = _butterfly(f, greeks)
    highest, lowest = float(upper[:SESSIONS].max()), float(lower[:SESSIONS].min())
    return Analysis(
        ticker=snapshot.ticker,
        analysis_date=snapshot.as_of.strftime("%Y-%m-%d %H:%M:%S"),
        current_price=number(f.spot, 4),
        forecast_price=number(middle[at_expiry], 4),
        upper_bound=number(highest, 4),
        lower_bound=number(lowest, 4),
        price_stability=number(100.0 * (highest - lowest) / f.spot, 4),
        risk_level=_risk_level(f),
        fourier=_fourier(f),
        arima=schema.Arima(
            mean_forecast=number(middle[at_expiry], 4),
            forecast_7d=number(middle[6], 4),
            forecast_30d=number(middle[SESSIONS - 1], 4),
            model_order=[int(x) for x in f.price.fit.order[i]],
            aic=number(_aic(f), 4),
            confidence_width=number(upper[at_expiry] - lower[at_expiry], 4),
            forecast=numbers(middle[:SESSIONS]),
            upper_bound=numbers(upper[:SESSIONS]),
            lower_bound=numbers(lower[:SESSIONS]),
        ),
        garch=_garch(f, facts, returns),
        butterfly=butterfly,
        signals=facts.signals,
        score=judged,
        trade_suggestion=_suggestion(f, judged, facts.signals, butterfly),
        chart_data=charts.chart_data(f, returns, middle, upper, lower),
        extended=_extended(f, legs, facts, parts, version),
    )


class _Facts(NamedTuple):
    """What several parts of the answer need."""

    atm_iv: float | None
    mispricing: float | None  # per cent
    percentile: float
    signals: schema.Signals
    phase_known: bool


def _evidence(f: Findings, greeks: schema.Greeks, returns: F64) -> tuple[score.Evidence, _Facts]:
    i, p = f.row, f.design.position
    source = f.target.slice
    atm = None if source is None else source.atm_iv
    mispricing = None if atm is None else 100.0 * (atm / f.sigma - 1.0)
    sessions = f.target.sessions
    annual = math.sqrt(f.total_variance * SESSIONS_A_YEAR / sessions)
    percentile = percentile_in_own_year(returns, sessions, annual)
    quoted = f.design.source is not None
    one_day = math.sqrt(f.volatility.ahead[i, 0]) * 0.01 * f.spot
    delta_share = abs(greeks.delta) * one_day / p.max_loss
    fit = _cycle_fit(f)
    # The market measure prices the position at its own mid: minus the costs by construction, no opinion on the edge.
    opinions = [ev for ev in (f.risk.ev_forecast, f.risk.ev_empirical) if ev is not None]
    evidence = score.Evidence(
        ev_forecast=f.risk.ev_forecast,
        ev_worst=f.risk.ev_worst,
        ev_shrunk=f.risk.ev_shrunk,
        max_loss=p.max_loss,
        vega=greeks.vega,
        vol_mispricing=mispricing if quoted else None,
        volatility_percentile=percentile,
        cycle_fit=fit,
        delta_share=delta_share,
        quotes=quoted,
        grade=f.quality.grade,
        measures_agree=len({ev > 0.0 for ev in opinions}) == 1,
        flags=tuple(f.risk.assignment_flags),
    )
    history = rolling_vol(returns, sessions)[-SESSIONS_A_YEAR:]
    trend_t = float(f.cycles.trend.t_stat[i])
    implied_high = atm is not None and 100.0 * float(np.mean(history < atm)) > IV_HIGH
    signals = schema.Signals(
        price_stability=bool(percentile < 50.0),
        vol_mispricing=bool(mispricing is not None and mispricing > 100.0 * f.volatility.relative_error[i]),
        trend_clear=abs(trend_t) > float(f.cycles.trend.critical[i]),
        cycle_aligned=bool(fit is not None and fit > 0.5),
        delta_neutral=bool(delta_share < DELTA_NEUTRAL),
        iv_high=bool(implied_high),
    )
    return evidence, _Facts(atm, mispricing, percentile, signals, bool(f.cycles.phase.determined[i]))


def _cycle_fit(f: Findings) -> float | None:
    """Compare where the strongest significant cycle points at expiry with the centre, in wings: 1 is on it."""
    i, phase = f.row, f.cycles.phase
    if not f.cycles.cycles.significant[i].any() or not bool(phase.determined[i]):
        return None
    period = float(f.cycles.cycles.period[i, int(np.argmax(f.cycles.cycles.significant[i]))])
    angle, amplitude = float(phase.angle[i]), float(phase.amplitude[i])
    later = angle + 2.0 * math.pi * f.target.sessions / period
    move = amplitude * (math.cos(later) - math.cos(angle))
    p = f.design.position
    wing = 0.5 * math.log(p.upper / p.lower)
    return max(0.0, 1.0 - abs(math.log(p.center / f.spot) - move) / wing)


def _rounded(judged: schema.Score) -> schema.Score:
    c = judged.components
    return schema.Score(
        number(judged.total, 2),
        schema.Components(*(number(getattr(c, name), 2) for name in c.__struct_fields__)),
        judged.recommendation,
        judged.confidence_level,
    )


def _aic(f: Findings) -> float:
    p, _, q = (int(x) for x in f.price.fit.order[f.row])
    return -2.0 * float(f.price.fit.loglik[f.row]) + 2.0 * (p + q + 1)


def _risk_level(f: Findings) -> Any:
    half = probability_of_losing_half(f.design.position, f.measures.forecast, f.design.discount)
    return "LOW" if half < LOW_RISK else "MEDIUM" if half < MEDIUM_RISK else "HIGH"


def _fourier(f: Findings) -> schema.Fourier:
    i, c, t = f.row, f.cycles.cycles, f.cycles.trend
    periods = [
        schema.Period(number(c.period[i, j], 2), number(c.power[i, j], 4), number(100.0 * c.power_share[i, j], 3))
        for j in range(c.period.shape[1])
        if bool(c.significant[i, j])
    ]
    slope, t_stat = float(t.slope[i]), float(t.t_stat[i])
    direction = "FLAT" if abs(t_stat) <= float(t.critical[i]) else "UP" if t_stat > 0.0 else "DOWN"
    code = int(f.cycles.phase.position[i]) if periods else spectral.UNDETERMINED
    position = {spectral.PEAK: "PEAK", spectral.TROUGH: "TROUGH"}.get(code, "UNDETERMINED")
    low, mid = charts.bands(f)
    return schema.Fourier(
        trend_direction=direction,  # type: ignore[arg-type]
        trend_slope=number(slope, 5),
        cycle_position=position,  # type: ignore[arg-type]
        dominant_periods=periods,
        dominant_period_days=periods[0].period if periods else 30.0,
        period_strength=periods[0].power_pct if periods else 0.0,
        butterfly_type=f.design.position.form,
        strategy_reason=_reason(f, bool(periods)),
        low_freq_signal=numbers(low, 2),
        mid_freq_signal=numbers(mid, 3),
    )


def _reason(f: Findings, cycle: bool) -> str:
    p = f.design.position
    where = f"centre {p.center:g} is the strike nearest the median forecast for {f.design.expiry}"
    if f.design.source is None:
        how = "no usable quotes: priced from the forecast volatility on an assumed strike grid"
    elif f.design.saving > 0.0:
        how = f"the {p.form.lower()} form is cheapest to execute, by ${f.design.saving:.2f} a share"
    else:
        how = f"only the {p.form.lower()} form can be executed"
    noise = "" if cycle else "; no cycle stands out from noise"
    return f"{where}; {how}{noise}"


def _garch(f: Findings, facts: _Facts, returns: F64) -> schema.Garch:
    i, fit = f.row, f.volatility.fit
    skew = _skew(f.target.slice)
    ahead = np.sqrt(f.volatility.ahead[i, :SESSIONS] * SESSIONS_A_YEAR) * 0.01
    return schema.Garch(
        predicted_vol=number(f.sigma),
        current_iv=number(f.sigma if facts.atm_iv is None else facts.atm_iv),
        historical_vol=number(historical_vol(returns)),
        vol_mispricing=0.0 if facts.mispricing is None else number(facts.mispricing, 4),
        iv_percentile=number(facts.percentile, 2),
        garch_params=schema.GarchParams(number(fit.omega[i], 8), number(fit.alpha[i], 8), number(fit.beta[i], 8)),
        forecast_vol=numbers(ahead, 5),
        **({} if skew is None else {"iv_skew": skew}),
    )


def _skew(s: Slice | None) -> schema.Skew | None:
    """Read the smile at the money and at deltas of 0.25 on the forward."""
    if s is None or s.svi is None:
        return None
    k = np.linspace(-4.0, 4.0, 401) * s.atm_iv * math.sqrt(s.tau)
    w = smile.total_variance(s.svi, k[None, :])[0]
    root = np.sqrt(w)
    d1 = -k / root + 0.5 * root
    quarter = 0.6744897501960817  # the normal quantile of 0.75: a call has a delta of 0.25 where d1 is minus this
    call = float(np.interp(quarter, -d1, np.sqrt(w / s.tau)))
    put = float(np.interp(-quarter, -d1, np.sqrt(w / s.tau)))
    atm = s.atm_iv
    return schema.Skew(number(atm), number(call), number(put), number(call - atm), number(put - atm))


def _butterfly(f: Findings, greeks: schema.Greeks) -> schema.Butterfly:
    d, p = f.design, f.design.position
    low, high = p.breakeven_lower, p.breakeven_upper
    inner = p.quotes[1:-1]

    def spread(*quotes: Any) -> float:
        mid = sum(q.mid for q in quotes)
        return number(100.0 * sum(q.ask - q.bid for q in quotes) / mid, 3) if mid > 0.0 else 0.0

    credit = p.debit < 0.0
    return schema.Butterfly(
        center_strike=number(p.center, 4),
        lower_strike=number(p.lower, 4),
        upper_strike=number(p.upper, 4),
        wing_width=number(max(p.center - p.lower, p.upper - p.center), 4),
        dte=d.dte,
        lower_cost=number(p.lower_cost),
        upper_cost=number(p.upper_cost),
        center_credit=number(p.center_credit),
        net_debit=number(abs(p.debit)),
        is_credit_strategy=credit,
        max_profit=number(p.max_profit),
        max_loss=number(p.max_loss),
        profit_ratio=number(p.max_profit / p.max_loss, 4),
        breakeven_lower=0.0 if low is None else number(low, 4),
        breakeven_upper=0.0 if high is None else number(high, 4),
        prob_profit=number(100.0 * f.risk.pop_forecast.value, 3),
        risk_free_rate=number(100.0 * d.rate, 4),
        greeks=greeks,
        spreads=schema.Spreads(spread(p.quotes[0]), spread(*inner), spread(p.quotes[-1])),
    )


def _suggestion(
    f: Findings, judged: schema.Score, signals: schema.Signals, butterfly: schema.Butterfly
) -> schema.TradeSuggestion:
    p = f.design.position
    sign = -1.0 if butterfly.is_credit_strategy else 1.0
    action = {"STRONG_BUY": "BUY", "BUY": "BUY", "NEUTRAL": "WATCH", "AVOID": "AVOID"}[judged.recommendation]
    size = {"STRONG_BUY": "STANDARD", "BUY": "MEDIUM"}.get(judged.recommendation, "SMALL")
    half_sd = 0.5 * math.sqrt(f.total_variance)
    near = abs(math.log(p.center / f.spot)) <= half_sd
    today = np.datetime64(calendar.local_date(f.snapshot.as_of), "D")
    days = calendar.sessions_between(today, f.design.expiry - 1)
    risks = [
        name
        for name, good in (
            ("risk_delta_not_neutral", signals.delta_neutral),
            ("risk_price_volatility", signals.price_stability),
            ("risk_iv_not_high", signals.iv_high),
            ("risk_low_profit_ratio", butterfly.profit_ratio >= 1.0),
        )
        if not good
    ]
    return schema.TradeSuggestion(
        action=action,  # type: ignore[arg-type]
        position_size=size,  # type: ignore[arg-type]
        entry_timing="IMMEDIATE" if near else "WAIT_FOR_PULLBACK",
        stop_loss=number(sign * (p.debit - 0.5 * p.max_loss)),
        take_profit=number(sign * (p.debit + 0.5 * p.max_profit)),
        hold_until=str(days[-1] if days.size else f.design.expiry),
        key_risks=risks,
    )


def _reasons(f: Findings) -> list[Reason]:
    found = {reason.code: reason.count for reason in f.quality.reasons}
    extra = list(f.snapshot.notes)
    if f.design.source is None:
        extra += ["priced_from_forecast_volatility", "assumed_strikes", "no_claim_about_mispricing"]
    if f.target.slice is None:
        extra += ["no_implied_volatility", "friday_expiry_assumed"]
    extra += ["expiry_" + s.problem for s in f.slices if s.problem is not None]
    if any(s.spot_moved for s in f.slices):
        extra.append("spot_and_quotes_apart")
    if f.snapshot.rates.source == "default_rate":
        extra.append("default_rate")
    for code in extra:
        found[code] = found.get(code, 0) + 1
    return [Reason(code, count) for code, count in sorted(found.items())]


def _extended(f: Findings, legs: _Legs, facts: _Facts, parts: schema.ScoreParts, version: str) -> schema.Extended:
    snapshot = f.snapshot
    return schema.Extended(
        as_of=snapshot.as_of.isoformat(),
        source=snapshot.source,
        name=snapshot.name,
        stale=snapshot.stale,
        engine_version=version,
        data_hash=data_hash(snapshot),
        quality=schema.Quality(
            grade=f.quality.grade,
            reasons=_reasons(f),
            iv_source="none" if facts.atm_iv is None else "own",
            iv_percentile_of="realized_history",
            rate_source=snapshot.rates.source,
        ),
        cycles=_extended_cycles(f, facts),
        chain=[_slice(s, f.snapshot, f.quality.grade) for s in f.slices if s.svi is not None],
        term_structure=_term(f),
        density=charts.densities(f),
        legs=_legs(f, legs),
        risk=_round_risk(f.risk),
        search=f.search,
        candidates=[] if f.search is None else f.search.front,
        payoff=schema.Payoff(
            numbers(legs.grid, 3),
            numbers(f.design.position.payoff(legs.grid) - f.design.position.debit),
            numbers(legs.today - f.design.position.debit),
        ),
        score=parts,
    )


def _round_risk(risk: schema.Risk) -> schema.Risk:
    def tidy(value: Any) -> Any:
        if isinstance(value, schema.Interval):
            return schema.Interval(number(value.value), number(value.low), number(value.high))
        return number(value) if isinstance(value, float) else value

    return schema.Risk(**{name: tidy(getattr(risk, name)) for name in risk.__struct_fields__})


def _extended_cycles(f: Findings, facts: _Facts) -> schema.ExtendedCycles:
    i, c, s, phase = f.row, f.cycles.cycles, f.cycles.spectrum, f.cycles.phase
    candidates = [
        schema.ExtendedCycle(
            number(c.period[i, j], 2), number(c.p_value[i, j]), number(c.q_value[i, j]), bool(f.cycles.stable[i, j])
        )
        for j in range(c.period.shape[1])
        if np.isfinite(c.period[i, j])
    ]
    known = bool(c.significant[i].any()) and bool(np.isfinite(phase.angle[i]))
    band = np.isfinite(s.period[i])
    return schema.ExtendedCycles(
        candidates=candidates,
        phase=schema.Phase(
            number(phase.angle[i]) if known else None,
            number(phase.std_error[i]) if known and np.isfinite(phase.std_error[i]) else None,
            known and facts.phase_known,
        ),
        trend_t_stat=number(f.cycles.trend.t_stat[i], 3),
        noise_95=numbers(s.noise95[i][band], 5),
        noise_99=numbers(s.noise99[i][band], 5),
    )


def _vol_or_none(value: float) -> float | None:
    return number(value) if math.isfinite(value) else None


def _smile_parameters(s: Slice) -> schema.SmileParams:
    a, b, rho, m, width = (number(float(x[0]), 8) for x in s.svi[:5])  # type: ignore[index]
    return schema.SmileParams(a, b, rho, m, width, s.model)


def _slice(s: Slice, snapshot: Snapshot, grade: str) -> schema.ExpirySlice:
    assert s.svi is not None
    assert s.k is not None
    assert s.strikes_fitted is not None
    assert s.iv is not None
    assert s.iv_bid is not None
    assert s.iv_ask is not None
    fitted = s.sigma(s.strikes_fitted)
    cash = sum(d.cash for d in snapshot.dividends if np.datetime64(d.ex_date, "D") <= s.expiry)
    known = -math.log(max(1.0 - cash * math.exp(-0.5 * s.rate * s.tau) / s.spot, 1e-9)) / s.tau
    return schema.ExpirySlice(
        expiry=str(s.expiry),
        dte=s.dte,
        tau=number(s.tau, 8),
        sessions=s.sessions,
        grade=grade,
        forward=number(s.forward, 4),
        discount=number(s.discount, 8),
        rate=number(s.rate),
        dividend_yield=number(s.dividend),
        borrow=number(s.dividend - known),
        atm_iv=number(s.atm_iv),
        model_free_vol=number(s.model_free_vol),
        smile=_smile_parameters(s),
        fit_error=number(s.fit_error, 8),
        inside_spread=number(s.inside, 4),
        quotes=[
            schema.SmileQuote(number(k, 4), _vol_or_none(b), number(m), _vol_or_none(a), number(v))
            for k, b, m, a, v in zip(
                s.strikes_fitted.tolist(),
                s.iv_bid.tolist(),
                s.iv.tolist(),
                s.iv_ask.tolist(),
                fitted.tolist(),
                strict=True,
            )
        ],
        arbitrage=[],
    )


def _term(f: Findings) -> list[schema.TermPoint]:
    ahead = f.volatility.ahead[f.row]
    rows = [(s.expiry, s.dte, s.tau, s.sessions, s.atm_iv) for s in f.slices if s.svi is not None]
    if not rows:
        t = f.target
        rows = [(t.expiry, t.dte, t.tau, t.sessions, math.nan)]
    return [
        schema.TermPoint(
            str(expiry),
            dte,
            _vol_or_none(atm),
            number(math.sqrt(float(ahead[:sessions].sum()) * 1e-4 / tau)),
        )
        for expiry, dte, tau, sessions, atm in rows
    ]


def occ_symbol(ticker: str, expiry: np.datetime64, is_call: bool, strike: float) -> str:
    """Spell an option as the Options Clearing Corporation does: root, YYMMDD, C or P, strike in thousandths."""
    root = "".join(c for c in ticker if c.isalnum())
    day = str(expiry)
    return f"{root}{day[2:4]}{day[5:7]}{day[8:10]}{'C' if is_call else 'P'}{round(strike * 1000):08d}"


def _legs(f: Findings, legs: _Legs) -> list[schema.Leg]:
    quoted = f.design.source is not None
    g = legs.greeks
    return [
        schema.Leg(
            occ_symbol=occ_symbol(f.snapshot.ticker, f.design.expiry, bool(legs.is_call[j]), float(legs.strike[j])),
            type="call" if legs.is_call[j] else "put",
            strike=number(legs.strike[j], 4),
            expiry=str(f.design.expiry),
            quantity=int(legs.quantity[j]),
            bid=number(legs.bid[j]) if quoted else None,
            ask=number(legs.ask[j]) if quoted else None,
            mid=number(0.5 * (legs.bid[j] + legs.ask[j])),
            iv=number(legs.sigma[j], 12),
            greeks=schema.LegGreeks(
                number(g.delta[j], 8),
                number(g.gamma[j], 8),
                number(g.vega[j] / 100.0, 8),
                number(g.theta[j] / 365.0, 8),
            ),
        )
        for j in range(legs.strike.size)
    ]
