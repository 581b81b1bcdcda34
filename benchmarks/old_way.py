"""The way that such services were written before: Flask, four gunicorn workers, one ticker after another.

For each ticker the five ARIMA orders by statsmodels, GARCH(1,1) by arch, a periodogram and a Black-Scholes butterfly:
less than what this server answers, with the libraries that everybody would take. `benchmarks/contenders.py` starts it:

    OLD_WAY_DATA=closes.npz gunicorn -w 4 benchmarks.old_way:app
"""

import os
import warnings

import numpy as np
from arch import arch_model
from flask import Flask, jsonify, request
from scipy.stats import norm
from statsmodels.tsa.arima.model import ARIMA

ORDERS = ((1, 1, 1), (2, 1, 2), (1, 1, 2), (2, 1, 1), (3, 1, 2))

app = Flask(__name__)
closes = dict(np.load(os.environ["OLD_WAY_DATA"])) if "OLD_WAY_DATA" in os.environ else {}
warnings.simplefilter("ignore")


def call(spot: float, strike: float, tau: float, rate: float, sigma: float) -> float:
    d1 = (np.log(spot / strike) + (rate + sigma**2 / 2) * tau) / (sigma * np.sqrt(tau))
    return float(spot * norm.cdf(d1) - strike * np.exp(-rate * tau) * norm.cdf(d1 - sigma * np.sqrt(tau)))


def analyze(close: np.ndarray) -> dict:
    log_close = np.log(close)
    fits = [ARIMA(log_close[-120:], order=order).fit() for order in ORDERS]
    best = min(fits, key=lambda fit: fit.aic)
    forecast = best.get_forecast(30)
    returns = 100 * np.diff(log_close)[-504:]
    garch = arch_model(returns, vol="GARCH", p=1, q=1).fit(disp="off")
    variance = garch.forecast(horizon=30).variance.iloc[-1].to_numpy()
    power = np.abs(np.fft.rfft(returns - returns.mean())) ** 2
    strongest = np.argsort(power)[::-1][:5]
    spot, sigma = float(close[-1]), float(np.sqrt(variance.mean() * 252) / 100)
    wings = [call(spot, spot * k, 30 / 365, 0.04, sigma) for k in (0.95, 1.0, 1.05)]
    return {
        "current_price": spot,
        "forecast": np.exp(forecast.predicted_mean).tolist(),
        "band": np.exp(forecast.conf_int()).tolist(),
        "order": list(best.model.order),
        "predicted_vol": sigma,
        "forecast_vol": np.sqrt(variance * 252).tolist(),
        "periods": (returns.size / np.maximum(strongest, 1)).tolist(),
        "net_debit": wings[0] - 2 * wings[1] + wings[2],
    }


@app.post("/api/analyze")
def endpoint():
    return jsonify(success=True, data=[analyze(closes[ticker]) for ticker in request.get_json()["tickers"]])


@app.get("/healthz")
def health():
    return jsonify(status="ok")
