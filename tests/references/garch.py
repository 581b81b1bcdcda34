"""GARCH references: arch, and the likelihood term by term in numpy."""

import warnings

import numpy as np
import pandas as pd
from arch import arch_model
from scipy.special import gammaln, loggamma


def arch_of(y, gjr=False, student=False):
    """Make arch's model of the same kind: constant mean, one lag of everything, no rescaling."""
    return arch_model(y, vol="GARCH", p=1, o=int(gjr), q=1, dist="t" if student else "normal", rescale=False)


def arch_fit(y, gjr=False, student=False, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return arch_of(y, gjr, student).fit(disp="off", show_warning=False, **options)


def arch_at(y, mu, omega, alpha, beta, gamma=None, nu=None):
    """Evaluate arch at fixed parameters."""
    parameters = [mu, omega, alpha, *([] if gamma is None else [gamma]), beta, *([] if nu is None else [nu])]
    return arch_of(y, gamma is not None, nu is not None).fix(parameters)


def loglikelihood(y, mu, omega, alpha, beta, gamma=0.0, nu=None, sample=False):
    """Sum the log densities as the formulas stand, without arch's bounds."""
    e = y - mu
    if sample:
        h = np.mean(e**2)
    else:
        weight = 0.94 ** np.arange(min(75, y.size))
        h = weight @ (y - y.mean())[: weight.size] ** 2 / weight.sum()
    square, down = h, 0.5
    total = 0.0
    for shock in e:
        h = omega + (alpha + gamma * down) * square + beta * h
        square, down = shock**2, float(shock < 0)
        if nu is None:
            total -= 0.5 * (np.log(2 * np.pi) + np.log(h) + square / h)
        else:
            total += gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(np.pi * (nu - 2) * h)
            total -= (nu + 1) / 2 * np.log1p(square / (h * (nu - 2)))
    return total


def student_terms(y, x):
    """Log densities at x = (mu, omega, alpha, gamma, beta, nu), one an observation; for complex x too."""
    mu, omega, alpha, gamma, beta, nu = x
    weight = 0.94 ** np.arange(min(75, y.size))
    h = square = weight @ (y - y.mean())[: weight.size] ** 2 / weight.sum()
    down = 0.5
    out = np.empty(y.size, complex)
    for t, value in enumerate(y):
        h = omega + (alpha + gamma * down) * square + beta * h
        shock = value - mu
        square, down = shock**2, float(shock.real < 0)
        out[t] = loggamma((nu + 1) / 2) - loggamma(nu / 2) - 0.5 * np.log(np.pi * (nu - 2) * h)
        out[t] -= (nu + 1) / 2 * np.log1p(square / (h * (nu - 2)))
    return out


def student_standard_errors(y, x):
    """Find robust standard errors: scores by complex steps, which are exact, the Hessian by differences of them."""

    def scores(x):
        return np.stack([student_terms(y, x + step).imag / 1e-30 for step in 1e-30j * np.eye(x.size)])

    steps = np.diag(1e-5 * np.abs(x))
    hessian = np.stack([(scores(x + s) - scores(x - s)).sum(axis=1) / (2 * s.sum()) for s in steps])
    inverse, own = np.linalg.inv(hessian), scores(x)
    return np.sqrt(np.diag(inverse @ (own @ own.T) @ inverse))


def simulate(rng, n, t, mu=0.05, omega=0.05, alpha=0.08, beta=0.88, gamma=0.0, nu=None, burn=500):
    """Draw n paths of t returns in per cent from known parameters."""
    z = rng.standard_normal((burn + t, n)) if nu is None else rng.standard_t(nu, (burn + t, n)) * np.sqrt((nu - 2) / nu)
    h = np.full(n, omega / max(1 - alpha - beta - gamma / 2, 0.01))
    y = np.empty((burn + t, n))
    for k in range(burn + t):
        e = np.sqrt(h) * z[k]
        y[k] = mu + e
        h = omega + (alpha + gamma * (e < 0)) * e**2 + beta * h
    return np.ascontiguousarray(y[burn:].T)


def real_windows(folder, count, length=504, every=60):
    """Pick windows of log returns in per cent from the folder's daily bars, always the same ones."""
    bars = pd.read_csv(folder / "market" / "bars_36tickers_2010_2026-08.csv.xz")
    windows = []
    for _, ticker in bars.sort_values("date").groupby("ticker"):
        returns = 100 * np.diff(np.log(ticker["adj_close"].to_numpy()))
        windows += [returns[k : k + length] for k in range(0, returns.size - length + 1, every)]
    return np.array(windows)[np.random.default_rng(0).permutation(len(windows))[:count]]


def dem2gbp(folder):
    """Load the Bollerslev-Ghysels DEM/GBP returns."""
    return pd.read_csv(folder / "benchmarks" / "garch_dem2gbp.csv")["dem2gbp_return_pct"].to_numpy()
