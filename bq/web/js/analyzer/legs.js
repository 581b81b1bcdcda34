// The contracts of the position, as they are listed, with their quotes and Greeks.

import { h } from "../dom.js";
import { f, t } from "../i18n.js";

const GREEKS = ["delta", "gamma", "vega", "theta"];
export const PLACES = { delta: 3, gamma: 4, vega: 3, theta: 3 };

export function legsPanel(analysis) {
  const { legs } = analysis.extended;
  return h("section.panel", { "aria-labelledby": "legs" },
    h("h2", { id: "legs" }, t("legs.title")),
    h("p.hint", {}, t("legs.hint")),
    legsTable(legs, analysis.butterfly.greeks, "legs"));
}

// A table of legs with the Greeks of the whole position at the foot.
export function legsTable(legs, net, labelledBy) {
  const heads = ["contract", "side", "type", "strike", "bid", "ask", "mid", "iv", ...GREEKS];
  const cells = (leg) => [
    h("td", {}, t(leg.quantity > 0 ? "legs.buy" : "legs.sell", { quantity: Math.abs(leg.quantity) })),
    h("td", {}, t(`legs.${leg.type}`)),
    ...[f().strike(leg.strike), f().money(leg.bid), f().money(leg.ask), f().money(leg.mid), f().share(leg.iv),
      ...GREEKS.map((name) => f().signed(leg.greeks[name], PLACES[name]))].map((text) => h("td.end", {}, text)),
  ];
  return h("div.scroll", { tabindex: "0", role: "region", "aria-labelledby": labelledBy },
    h("table", {},
      h("thead", {}, h("tr", {}, heads.map((name, i) => h(i < 3 ? "th" : "th.end", { scope: "col" }, t(`legs.head.${name}`))))),
      h("tbody", {}, legs.map((leg) => h("tr", {}, h("th", { scope: "row" }, h("span.symbol", {}, leg.occ_symbol)), cells(leg)))),
      h("tfoot", {}, h("tr", {},
        h("th", { scope: "row", colspan: "8" }, t("legs.net")),
        GREEKS.map((name) => h("td.end", {}, f().signed(net[name], PLACES[name])))))));
}
