// Begin a scan, follow it, cancel it.

import { getJson, postJson } from "../api.js";
import { h, put } from "../dom.js";
import { f, t, tCode } from "../i18n.js";
import { load } from "../store.js";

const UNIVERSES = ["all", "sp500", "nasdaq100", "watchlist"];
const AGAIN_MS = 3000; // until a server that ended the events is asked again

// `onScanned(any)` is called when the state is known first, and whenever a scan has ended, also one that nobody here saw
// running: `any` says whether there is a complete one, and so a ranking.
export function makeControl({ onScanned }) {
  const state = h("div", { "aria-live": "polite" });
  const choice = h("select.field", { "aria-label": t("scan.universe") },
    UNIVERSES.map((name) => h("option", { value: name }, t(`universe.${name}`))));
  const begin = h("button.button.primary", { type: "button", onclick: start }, t("scan.begin"));
  const stop = h("button.button", { type: "button", onclick: cancel }, t("scan.cancel"));
  const said = h("p.hint", { role: "status" });
  const form = h("div.row", {}, choice, begin, stop);
  const element = h("section.panel.scan", { "aria-labelledby": "scan" },
    h("div.row.between", {}, h("h2", { id: "scan" }, t("scan.title")), form), state, said);
  let events = null;
  let heard = null; // what the events told last
  let again = null;
  let closed = false;
  let running = null; // not known yet
  let lastScan = null;

  async function start() {
    const universe = choice.value === "watchlist" ? (load("tickers") ?? []) : choice.value;
    await tried(async () => {
      const begun = await postJson("api/scan", { universe });
      const left = begun.left_out?.length ? ` ${t("scan.leftOut", { count: begun.left_out.length })} ${begun.left_out[0].text}` : "";
      said.textContent = t("scan.begun", { count: begun.total ?? 0 }) + left;
    });
    if (!closed) follow();
  }

  async function cancel() {
    await tried(async () => {
      await postJson("api/scan/cancel", null);
      said.textContent = t("scan.cancelling");
    });
  }

  async function tried(work) {
    begin.disabled = stop.disabled = true;
    said.textContent = "";
    try {
      await work();
    } catch (error) {
      if (error.code === undefined) throw error;
      said.textContent = `${tCode("error", error.code)} ${error.message}`;
    }
    await look();
  }

  // Ask once; then the server tells of every change. What it told while the answer was on its way may be newer than
  // the answer, and nothing would ever correct an older one: it stands.
  async function look() {
    const before = heard;
    try {
      const status = await getJson("api/scan/status");
      show(heard === before ? status : heard);
    } catch (error) {
      if (error.code === undefined) throw error;
      form.hidden = error.status === 404;
      begin.disabled = false;
      if (error.status === 404) onScanned(false);
      put(state, h("p.muted", {}, error.status === 404 ? t("scan.absent") : tCode("error", error.code)));
      return error.status === 404 ? "absent" : "unanswered";
    }
    return "known";
  }

  function follow() {
    if (events !== null) return;
    events = new EventSource("api/scan/events");
    events.addEventListener("message", (event) => {
      heard = JSON.parse(event.data);
      show(heard);
    });
    // A browser comes back after a lost connection by itself, but not after an answer like "not ready".
    events.addEventListener("error", () => {
      if (events?.readyState !== EventSource.CLOSED) return;
      events = null;
      if (!closed) again = setTimeout(attend, AGAIN_MS);
    });
  }

  async function attend() {
    const found = await look();
    if (closed) return;
    if (found === "known") follow();
    else if (found === "unanswered") again = setTimeout(attend, AGAIN_MS);
  }

  function show(status) {
    begin.disabled = status.is_scanning;
    stop.disabled = !status.is_scanning;
    stop.hidden = !status.is_scanning;
    put(state, status.is_scanning ? progress(status) : rested(status));
    const ended = (running && !status.is_scanning) || (status.last_scan !== null && status.last_scan !== lastScan);
    const first = running === null;
    running = status.is_scanning;
    lastScan = status.last_scan ?? lastScan; // a server that has only begun does not know of any yet
    if (first || ended) onScanned(lastScan !== null);
  }

  attend();
  return {
    element,
    close: () => {
      closed = true;
      events?.close();
      clearTimeout(again);
    },
  };
}

function progress(status) {
  const words = [
    t("scan.progress", { done: f().integer(status.done), total: f().integer(status.total) }),
    status.failed ? t("scan.failed", { count: f().integer(status.failed) }) : null,
    Number.isFinite(status.eta_s) ? t("scan.eta", { seconds: f().integer(Math.ceil(status.eta_s)) }) : null,
  ];
  return [
    h("progress", { max: "100", value: status.progress, "aria-label": t("scan.title") }),
    h("p", {}, h("strong", {}, f().percent(status.progress, 0)), " · ", words.filter(Boolean).join(" · ")),
  ];
}

function rested(status) {
  const words = [
    status.last_scan ? t("scan.last", { time: f().instant(status.last_scan) }) : t("scan.never"),
    status.next_scan ? t("scan.next", { time: f().instant(status.next_scan) }) : null,
    status.state && !["idle", "completed"].includes(status.state) ? tCode("scanState", status.state) : null,
    status.failed ? t("scan.failed", { count: f().integer(status.failed) }) : null,
  ];
  return h("p.muted", {}, words.filter(Boolean).join(" · "));
}
