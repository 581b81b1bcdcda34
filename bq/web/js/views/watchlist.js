// The watchlist: many tickers at once, each as soon as it is known.

import { h, put } from "../dom.js";
import { f, t, tCode } from "../i18n.js";
import { load, save } from "../store.js";
import { parseTickers } from "../symbols.js";
import { sorted, toneOf } from "../verdict.js";
import { REFRESH_S, watch } from "../watch.js";
import { banner } from "../shell.js";
import { card } from "./card.js";

const SORT_NAMES = ["added", "verdict", "score", "edge", "probability", "ticker"];

export function openWatchlist(into, route, shell) {
  let sort = load("sort") ?? "added";
  const cards = new Map(); // ticker -> element
  const grid = h("div.cards", { "aria-live": "off" });
  const counts = h("p.counts", { role: "status" });
  const updated = h("span.hint");
  const said = h("p.hint", { role: "status" });

  put(into, h("div.stack", {},
    h("h1.unseen", {}, t("nav.watchlist")),
    adder((text) => add(text)),
    said,
    h("div.list-head", {},
      counts, updated,
      h("label", {}, t("watchlist.sort"), sorter()),
      h("button.button", { type: "button", onclick: () => watch.refresh() }, t("watchlist.refresh"))),
    grid,
    legend()));

  function add(text) {
    const { tickers, rejected } = parseTickers(text);
    const added = watch.add(tickers);
    const words = [];
    if (tickers.length) words.push(t("watchlist.added", { count: added }));
    if (tickers.length > added) words.push(t("watchlist.already", { count: tickers.length - added }));
    if (rejected.length) words.push(t("watchlist.rejected", { words: rejected.slice(0, 5).join(" ") }));
    if (!words.length) words.push(t("watchlist.nothing"));
    said.textContent = words.join(" ");
    return tickers.length > 0;
  }

  function sorter() {
    const change = (event) => {
      sort = event.target.value;
      save("sort", sort);
      arrange();
    };
    return h("select.field", { onchange: change },
      SORT_NAMES.map((name) => h("option", { value: name, selected: name === sort }, t(`sort.${name}`))));
  }

  const analysisOf = (ticker) => watch.known.get(ticker)?.data ?? null;

  function draw(ticker) {
    const made = card(ticker, watch.nameOf(ticker), watch.known.get(ticker), (one) => watch.remove(one));
    cards.get(ticker)?.replaceWith(made);
    cards.set(ticker, made);
    return made;
  }

  // Put the cards in order; those that stand right already are not touched, so that the focus stays where it is.
  function arrange() {
    const order = sorted(watch.tickers, sort, analysisOf);
    for (const [ticker, element] of cards) {
      if (watch.tickers.includes(ticker)) continue;
      element.remove();
      cards.delete(ticker);
    }
    if (!order.length) {
      put(grid, h("p.empty", {}, t("watchlist.empty")));
      count();
      return;
    }
    grid.querySelector(".empty")?.remove();
    order.forEach((ticker, i) => {
      const element = cards.get(ticker) ?? draw(ticker);
      if (grid.children[i] !== element) grid.insertBefore(element, grid.children[i] ?? null);
    });
    count();
  }

  function count() {
    const tones = { buy: 0, watch: 0, avoid: 0, error: 0 };
    for (const ticker of watch.tickers) {
      const item = watch.known.get(ticker);
      if (item) tones[item.status === "ok" ? toneOf(item.data) : "error"] += 1;
    }
    const parts = Object.entries(tones).filter(([, n]) => n).map(([tone, n]) => t(`count.${tone}`, { count: n }));
    const open = watch.tickers.filter((ticker) => !watch.known.has(ticker)).length;
    if (open) parts.push(t("count.open", { count: open }));
    put(counts, h("span.strong", {}, t("count.all", { count: watch.tickers.length })), parts.length ? ` · ${parts.join(" · ")}` : "");
  }

  function state() {
    updated.textContent = watch.refreshedAt ? t("watchlist.updated", { time: f().clock(watch.refreshedAt) }) : "";
    if (watch.trouble) shell.note("trouble", troubled);
    else shell.clearNote("trouble");
  }

  const onItem = (event) => {
    draw(event.detail);
    if (sort === "added" || sort === "ticker") count();
    else arrange();
  };
  // While the page is looked at, prices may be a minute old, not more.
  const freshen = () => {
    const due = watch.refreshedAt === null || Date.now() - watch.refreshedAt >= 1000 * REFRESH_S;
    if (document.visibilityState === "visible" && due && !watch.trouble && !watch.waiting.size) watch.refresh();
  };

  watch.addEventListener("item", onItem);
  watch.addEventListener("list", arrange);
  watch.addEventListener("state", state);
  document.addEventListener("visibilitychange", freshen);
  const timer = setInterval(freshen, 5000);
  if (watch.tickers.length) arrange();
  state();
  watch.start().then(freshen);

  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", freshen);
    watch.removeEventListener("item", onItem);
    watch.removeEventListener("list", arrange);
    watch.removeEventListener("state", state);
  };
}

// A box for tickers: one line to type in, as many as are pasted.
function adder(onAdd) {
  const box = h("textarea.field", {
    rows: "1", name: "tickers", "aria-label": t("watchlist.add"), placeholder: t("watchlist.placeholder"),
    autocomplete: "off", autocapitalize: "characters", spellcheck: "false",
  });
  const submit = (event) => {
    event.preventDefault();
    if (onAdd(box.value)) box.value = "";
    box.focus();
  };
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  });
  return h("form.adder", { onsubmit: submit }, box, h("button.button.primary", { type: "submit" }, t("watchlist.addButton")));
}

function troubled() {
  const { error } = watch.trouble;
  return banner("trouble", tCode("error", error.code), " ", t("state.again"),
    h("button.button", { type: "button", onclick: () => watch.retry() }, t("state.now")));
}

function legend() {
  return h("p.legend", {},
    ["band", "strike", "profit", "spot"].map((name) => h("span", {}, h(`i.of-${name}`), t(`legend.${name}`))));
}
