// Scans and their ranking: begin one, follow it, and read what it came to.

import { getJson } from "../api.js";
import { h, put } from "../dom.js";
import { t, tCode } from "../i18n.js";
import { formatRoute, replace } from "../router.js";
import { makeControl } from "../scan/control.js";
import { rankingPanel } from "../scan/ranking.js";

const MOST_ROWS = 1000;

export function openScan(into, route) {
  let filter = route.query; // and then what the reader makes of it: a ranking that is loaded anew keeps it
  const ranking = h("div");
  const control = makeControl({ onScanned: (any) => (any ? loadRanking() : noRanking()) });
  let closed = false;
  let loads = 0; // of rankings: an answer that was overtaken by a later question is not shown
  put(into, h("div.stack", {}, h("h1.unseen", {}, t("nav.scan")), control.element, ranking));

  function noRanking() {
    loads += 1;
    put(ranking, none());
  }

  async function loadRanking() {
    const turn = ++loads;
    const isOld = () => closed || turn !== loads;
    if (!ranking.childNodes.length) put(ranking, h("div.skeleton", { style: { height: "320px" } }));
    try {
      const found = await getJson(`api/rankings?limit=${MOST_ROWS}`);
      if (!isOld()) show(found);
    } catch (error) {
      if (error.code === undefined) throw error;
      if (!isOld()) put(ranking, failed(error));
    }
  }

  // Write the ranking; who is typing a filter goes on typing.
  function show(found) {
    const typing = ranking.contains(document.activeElement) ? document.activeElement.name : "";
    put(ranking, rankingPanel(found, filter, refilter));
    if (typing) ranking.querySelector(`[name="${typing}"]`)?.focus();
  }

  function refilter(query) {
    filter = query;
    replace("scan", "", query);
  }

  const none = () => h("section.panel", {}, h("h2", {}, t("ranking.title")), h("p.empty", {}, t("ranking.none"), " ",
    h("a", { href: formatRoute("watchlist") }, t("nav.watchlist"))));

  const failed = (error) => h("div.problem", { role: "alert" },
    h("p.strong", {}, tCode("error", error.code)), h("p", {}, error.message),
    h("p", {}, h("button.button", { type: "button", onclick: loadRanking }, t("state.now"))));

  return () => {
    closed = true;
    control.close();
  };
}
