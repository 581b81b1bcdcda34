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
  const control = makeControl({ onScanned: (any) => (any ? loadRanking() : put(ranking, none())) });
  let closed = false;
  put(into, h("div.stack", {}, h("h1.unseen", {}, t("nav.scan")), control.element, ranking));

  async function loadRanking() {
    if (!ranking.childNodes.length) put(ranking, h("div.skeleton", { style: { height: "320px" } }));
    try {
      const found = await getJson(`api/rankings?limit=${MOST_ROWS}`);
      if (!closed) put(ranking, rankingPanel(found, filter, refilter));
    } catch (error) {
      if (error.code === undefined) throw error;
      if (!closed) put(ranking, failed(error));
    }
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
