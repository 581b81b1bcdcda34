// The verdict: what to do, why, and the four findings that it rests on.

import { h } from "../dom.js";
import { f, t, tCode } from "../i18n.js";
import { hasQuotes, toneOf } from "../verdict.js";

export function verdictPanel(analysis) {
  const tone = toneOf(analysis);
  return h(`section.panel.verdict.${tone}`, { "aria-labelledby": "verdict" },
    h("p.kicker", {}, t(`verdict.${tone}`), " · ", t("verdict.score", { score: f().number(analysis.score.total, 0) }), " · ", tCode("confidence", analysis.score.confidence_level)),
    h("h2", { id: "verdict" }, headline(analysis, tone)),
    h("ul.reasons", {}, reasons(analysis, tone).map((reason) => h("li", {}, reason))),
    h("dl.findings", {}, findings(analysis).map(([name, text]) =>
      h("div", {}, h("dt", {}, t(`finding.${name}`)), h("dd", {}, text)))));
}

function headline(analysis, tone) {
  const b = analysis.butterfly;
  return t(`verdict.headline.${tone}`, {
    ticker: analysis.ticker,
    form: t(`form.${analysis.fourier.butterfly_type}`),
    strikes: f().strikes([b.lower_strike, b.center_strike, b.upper_strike]),
    days: b.dte,
  });
}

// Why: the codes that limited the recommendation, with the figures that speak for themselves.
function reasons(analysis, tone) {
  const { risk, score } = analysis.extended;
  const values = {
    worst: f().signedMoney(risk.ev_worst), market: f().signedMoney(risk.ev_market), forecast: f().signedMoney(risk.ev_forecast),
    empirical: f().signedMoney(risk.ev_empirical), error: f().money(risk.std_error), total: f().number(analysis.score.total, 0),
  };
  const told = score.reasons.map((code) => tCode("reason", code, values));
  if (tone === "buy") return [t("reason.positive", values), ...told];
  return told.length ? told : [t("reason.low_score", values)];
}

function findings(analysis) {
  return [["direction", direction(analysis)], ["movement", movement(analysis)], ["cycle", cycle(analysis)], ["market", market(analysis)]];
}

function direction(analysis) {
  const { arima, fourier } = analysis;
  const isWalk = arima.model_order.join() === "0,1,0";
  const change = 100 * (arima.mean_forecast / analysis.current_price - 1);
  const forecast = isWalk
    ? t("direction.walk", { width: f().money(arima.confidence_width) })
    : t("direction.model", {
        order: arima.model_order.join(","), price: f().money(arima.mean_forecast), change: f().signedPercent(change),
        width: f().money(arima.confidence_width),
      });
  return `${forecast} ${t(`trend.${fourier.trend_direction}`, { slope: f().signedPercent(fourier.trend_slope, 2) })}`;
}

const movement = ({ garch }) =>
  t("movement.text", { forecast: f().share(garch.predicted_vol), past: f().share(garch.historical_vol) });

function cycle({ fourier }) {
  const [strongest] = fourier.dominant_periods;
  if (!strongest) return t("cycle.none");
  return t("cycle.found", {
    period: f().number(strongest.period, 1), share: f().percent(strongest.power_pct), position: t(`cycle.${fourier.cycle_position}`),
  });
}

function market(analysis) {
  const { garch, extended: x } = analysis;
  if (!hasQuotes(analysis)) return t("market.none");
  const key = garch.vol_mispricing >= 0 ? "market.rich" : "market.cheap";
  const rank = t(`percentile.${x.quality.iv_percentile_of}`, { percentile: f().number(garch.iv_percentile, 0) });
  return `${t(key, { implied: f().share(garch.current_iv), edge: f().percent(Math.abs(garch.vol_mispricing)) })} ${rank}`;
}
