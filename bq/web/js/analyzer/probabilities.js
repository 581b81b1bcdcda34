// Three probabilities of profit, each with its interval, and what else can come of the position.

import { h, svg } from "../dom.js";
import { f, t, tCode } from "../i18n.js";

const MEASURES = ["market", "forecast", "empirical"];

export function probabilitiesPanel(analysis) {
  const { risk } = analysis.extended;
  const b = analysis.butterfly;
  const fact = (key, value) => h("div", {}, h("dt", {}, t(key)), h("dd", {}, value));
  return h("section.panel.probabilities", { "aria-labelledby": "probabilities" },
    h("h2", { id: "probabilities" }, t("probability.title")),
    h("div.scroll", { tabindex: "0", role: "region", "aria-labelledby": "probabilities" },
      h("table", {},
        h("thead", {}, h("tr", {},
          h("th", { scope: "col" }, t("probability.measure")), h("th", { scope: "col" }, t("probability.profit")),
          h("th.end", { scope: "col" }, t("probability.ev")))),
        h("tbody", {}, MEASURES.map((name) => measureRow(name, risk[`pop_${name}`], risk[`ev_${name}`]))),
        h("tfoot", {}, h("tr", {}, h("th", { scope: "row", colspan: "2" }, t("probability.worst")), h("td.end", {}, money(risk.ev_worst)))))),
    h("p.hint", {}, t("probability.hint")),
    h("dl.lines", {},
      fact("probability.maxLoss", f().share(risk.prob_max_loss)),
      fact("probability.cvar", money(risk.cvar_95)),
      fact("probability.touchCenter", f().share(risk.touch_center)),
      fact("probability.touchWings", `${f().share(risk.touch_lower, 0)} · ${f().share(risk.touch_upper, 0)}`),
      fact("probability.pin", f().share(risk.pin_risk)),
      fact("probability.kelly", f().share(risk.kelly_fraction))),
    risk.assignment_flags.length ? h("ul.risks", {}, risk.assignment_flags.map((flag) => h("li", {}, tCode("flag", flag, { strike: f().strike(b.center_strike) })))) : null);
}

export const money = (value) =>
  h(value > 0 ? "span.gain" : value < 0 ? "span.loss" : "span", {}, f().signedMoney(value));

function measureRow(name, pop, ev) {
  const head = h("th", { scope: "row" }, h(`i.swatch.${name}`, { "aria-hidden": "true" }), t(`density.${name}`));
  if (!pop) return h("tr", {}, head, h("td.muted", {}, t("probability.unknown")), h("td.end", {}, "–"));
  return h("tr", {}, head,
    h("td", {},
      h("span.strong", {}, f().share(pop.value)), " ",
      h("span.hint", {}, t("probability.interval", { low: f().number(100 * pop.low, 0), high: f().number(100 * pop.high, 0) })),
      interval(name, pop)),
    h("td.end", {}, money(ev)));
}

// The value with its 95 % interval on a line from 0 to 100 %.
function interval(name, { value, low, high }) {
  const x = (share) => `${(100 * share).toFixed(2)}%`;
  return svg(`svg.interval.${name}`, { "aria-hidden": "true" },
    svg("line.track", { x1: 0, x2: "100%", y1: 6, y2: 6 }),
    svg("line.half", { x1: "50%", x2: "50%", y1: 2, y2: 10 }),
    svg("line.reach", { x1: x(low), x2: x(high), y1: 6, y2: 6 }),
    svg("circle", { cx: x(value), cy: 6, r: 4 }));
}
