// The score taken apart: each part, its weight, what it adds, and the six signals.

import { h } from "../dom.js";
import { f, t } from "../i18n.js";

const PARTS = ["price_match", "vol_mispricing", "stability", "fourier_align"];
const SIGNALS = ["price_stability", "vol_mispricing", "trend_clear", "cycle_aligned", "delta_neutral", "iv_high"];

export function scorePanel(analysis) {
  const { components, total } = analysis.score;
  const { weights, interval } = analysis.extended.score;
  const end = (text) => h("td.end", {}, text);
  return h("section.panel.score", { "aria-labelledby": "score" },
    h("h2", { id: "score" }, t("score.title", { total: f().number(total, 1) })),
    h("p.hint", {}, interval ? t("score.interval", { low: f().number(interval.low, 0), high: f().number(interval.high, 0) }) : t("score.hint")),
    h("div.scroll", { tabindex: "0", role: "region", "aria-labelledby": "score" },
      h("table", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("score.part")), h("th", { scope: "col" }, t("score.value")),
          ["weight", "adds"].map((name) => h("th.end", { scope: "col" }, t(`score.${name}`))))),
        h("tbody", {},
          PARTS.map((name) => {
            const head = h("th", { scope: "row" }, t(`score.${name}`));
            if (weights[name] === undefined) return h("tr", {}, head, h("td.muted", { colspan: "3" }, t("score.missing")));
            return h("tr", {}, head, h("td", {}, meter(components[name])), end(f().percent(weights[name])),
              end(f().signed((weights[name] * components[name]) / 100, 1)));
          }),
          h("tr", {}, h("th", { scope: "row" }, t("score.delta_penalty")), h("td"), h("td"), end(f().signed(-components.delta_penalty, 1)))),
        h("tfoot", {}, h("tr", {}, h("th", { scope: "row", colspan: "3" }, t("score.total")), end(f().number(total, 1)))))),
    h("h3", {}, t("signals.title", { count: SIGNALS.filter((name) => analysis.signals[name]).length })),
    h("ul.signals", {}, SIGNALS.map((name) => {
      const on = analysis.signals[name];
      return h(on ? "li.on" : "li", {}, h("span", { "aria-hidden": "true" }, on ? "✓" : "–"),
        h("span.unseen", {}, t(on ? "signals.on" : "signals.off")), " ", t(`signal.${name}`));
    })));
}

// A part from 0 to 100; 50 is where nothing speaks either way.
function meter(value) {
  return h("span.meter", {},
    h("span.gauge", { "aria-hidden": "true" }, h("span", { style: { width: `${value}%` } })),
    h("span", {}, f().number(value, 0)));
}
