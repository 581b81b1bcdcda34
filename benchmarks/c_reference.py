"""Plain C as the yardstick: the textbook formulas, `-Ofast -march=native`, which vectorises them through libmvec.

Compiled when a benchmark asks, by whatever `cc` there is; without one, `library` gives None and the line is left out.
"""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

FLAGS = ("-Ofast", "-march=native", "-shared", "-fPIC")

EUROPEAN = r"""
#include <math.h>
#define R restrict
static inline double cdf(double x) { return 0.5 * erfc(-0.70710678118654752440 * x); }

void price(long n, const double *R S, const double *R K, const double *R T, const double *R r, const double *R q,
           const double *R v, const double *R h, double *R out) {
    for (long i = 0; i < n; i++) {
        double sd = v[i] * sqrt(T[i]);
        double d1 = (log(S[i] / K[i]) + (r[i] - q[i]) * T[i]) / sd + 0.5 * sd;
        out[i] = h[i] * (S[i] * exp(-q[i] * T[i]) * cdf(h[i] * d1) - K[i] * exp(-r[i] * T[i]) * cdf(h[i] * (d1 - sd)));
    }
}

void greeks(long n, const double *R S, const double *R K, const double *R T, const double *R r, const double *R q,
            const double *R v, const double *R h, double *R price, double *R delta, double *R gamma, double *R vega,
            double *R theta, double *R rho, double *R vanna, double *R volga, double *R charm) {
    for (long i = 0; i < n; i++) {
        double root = sqrt(T[i]), sd = v[i] * root;
        double d1 = (log(S[i] / K[i]) + (r[i] - q[i]) * T[i]) / sd + 0.5 * sd, d2 = d1 - sd;
        double carry = exp(-q[i] * T[i]);
        double n1 = S[i] * carry * cdf(h[i] * d1), n2 = K[i] * exp(-r[i] * T[i]) * cdf(h[i] * d2);
        double density = carry * 0.39894228040143267794 * exp(-0.5 * d1 * d1);
        vega[i] = S[i] * density * root;
        price[i] = h[i] * (n1 - n2);
        delta[i] = h[i] * n1 / S[i];
        gamma[i] = density / (S[i] * sd);
        theta[i] = -S[i] * density * v[i] / (2 * root) - h[i] * (r[i] * n2 - q[i] * n1);
        rho[i] = h[i] * T[i] * n2;
        vanna[i] = -density * d2 / v[i];
        volga[i] = vega[i] * d1 * d2 / v[i];
        charm[i] = q[i] * delta[i] - density * ((r[i] - q[i]) / sd - d2 / (2 * T[i]));
    }
}

/* Four Householder steps of the implied volatility; libm has no erfcx. */
void refine(long n, const double *R x, const double *R beta, double *R s) {
    for (int step = 0; step < 4; step++)
        for (long i = 0; i < n; i++) {
            double h = x[i] / s[i], t = 0.5 * s[i], up = exp(0.5 * x[i]);
            double b = up * cdf(h + t) - cdf(h - t) / up;
            double w = 0.39894228040143267794 * exp(-0.5 * (h * h + t * t)) / b, L = log(b), lb = log(beta[i]);
            double r2 = h * h / s[i] - 0.5 * t, r3 = r2 * r2 - 3 * h * h / (s[i] * s[i]) - 0.25;
            double nu = (lb - L) * L / (lb * w), eta = r2 - w * (1 + 2 / L);
            double zeta = r3 + 2 * w * w * (1 + 3 / L * (1 + 1 / L)) - 3 * r2 * w * (1 + 2 / L);
            s[i] += nu * (1 + 0.5 * eta * nu) / (1 + nu * (eta + zeta * nu / 6));
        }
}

/* The same work from the same inputs: normalise, start from the same two rules, four steps in blocks. */
void implied(long n, const double *R price, const double *R S, const double *R K, const double *R T, const double *R r,
             const double *R q, const double *R h, double *R out) {
    double x[256], beta[256], s[256];
    for (long from = 0; from < n; from += 256) {
        long count = n - from < 256 ? n - from : 256;
        for (long j = 0; j < count; j++) {
            long i = from + j;
            double F = S[i] * exp(-q[i] * T[i]), D = K[i] * exp(-r[i] * T[i]), y = -fabs(log(F / D)), root = sqrt(-y);
            double c = (price[i] - fmax(h[i] * (F - D), 0)) / fmin(F, D), up = exp(0.5 * y);
            double middle = 0.5 * (1 - exp(-y) * erfc(root)), b = c * up;
            double p = (1 - c) / (1 + 1 / (up * up)), u = 0.5 - p, w = u * u, t = sqrt(-2 * log(p));
            double centre = (((-39.69683028665376 * w + 220.9460984245205) * w - 275.9285104469687) * w
                             + 138.357751867269) * w - 30.66479806614716;
            double below = (((-54.47609879822406 * w + 161.5858368580409) * w - 155.6989798598866) * w
                            + 66.80131188771972) * w - 13.28068155288572;
            double inner = u * (centre * w + 2.506628277459239) / (below * w + 1);
            double outer = t - (2.515517 + t * (0.802853 + t * 0.010328))
                               / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
            double bound = 2 * (p > 0.02425 ? inner : outer), left = sqrt(-2 * y) * sqrt(log(middle * up) / log(b));
            x[j] = y;
            beta[j] = b;
            s[j] = c < middle && left < bound ? left : bound;
        }
        refine(count, x, beta, s);
        for (long j = 0; j < count; j++) out[from + j] = s[j] / sqrt(T[from + j]);
    }
}
"""


@cache
def library(source: str = EUROPEAN) -> ctypes.CDLL | None:
    """Compile C source to a shared library and load it; None where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="c_reference_"))
    (folder / "it.c").write_text(source)
    target = folder / "it.so"
    subprocess.run([compiler, *FLAGS, "-o", str(target), str(folder / "it.c"), "-lmvec", "-lm"], check=True)
    loaded = ctypes.CDLL(str(target))
    shutil.rmtree(folder)
    return loaded


def call(name: str, *columns: npt.NDArray[np.float64], source: str = EUROPEAN) -> Callable[[], None] | None:
    """Bind a C function of a row count and float64 columns to its arrays; None where there is no compiler."""
    loaded = library(source)
    if loaded is None:
        return None
    if any(c.dtype != np.float64 or not c.flags.c_contiguous for c in columns):
        raise ValueError("C takes contiguous float64 columns")
    function = getattr(loaded, name)
    arguments = [ctypes.c_long(columns[0].size), *(c.ctypes.data_as(ctypes.c_void_p) for c in columns)]

    def run(_keep: object = columns) -> None:
        function(*arguments)

    return run


def call_with_fresh(
    name: str, outputs: int, *columns: npt.NDArray[np.float64], source: str = EUROPEAN
) -> Callable[[], object] | None:
    """Bind a C function as `call` does, but to outputs that are allocated for each call, as our doors do."""
    loaded = library(source)
    if loaded is None:
        return None
    function, n = getattr(loaded, name), columns[0].size
    arguments = [ctypes.c_long(n), *(c.ctypes.data_as(ctypes.c_void_p) for c in columns)]

    def run(_keep: object = columns) -> object:
        out = np.empty((outputs, n))
        first = out.ctypes.data
        function(*arguments, *(ctypes.c_void_p(first + 8 * n * k) for k in range(outputs)))
        return (*out,)

    return run
