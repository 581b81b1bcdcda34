// What if: the reader moves strikes, expiry, form and quantity, and the server answers with every figure.
//
// Nothing is computed here: each change asks `POST /api/what-if`, and an older question is given up for a newer one.

import { postJson } from "../api.js";
import { h, put } from "../dom.js";
import { f, t, tCode } from "../i18n.js";
import { legsTable, PLACES } from "./legs.js";
import { FORMS, fromQuery, isSame, legsOf, MOST, moved, proposed, snapped, toQuery } from "./position.js";
import { money } from "./probabilities.js";

const PAUSE_MS = 150; // between a change and the question, so that a held key asks once
const STRIKES = ["lower", "center", "upper"];
const SHARES = 100; // in a contract

// `onAnswer(found)` is told each answer, or null when the proposal is back; `onChange(query)` what to put into the address.
export function makeWhatIf(analysis, query, { onAnswer, onChange }) {
  const base = proposed(analysis);
  const slices = analysis.extended.chain;
  let position = fromQuery(query, base);
  let asking = null;
  let timer = null;

  const controls = h("div.whatif-controls");
  const result = h("div.whatif-result", { "aria-live": "polite" });
  const element = h("section.panel.whatif", { "aria-labelledby": "whatif" },
    h("h2", { id: "whatif" }, t("whatif.title")), h("p.hint", {}, t("whatif.hint")), controls, result);

  const listed = () => slices.find((one) => one.expiry === position.expiry)?.quotes.map((quote) => quote.strike) ?? [];

  function change(next) {
    position = { ...position, ...next };
    onChange(toQuery(position, base));
    write();
    clearTimeout(timer);
    asking?.abort();
    if (isSame(position, base)) {
      element.removeAttribute("aria-busy");
      put(result);
      onAnswer(null);
      return;
    }
    element.setAttribute("aria-busy", "true");
    timer = setTimeout(ask, PAUSE_MS);
  }

  async function ask() {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    try {
      const answer = await postJson("api/what-if", { ticker: analysis.ticker, legs: legsOf(position) }, { signal });
      put(result, outcome(analysis, answer.data, position));
      onAnswer(answer.data);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.code === undefined) throw error;
      onAnswer(null);
      put(result, h("div.problem", { role: "alert" },
        h("p.strong", {}, error.code === "not_found" ? t("whatif.absent") : tCode("error", error.code)),
        error.code !== "not_found" && h("p", {}, error.message),
        h("p", {}, h("button.button.small", { type: "button", onclick: ask }, t("state.now")))));
    }
    element.removeAttribute("aria-busy");
  }

  // Write the controls anew; the one that has the focus keeps it.
  function write() {
    const focused = controls.contains(document.activeElement) ? document.activeElement.name : null;
    put(controls, expiryChoice(), formChoice(), STRIKES.map(strikeChoice), quantityChoice(),
      h("button.button", { type: "button", name: "reset", disabled: isSame(position, base), onclick: () => change(base) }, t("whatif.reset")));
    if (focused) controls.querySelector(`[name="${focused}"]:not(:disabled)`)?.focus();
  }

  function expiryChoice() {
    const expiries = slices.length ? slices.map((one) => one.expiry) : [base.expiry];
    if (!expiries.includes(position.expiry)) expiries.push(position.expiry);
    const choose = (event) => {
      const expiry = event.target.value;
      const strikes = slices.find((one) => one.expiry === expiry)?.quotes.map((quote) => quote.strike) ?? [];
      change({ expiry, strikes: snapped(position.strikes, strikes) ?? position.strikes });
    };
    return labelled("axis.expiry", h("select.field", { name: "expiry", onchange: choose },
      expiries.map((one) => h("option", { value: one, selected: one === position.expiry }, f().day(one)))));
  }

  const formChoice = () => labelled("whatif.form", h("select.field", { name: "form", onchange: (event) => change({ form: event.target.value }) },
    FORMS.map((form) => h("option", { value: form, selected: form === position.form }, t(`form.${form}`)))));

  function strikeChoice(name, which) {
    const strikes = listed();
    const label = t(`whatif.${name}`);
    if (!strikes.length) return labelled(`whatif.${name}`, freeStrike(name, which));
    if (!strikes.includes(position.strikes[which])) strikes.push(position.strikes[which]);
    strikes.sort((a, b) => a - b);
    const set = (strike) => change({ strikes: position.strikes.with(which, strike) });
    const step = (steps, sign, word) => {
      const next = moved(position.strikes, which, steps, strikes);
      return h("button.button.step", {
        type: "button", name: `${name}${sign}`, disabled: next === null, "aria-label": t(`whatif.${word}`, { name: label }), onclick: () => change({ strikes: next }),
      }, sign);
    };
    const [below, above] = [position.strikes[which - 1] ?? 0, position.strikes[which + 1] ?? Infinity];
    // Not a <label>: it would name the first button.
    return h("div.labelled", {}, h("span", { "aria-hidden": "true" }, label), h("span.stepper", {}, step(-1, "−", "down"),
      h("select.field", { name, "aria-label": label, onchange: (event) => set(Number(event.target.value)) },
        strikes.filter((one) => one > below && one < above)
          .map((one) => h("option", { value: String(one), selected: one === position.strikes[which] }, f().strike(one)))),
      step(1, "+", "up")));
  }

  // Where no strikes are listed any will do.
  function freeStrike(name, which) {
    const set = (event) => {
      const next = position.strikes.with(which, Number(event.target.value));
      if (next.every((one) => one > 0) && next[0] < next[1] && next[1] < next[2]) change({ strikes: next });
      else event.target.value = position.strikes[which];
    };
    return h("input.field", { type: "number", name, min: "0.5", step: "any", value: position.strikes[which], onchange: set });
  }

  function quantityChoice() {
    const set = (event) => {
      const quantity = Math.round(Number(event.target.value));
      if (quantity >= 1 && quantity <= MOST) change({ quantity });
      else event.target.value = position.quantity;
    };
    return labelled("whatif.quantity", h("input.field", { type: "number", name: "quantity", min: "1", max: String(MOST), step: "1", value: position.quantity, onchange: set }));
  }

  write();
  if (!isSame(position, base)) {
    element.setAttribute("aria-busy", "true");
    ask();
  }
  return {
    element,
    // Take a candidate of the search.
    choose(one) {
      change({ expiry: one.expiry, form: one.form, strikes: [one.lower_strike, one.center_strike, one.upper_strike] });
      element.scrollIntoView({ behavior: "smooth", block: "center" });
    },
    close() {
      clearTimeout(timer);
      asking?.abort();
    },
  };
}

