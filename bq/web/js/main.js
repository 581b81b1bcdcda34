// Where the page begins: the shell, and the view that the address names.

import { h, put } from "./dom.js";
import * as i18n from "./i18n.js";
import { parseRoute } from "./router.js";
import { makeShell } from "./shell.js";
import { openWatchlist } from "./views/watchlist.js";

const { t } = i18n;

// A view's `open(into, route)` fills an element and gives a function that ends it. Those beyond the first are fetched
// when they are asked for.
const VIEWS = {
  watchlist: async () => openWatchlist,
  analyze: async () => (await import("./views/analyzer.js")).openAnalyzer,
  scan: async () => (await import("./views/scan.js")).openScan,
};

const shell = makeShell({ onRedraw: render });
let close = () => {};
let renders = 0;

async function render() {
  const turn = ++renders;
  const route = parseRoute(location.hash);
  shell.show(route);
  const load = VIEWS[route.view];
  let open;
  try {
    open = load && (await load());
  } catch {
    // The server has been updated since this page was loaded: its files have other addresses now.
    open = (into) => put(into, outdated());
  }
  if (turn !== renders) return; // another address was asked for in the meantime
  close();
  close = () => {};
  shell.clearNotes();
  close = (open ?? unknown)(shell.main, route, shell) ?? (() => {});
}

function outdated() {
  return h("div.problem", { role: "alert" },
    h("p", {}, t("page.outdated")),
    h("p", {}, h("button.button", { type: "button", onclick: () => location.reload() }, t("page.reload"))));
}

function unknown(into) {
  put(into, h("div.problem", {}, h("p", {}, t("page.unknown")), h("p", {}, h("a", { href: "#/watchlist" }, t("nav.watchlist")))));
}

i18n.apply();
put(document.getElementById("app"), shell.elements);
addEventListener("hashchange", () => {
  render();
  scrollTo(0, 0);
});
render();
