"""ARIMA references: statsmodels' state space, statsforecast's ARIMA, and the textbook Kalman filter."""

import warnings

import numpy as np
from scipy.linalg import solve_discrete_lyapunov
from scipy.signal import lfilter
from statsmodels.tsa.statespace.sarimax import SARIMAX


def coefficients(partials):
    """Stationary coefficients (3,) from partial autocorrelations, by the Durbin-Levinson recursion."""
    ar = np.zeros(0)
    for r in partials:
        ar = np.append(ar - r * ar[::-1], r)
    return np.pad(ar, (0, 3 - ar.size))


def simulate(rng, n, t, ar=(), ma=(), sigma=0.01, start=4.6):
    """(n, t) levels whose differences are ARMA, after 500 differences of warming up."""
    noise = sigma * rng.standard_normal((n, t + 500))
    changes = lfilter(np.r_[1.0, ma], np.r_[1.0, -np.asarray(ar)], noise, axis=1)[:, 501:]
    return start + np.concatenate((np.zeros((n, 1)), np.cumsum(changes, axis=1)), axis=1)


def windows(data_dir, count, t=120, seed=0):
    """(count, t) log closes: windows of the market data at random."""
    import pandas as pd

    (path,) = (data_dir / "market").glob("bars_36tickers*.csv.xz")
    bars = pd.read_csv(path, usecols=["ticker", "date", "adj_close"]).sort_values(["ticker", "date"])
    closes = [np.log(group.to_numpy()) for _, group in bars.groupby("ticker").adj_close]
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        series = closes[rng.integers(len(closes))]
        first = rng.integers(series.size - t)
        rows.append(series[first : first + t])
    return np.array(rows)


def kalman(levels, ar, ma, sigma2):
    """Exact log-likelihood of the differences by the full Kalman filter in Harvey's form."""
    transition = np.diag(np.ones(3), 1)
    transition[:3, 0] = ar
    loading = np.r_[1.0, ma]
    noise = np.outer(loading, loading)
    covariance = solve_discrete_lyapunov(transition, noise)
    state = np.zeros(4)
    total = 0.0
    for w in np.diff(levels):
        f = covariance[0, 0]
        gain = covariance[:, 0] / f
        error = w - state[0]
        total -= 0.5 * (np.log(2.0 * np.pi * sigma2 * f) + error * error / (sigma2 * f))
        state = transition @ (state + gain * error)
        covariance = transition @ (covariance - np.outer(gain, covariance[0])) @ transition.T + noise
    return total


def statsmodels_loglik(levels, ar, ma, sigma2):
    """SARIMAX on the differences at given parameters, without its short cut once the filter has settled."""
    model = SARIMAX(np.diff(levels), order=(3, 0, 3))
    model.ssm.tolerance = 0
    return model.loglike(np.r_[ar, ma, sigma2])


def statsmodels_optimum(levels, p, q):
    """Where statsmodels stops with default options, on the differences (scaled: it needs that).

    Returns
    -------
    log-likelihood, ar (3,), ma (3,), sigma2
    """
    changes = np.diff(levels)
    scale = np.sqrt(np.mean(changes**2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of bad starts and of not converging; both are its answer here
        fit = SARIMAX(changes / scale, order=(p, 0, q)).fit(disp=False)
    ar, ma = (np.pad(fit.params[s], (0, 3 - k)) for s, k in ((slice(0, p), p), (slice(p, p + q), q)))
    return fit.llf - changes.size * np.log(scale), ar, ma, fit.params[-1] * scale**2


def statsmodels_fit(levels, p, q):
    """The log-likelihood at which statsmodels stops."""
    return statsmodels_optimum(levels, p, q)[0]


def statsmodels_information(levels, p, q, ar, ma, sigma2):
    """AIC, AICc and BIC of the differences at given parameters."""
    model = SARIMAX(np.diff(levels), order=(p, 0, q))
    model.ssm.tolerance = 0
    result = model.smooth(np.r_[ar[:p], ma[:q], sigma2])
    return {"aic": result.aic, "aicc": result.aicc, "bic": result.bic}


def statsmodels_forecast(levels, p, q, ar, ma, sigma2, horizon):
    """Mean and variance of the levels at given parameters, the level's start exactly diffuse."""
    model = SARIMAX(levels, order=(p, 1, q), use_exact_diffuse=True)
    model.ssm.tolerance = 0
    forecast = model.smooth(np.r_[ar[:p], ma[:q], sigma2]).get_forecast(horizon)
    return forecast.predicted_mean, forecast.var_pred_mean


def statsforecast_fit(levels, order):
    """One order by statsforecast (CSS start, then ML), no constant."""
    from statsforecast.models import ARIMA

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ARIMA(order=order, include_mean=False).fit(levels).model_


def statsforecast_auto(levels):
    """Stepwise search over orders by statsforecast, d = 1, without constant."""
    from statsforecast.models import AutoARIMA

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AutoARIMA(d=1, max_p=3, max_q=3, seasonal=False, allowdrift=False, allowmean=False).fit(levels).model_
