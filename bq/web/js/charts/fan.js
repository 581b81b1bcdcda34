// The price, where it is forecast to go, and the strikes in its way.

import { withYears } from "../dates.js";
import { f, t } from "../i18n.js";
import { band, dayAxis, placed } from "./marks.js";
import { faint } from "./palette.js";

export function fanChart(analysis) {
  return (colours) => {
    const points = analysis.chart_data.price_forecast;
    const asOf = analysis.extended.as_of;
    const past = points.filter((point) => point.actual !== null);
    const dates = withYears(points.map((point) => point.date), asOf, past.length - 1);
    const [before, after] = [dates.slice(0, past.length), dates.slice(past.length)];
    const future = points.slice(past.length);
    const last = past.at(-1)?.actual ?? analysis.current_price;
    const joined = (name) => [last, ...future.map((point) => point[name])];
    const ahead = [before.at(-1), ...after];
    const b = analysis.butterfly;
    const expiry = analysis.extended.legs[0]?.expiry ?? analysis.trade_suggestion.hold_until;
    const strikes = [b.lower_strike, b.center_strike, b.upper_strike];
    return {
      data: [
        ...band(ahead, joined("lower"), joined("upper"), t("fan.band"), colours.forecast),
        { x: before, y: past.map((point) => point.actual), name: t("fan.actual"), mode: "lines", line: { color: colours.text, width: 1.8 } },
        { x: ahead, y: joined("forecast"), name: t("fan.forecast"), mode: "lines", line: { color: colours.forecast, width: 2, dash: "dash" } },
      ],
      layout: {
        xaxis: dayAxis(),
        yaxis: { tickformat: "$,~f", hoverformat: "$,.2f", title: { text: t("axis.price") } },
        ...placed([...strikes.map((strike) => strikeLine(strike, ahead[0], expiry, colours)), expiryLine(expiry, colours), earning(b, future, ahead[0], expiry, colours)]),
      },
      summary: t("fan.summary", {
        forecast: f().money(analysis.arima.mean_forecast), expiry: f().day(expiry),
        low: f().money(analysis.lower_bound), high: f().money(analysis.upper_bound),
      }),
      columns: [{ title: t("axis.day") }, ...["fan.actual", "fan.forecast", "fan.low", "fan.high"].map((key) => ({ title: t(key), align: "end" }))],
      rows: points.map((point, i) => [f().day(dates[i]), ...["actual", "forecast", "lower", "upper"].map((name) => f().money(point[name]))]),
    };
  };
}

function strikeLine(strike, from, to, colours) {
  return {
    shape: { type: "line", x0: from, x1: to, y0: strike, y1: strike, line: { color: colours.butter, width: 1.4 } },
    annotation: { x: to, y: strike, xanchor: "left", text: f().strike(strike), showarrow: false, font: { size: 11, color: colours.text }, bgcolor: faint(colours.panel, 0.8), xshift: 2 },
  };
}

function expiryLine(expiry, colours) {
  return {
    shape: { type: "line", x0: expiry, x1: expiry, yref: "paper", y0: 0, y1: 1, line: { color: colours.lineStrong, width: 1, dash: "dot" } },
    annotation: { x: expiry, y: 1, yref: "paper", yanchor: "top", xanchor: "left", xshift: 2, text: t("fan.expiry"), showarrow: false, font: { size: 11, color: colours.muted } },
  };
}

// Where the position earns at expiry; as far as the chart goes on a side without a break-even.
function earning(b, future, from, to, colours) {
  const low = Math.min(b.lower_strike, ...future.map((point) => point.lower));
  const high = Math.max(b.upper_strike, ...future.map((point) => point.upper));
  return {
    shape: {
      type: "rect", x0: from, x1: to, y0: b.breakeven_lower || low, y1: b.breakeven_upper || high, line: { width: 0 },
      fillcolor: faint(colours.gain, 0.1), layer: "below",
    },
    annotation: null,
  };
}
