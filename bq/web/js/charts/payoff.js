// What the position pays at expiry and today, over the price of the share, with where the price may end behind it.

import { f, t } from "../i18n.js";
import { faint } from "./palette.js";
import { placed, vertical } from "./marks.js";

const MEASURES = ["market", "forecast", "empirical"];

// `own` is the caller's own position ({ spot, at_expiry, today }), or null.
export function payoffChart(analysis, own) {
  return (colours) => {
    const { payoff, density } = analysis.extended;
    const b = analysis.butterfly;
    const [low, high] = [payoff.spot[0], payoff.spot.at(-1)];
    const exact = withCrossings(payoff.spot, payoff.at_expiry);
    const known = MEASURES.filter((name) => density[name]);
    const top = Math.max(...known.flatMap((name) => density[name]));
    const marks = [
      vertical(analysis.current_price, colours.text, f().money(analysis.current_price), "dash"),
      ...[b.lower_strike, b.center_strike, b.upper_strike].map((strike) => vertical(strike, colours.butter, null, "dot")),
    ];
    const money = { tickformat: "$,~f", hoverformat: "$,.2f" };
    return {
      data: [
        ...known.map((name) => ({
          x: density.x, y: density[name], name: t(`density.${name}`), mode: "lines", fill: "tozeroy", hoverinfo: "skip",
          line: { width: 1.2, color: faint(colours[name], 0.75), shape: "spline" }, fillcolor: faint(colours[name], 0.1),
        })),
        filled(exact, (y) => Math.max(y, 0), colours.gain),
        filled(exact, (y) => Math.min(y, 0), colours.loss),
        line(exact.x, exact.y, t("payoff.expiry"), { color: colours.butter, width: 2.6 }),
        line(payoff.spot, payoff.today, t("payoff.today"), { color: colours.text, width: 1.6, dash: "dot" }),
        ...(own ? [line(own.spot, own.at_expiry, t("payoff.own"), { color: colours.market, width: 2.2, dash: "dash" })] : []),
      ],
      layout: {
        xaxis: { ...money, range: [low, high], title: { text: t("axis.price") } },
        yaxis: { visible: false, range: [0, 1.9 * top], fixedrange: true },
        yaxis2: {
          ...money, overlaying: "y", side: "left", tickmode: "auto", zeroline: true, zerolinecolor: colours.lineStrong, title: { text: t("axis.profit") },
        },
        ...placed(marks),
      },
      summary: t("payoff.summary", {
        profit: f().money(b.max_profit), center: f().strike(b.center_strike), loss: f().money(b.max_loss),
        from: f().breakeven(b.breakeven_lower), to: f().breakeven(b.breakeven_upper),
      }),
      columns: [{ title: t("axis.price") }, { title: t("payoff.expiry"), align: "end" }, { title: t("payoff.today"), align: "end" }],
      rows: payoff.spot.map((x, i) => [
        f().money(x), f().signedMoney(payoff.at_expiry[i]), f().signedMoney(payoff.today[i]),
      ]),
    };
  };
}

const line = (x, y, name, style) => ({ x, y, name, mode: "lines", line: style, yaxis: "y2" });

const filled = (curve, part, colour) => ({
  x: curve.x, y: curve.y.map(part), mode: "lines", line: { width: 0 }, fill: "tozeroy", fillcolor: faint(colour, 0.2),
  hoverinfo: "skip", showlegend: false, yaxis: "y2",
});

// Add the points at which a broken line crosses zero, so that gains and losses are filled up to there. Pure.
export function withCrossings(x, y) {
  const result = { x: [x[0]], y: [y[0]] };
  for (let i = 1; i < x.length; i += 1) {
    if (y[i - 1] * y[i] < 0) {
      result.x.push(x[i - 1] + ((x[i] - x[i - 1]) * y[i - 1]) / (y[i - 1] - y[i]));
      result.y.push(0);
    }
    result.x.push(x[i]);
    result.y.push(y[i]);
  }
  return result;
}
