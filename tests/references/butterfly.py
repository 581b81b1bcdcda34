"""Butterflies the slow way: plain Python over every combination, integrals by scipy, plain numpy enumeration."""

import itertools
import math

import numpy as np
from scipy import integrate
from scipy.special import ndtr


def lognormal_put(strike, log_mean, log_sd):
    """E[max(K - S, 0)] of a lognormal S."""
    z = (np.log(strike) - log_mean) / log_sd
    return strike * ndtr(z) - np.exp(log_mean + 0.5 * log_sd**2) * ndtr(z - log_sd)


def lognormal_cdf(x, log_mean, log_sd):
    return ndtr((np.log(x) - log_mean) / log_sd)


def put_payoff(s, k1, k2, k3):
    return np.maximum(k1 - s, 0) - 2 * np.maximum(k2 - s, 0) + np.maximum(k3 - s, 0)


def call_payoff(s, k1, k2, k3):
    return np.maximum(s - k1, 0) - 2 * np.maximum(s - k2, 0) + np.maximum(s - k3, 0)


def iron_payoff(s, k1, k2, k3):
    straddle = np.maximum(k2 - s, 0) + np.maximum(s - k2, 0)
    return np.maximum(k1 - s, 0) - straddle + np.maximum(s - k3, 0)


PAYOFFS = {"call": call_payoff, "put": put_payoff, "iron": iron_payoff}


def expectation(function, log_mean, log_sd, knots=(), reach=12.0):
    """E[function(S)] of a lognormal S by adaptive quadrature between the knots."""

    def integrand(z):
        return function(math.exp(log_mean + log_sd * z)) * math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)

    ends = [-reach, *sorted((math.log(k) - log_mean) / log_sd for k in knots), reach]
    return sum(
        integrate.quad(integrand, a, b, epsabs=1e-14, epsrel=1e-13, limit=200)[0]
        for a, b in itertools.pairwise(ends)
        if a < b
    )


def _legs(form, i, j, k, q):
    """(bought prices, sold prices) of the four options of a form."""
    call_bid, call_ask, put_bid, put_ask = q["call_bid"], q["call_ask"], q["put_bid"], q["put_ask"]
    if form == "call":
        return [(call_bid, call_ask, i), (call_bid, call_ask, k)], [(call_bid, call_ask, j)] * 2
    if form == "put":
        return [(put_bid, put_ask, i), (put_bid, put_ask, k)], [(put_bid, put_ask, j)] * 2
    return [(put_bid, put_ask, i), (call_bid, call_ask, k)], [(put_bid, put_ask, j), (call_bid, call_ask, j)]


def price_form(form, i, j, k, q, limits):
    """Cash to pay for a form without fees, or None where a leg cannot be traded."""
    bought, sold = _legs(form, i, j, k, q)
    cash = 0.0
    for is_sold, legs in ((False, bought), (True, sold)):
        for bids, asks, at in legs:
            bid, ask = bids[at], asks[at]
            if not (bid >= 0 and ask > 0 and ask >= bid and math.isfinite(ask)):
                return None
            if ask - bid > max(limits.spread_share * (bid + ask) / 2, limits.spread_floor):
                return None
            if is_sold and not bid > 0:
                return None
            cash += -bid if is_sold else ask
    return cash


def brute_force(q, distributions, fee, discount, limits):
    """Describe every combination of one expiry from first principles: payoffs sampled at their knots, one at a time.

    `distributions` are (put_value(K), cdf(x), se(i, j, k)) of functions. A dictionary per executable combination, in
    which everything follows from the chosen form's own payoff and cash, not from a restated one.
    """
    strike = q["strike"]
    found = []
    for i, j, k in itertools.combinations(range(len(strike)), 3):
        k1, k2, k3 = strike[i], strike[j], strike[k]
        best = None
        for form, payoff in PAYOFFS.items():
            cash = price_form(form, i, j, k, q, limits)
            if cash is None:
                continue
            cash += 4 * fee
            ends = [discount * payoff(s, k1, k2, k3) - cash for s in (0.0, k1, k2, k3, 10 * k3)]
            if best is None or -min(ends) < best["max_loss"] - 1e-9:
                best = {"form": form, "cash": cash, "max_loss": -min(ends), "max_profit": max(ends)}
        if best is None:
            continue
        form, cash = best["form"], best["cash"]
        payoff = PAYOFFS[form]
        shift = payoff(0.0, k1, k2, k3) - put_payoff(0.0, k1, k2, k3)

        def profit(s, payoff=payoff, cash=cash, strikes=(k1, k2, k3)):
            return discount * payoff(s, *strikes) - cash

        low = _root(profit, k1, k2)
        high = _root(profit, k2, k3)
        best |= {"legs": (i, j, k), "low": low, "high": high, "ev": [], "pop": [], "se": []}
        for put_value, cdf, se in distributions:
            value = put_value(k1) - 2 * put_value(k2) + put_value(k3) + shift
            best["ev"].append(discount * value - cash)
            best["se"].append(discount * se(i, j, k))
            if profit(k2) <= 0:
                best["pop"].append(0.0)
            else:
                above = 1.0 if high is None else cdf(high)
                best["pop"].append(above - (0.0 if low is None else cdf(low)))
        best["lcb"] = min(e - limits.errors * s for e, s in zip(best["ev"], best["se"], strict=True))
        best["score"] = best["lcb"] / best["max_loss"]
        found.append(best)
    return found


def _root(profit, left, right):
    """Zero of a linear function, None where it has none strictly inside (or profits at both ends)."""
    f, g = profit(left), profit(right)
    if not (f < 0 < g or g < 0 < f):
        return None
    return left + (right - left) * f / (f - g)


def enumerate_numpy(strike, bid, ask, put_value, grid_low, grid_step, cdf):
    """EV / max loss and POP of every put butterfly of one chain, as a numpy user would write it."""
    i, j, k = np.array(list(itertools.combinations(range(len(strike)), 3))).T
    k1, k2, k3 = strike[i], strike[j], strike[k]
    cost = ask[i] - 2 * bid[j] + ask[k]
    tail = (k3 - k2) - (k2 - k1)
    ev = put_value[i] - 2 * put_value[j] + put_value[k] - cost
    loss = cost - np.minimum(tail, 0)
    grid = grid_low + grid_step * np.arange(len(cdf))
    below = np.where(cost > tail, np.interp(k1 + cost - tail, grid, cdf), 0)
    above = np.where(cost > 0, np.interp(k3 - cost, grid, cdf), 1)
    return ev / loss, np.maximum(above - below, 0)
