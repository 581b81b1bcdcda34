"""What a small p-value is worth when it was picked out of many: Benjamini-Hochberg and Fisher's g."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64


def benjamini_hochberg(p: npt.ArrayLike) -> F64:
    """Turn p-values into q-values: the smallest false-discovery rate at which each of them is still a discovery.

    Parameters
    ----------
    p : (..., m) float64
        p-values of one family along the last axis (the frequencies of a row, the tickers of a list). NaN stands for a
        test that was not made: it is no member of the family.

    Returns
    -------
    (..., m) float64
        q-values, at least as large as p and in the same order; NaN where p is NaN.

    Raises
    ------
    ValueError
        For a single number: it is no family.

    References
    ----------
    Y. Benjamini and Y. Hochberg (1995), Controlling the false discovery rate, J. R. Statist. Soc. B 57, 289-300. Holds
    for independent tests and for positively dependent ones.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.005])
    array([0.02, 0.04, 0.04, 0.02])
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim == 0:
        raise ValueError(f"expected p-values along an axis, got the number {values}")
    m = values.shape[-1]
    if values.size == 0:
        return values.copy()
    order = np.argsort(values, axis=-1, kind="stable")  # NaN last
    ordered = np.take_along_axis(values, order, axis=-1)
    family = np.sum(~np.isnan(values), axis=-1, keepdims=True)
    q = ordered * family / np.arange(1, m + 1)
    q = np.fmin.accumulate(q[..., ::-1], axis=-1)[..., ::-1]
    # A product and a quotient can round to one ulp below p.
    q = np.where(np.isnan(ordered), np.nan, np.clip(q, ordered, 1.0))
    out = np.empty_like(values)
    np.put_along_axis(out, order, q, axis=-1)
    return out


def _fisher_g(g: float, m: int) -> float:
    if np.isnan(g) or m < 1:
        return np.nan
    if g * m <= 1.0:
        return 1.0
    if g >= 1.0:
        return 0.0
    x = Fraction(g)
    total, choose = Fraction(0), 1
    for j in range(1, min(m, int(1 / x)) + 1):
        choose = choose * (m - j + 1) // j
        term = choose * (1 - j * x) ** (m - 1)
        total += term if j % 2 else -term
    return float(total)


def fisher_g_pvalue(g: npt.ArrayLike, m: npt.ArrayLike) -> F64:
    """Compute the probability that the largest of m shares of a white periodogram exceeds g.

    Parameters
    ----------
    g : (n,) float64
        Largest periodogram ordinate over the sum of all m.
    m : (n,) int
        Number of ordinates.

    Returns
    -------
    (n,) float64
        P(G > g), right to the last digit; NaN where g is NaN or m < 1.

    Notes
    -----
    R. A. Fisher (1929), Tests of significance in harmonic analysis, Proc. R. Soc. A 125, 54-59: the sum over j of
    (-1)^(j+1) C(m, j) (1 - j g)^(m-1). Its terms alternate and can be 1e40 times their sum, so it is added up in exact
    fractions: slow (up to a millisecond), and not used for `spectral.cycles`.

    Examples
    --------
    >>> fisher_g_pvalue(0.1, 69).round(8)
    array([0.05277358])
    """
    shares, counts = np.broadcast_arrays(np.asarray(g, dtype=np.float64), np.asarray(m, dtype=np.int64))
    pairs = zip(np.atleast_1d(shares).tolist(), np.atleast_1d(counts).tolist(), strict=True)
    return np.array([_fisher_g(share, count) for share, count in pairs], dtype=np.float64)
