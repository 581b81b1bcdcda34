// A card of the watchlist: one ticker at a glance.

import { h, svg } from "../dom.js";
import { f, t, tCode } from "../i18n.js";
import { formatRoute } from "../router.js";
import { extent, hasQuotes, toneOf } from "../verdict.js";

// Make the card of a ticker from the last answer, an item of the API, or from none yet.
export function card(ticker, name, item, onRemove) {
  const ok = item?.status === "ok";
  const tone = ok ? toneOf(item.data) : "";
  return h(`article.card${tone && `.${tone}`}`, { "data-ticker": ticker, "aria-busy": item ? null : "true" },
    head(ticker, name, ok ? chip(item.data) : null, onRemove),
    ok ? analysed(item) : item ? failed(item) : loading());
}

export function chip(analysis) {
  const tone = toneOf(analysis);
  return h(`span.chip.${tone}`, {}, t(`verdict.${tone}`));
}

function head(ticker, name, chipped, onRemove) {
  const label = t("watchlist.remove", { ticker });
  return h("header", {},
    h("div", {},
      h("h2", {}, h("a", { href: formatRoute("analyze", ticker) }, ticker)),
      h("p.name.muted", {}, name)),
    h("div.corner", {}, chipped,
      h("button.button.quiet.small.remove", { type: "button", title: label, "aria-label": label, onclick: () => onRemove(ticker) }, "×")));
}

function loading() {
  return h("div.stack", {},
    h("div.skeleton", { style: { height: "26px", width: "46%" } }),
    h("div.skeleton", { style: { height: "34px" } }),
    h("div.skeleton", { style: { height: "74px" } }),
    h("span.unseen", {}, t("state.loading")));
}

function failed(item) {
  return h("div.message", {},
    h("p.loss.strong", {}, tCode("error", item.code)),
    h("p.muted", {}, item.error));
}

function analysed(item) {
  const a = item.data;
  const b = a.butterfly;
  const quoted = hasQuotes(a);
  const fact = (label, value) => h("div", {}, h("dt", {}, label), h("dd", {}, value));
  const strikes = f().strikes([b.lower_strike, b.center_strike, b.upper_strike]);
  const form = t(`form.${a.fourier.butterfly_type}`);
  return [
    h("div.price", {},
      h("strong", {}, f().money(a.current_price)),
      h("span.muted", { title: t("figure.score") }, t("watchlist.score", { score: f().number(a.score?.total, 0) }))),
    ruler(a),
    h("dl", {},
      h("div.legs-line", {}, h("dt", {}, strikes), h("dd", {}, t("watchlist.form", { form, days: b.dte }))),
      fact(t("figure.impliedShort"), quoted ? f().share(a.garch.current_iv) : t("watchlist.noQuotes")),
      fact(t("figure.forecastShort"), f().share(a.garch.predicted_vol)),
      fact(b.is_credit_strategy ? t("figure.credit") : t("figure.debit"), f().money(b.net_debit)),
      fact(t("figure.maxLoss"), f().money(b.max_loss)),
      fact(t("figure.probability"), f().percent(b.prob_profit)),
      fact(t("figure.ratio"), f().number(b.profit_ratio))),
    item.stale ? h("p.hint.caution", {}, t("watchlist.stale", { time: f().instant(1000 * item.as_of) })) : null,
  ];
}

// Where the price may go and where the position earns, on one line.
function ruler(a) {
  const b = a.butterfly;
  const strikes = [b.lower_strike, b.center_strike, b.upper_strike];
  const [low, high] = extent([a.lower_bound, a.upper_bound, ...strikes]);
  const at = (price) => 2 + (96 * (Math.min(Math.max(price, low), high) - low)) / (high - low || 1);
  const x = (price) => `${at(price).toFixed(2)}%`;
  const span = (from, to) => ({ x: x(from), width: `${Math.max(at(to) - at(from), 0).toFixed(2)}%` });
  const profitFrom = b.breakeven_lower || low;
  const label = t("watchlist.ruler", {
    low: f().money(a.lower_bound), high: f().money(a.upper_bound),
    from: f().breakeven(b.breakeven_lower), to: f().breakeven(b.breakeven_upper), spot: f().money(a.current_price),
  });
  return svg("svg.ruler", { role: "img", "aria-label": label },
    svg("title", {}, label),
    svg("line.axis", { x1: "2%", x2: "98%", y1: 17, y2: 17 }),
    svg("rect.band", { ...span(a.lower_bound, a.upper_bound), y: 9, height: 16, rx: 3 }),
    svg("rect.profit", { ...span(profitFrom, b.breakeven_upper || high), y: 15, height: 4, rx: 2 }),
    strikes.map((strike) => svg("line.strike", { x1: x(strike), x2: x(strike), y1: 5, y2: 29 })),
    svg("circle.spot", { cx: x(a.current_price), cy: 17, r: 4.5 }));
}
