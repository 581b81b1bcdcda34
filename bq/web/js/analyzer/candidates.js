// What the search found: the butterflies that no other beats on every count.

import { h } from "../dom.js";
import { f, t } from "../i18n.js";
import { money } from "./probabilities.js";

const HEADS = ["strikes", "expiry", "form", "cost", "maxProfit", "maxLoss", "market", "forecast", "empirical", "worst", "spread"];

// `choose` takes a candidate into the what-if.
export function candidatesPanel(analysis, choose) {
  const { search, candidates } = analysis.extended;
  const front = search?.front?.length ? search.front : candidates;
  if (!front.length) return null;
  const end = (content) => h("td.end", {}, content);
  return h("section.panel", { "aria-labelledby": "candidates" },
    h("h2", { id: "candidates" }, t("candidates.title", { count: front.length })),
    search && h("p.hint", {}, t("candidates.hint", {
      examined: f().integer(search.examined), passed: f().integer(search.passed), positive: f().integer(search.positive),
    })),
    h("div.scroll", { tabindex: "0", role: "region", "aria-labelledby": "candidates" },
      h("table", {},
        h("thead", {}, h("tr", {}, HEADS.map((name, i) => h(i < 3 ? "th" : "th.end", { scope: "col" }, t(`candidates.${name}`))),
          h("th", {}, h("span.unseen", {}, t("candidates.try"))))),
        h("tbody", {}, front.map((one) => h("tr", {},
          h("th", { scope: "row" }, f().strikes([one.lower_strike, one.center_strike, one.upper_strike])),
          h("td", {}, f().day(one.expiry)), h("td", {}, t(`form.${one.form}`)),
          end(f().money(one.cost)), end(f().money(one.max_profit)), end(f().money(one.max_loss)),
          end(f().share(one.pop_market)), end(f().share(one.pop_forecast)), end(f().share(one.pop_empirical)),
          end(money(one.ev_worst)), end(f().share(one.spread_share)),
          h("td.end", {}, h("button.button.small", { type: "button", onclick: () => choose(one) }, t("candidates.try")))))))));
}