const labelled = (key, control) => h("label", {}, h("span", {}, t(key)), control);

// The proposal and the reader's own position, figure by figure.
function outcome(analysis, found, { quantity }) {
  const b = analysis.butterfly;
  const { risk } = analysis.extended;
  const cost = b.is_credit_strategy ? -b.net_debit : b.net_debit;
  const share = (interval) => f().share(interval?.value);
  const rows = [
    ["whatif.cost", f().signedMoney(cost), f().signedMoney(found.cost)],
    ["whatif.outlay", f().signedMoney(SHARES * cost, 0), f().signedMoney(SHARES * found.cost, 0)],
    ["figure.maxProfit", f().money(b.max_profit), f().money(found.max_profit)],
    ["figure.maxLoss", f().money(b.max_loss), f().money(found.max_loss)],
    ["figure.breakevens", [b.breakeven_lower, b.breakeven_upper].filter(Boolean).map((one) => f().money(one)).join(" – "), found.breakevens.map((one) => f().money(one)).join(" – ") || "–"],
    ...["market", "forecast", "empirical"].map((name) => [`whatif.pop.${name}`, share(risk[`pop_${name}`]), share(found.risk[`pop_${name}`])]),
    ...["market", "forecast", "empirical", "worst"].map((name) => [`whatif.ev.${name}`, money(risk[`ev_${name}`]), money(found.risk[`ev_${name}`])]),
    ["probability.cvar", money(risk.cvar_95), money(found.risk.cvar_95)],
    ["probability.maxLoss", f().share(risk.prob_max_loss), f().share(found.risk.prob_max_loss)],
    ["probability.kelly", f().share(risk.kelly_fraction), f().share(found.risk.kelly_fraction)],
    ...["delta", "gamma", "vega", "theta"].map((name) => [`greek.${name}`, f().signed(b.greeks[name], PLACES[name]), f().signed(found.greeks[name], PLACES[name])]),
  ];
  const half = Math.ceil(rows.length / 2);
  const part = (some) => h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("whatif.figure")), h("th.end", { scope: "col" }, t("whatif.proposed")),
      h("th.end", { scope: "col" }, t("whatif.own", { count: quantity })))),
    h("tbody", {}, some.map(([key, one, other]) => h("tr", { "data-figure": key }, h("th", { scope: "row" }, t(key)), h("td.end", {}, one), h("td.end.own", {}, other)))));
  return [
    h("div.halves", {}, part(rows.slice(0, half)), part(rows.slice(half))),
    found.notes.length ? h("p.hint", {}, found.notes.map((note) => tCode("quality", note.code)).join(" · ")) : null,
    h("details", {}, h("summary", {}, t("whatif.legs")), legsTable(found.legs, found.greeks, "whatif")),
  ];
}
