// One ticker in depth: the verdict first, then the evidence, then the reader's own variations.

import { analyzeFull } from "../api.js";
import { h, put } from "../dom.js";
import { f, t, tCode } from "../i18n.js";
import { replace } from "../router.js";
import { banner } from "../shell.js";
import { isSymbol } from "../symbols.js";
import { makeChart } from "../charts/frame.js";
import { fanChart } from "../charts/fan.js";
import { payoffChart } from "../charts/payoff.js";
import { smileChart } from "../charts/smile.js";
import { spectrumChart } from "../charts/spectrum.js";
import { termChart, volatilityChart } from "../charts/volatility.js";
import { candidatesPanel } from "../analyzer/candidates.js";
import { legsPanel } from "../analyzer/legs.js";
import { probabilitiesPanel } from "../analyzer/probabilities.js";
import { expiriesPanel, gradeChip, qualityPanel } from "../analyzer/quality.js";
import { scorePanel } from "../analyzer/score.js";
import { ticketPanel } from "../analyzer/ticket.js";
import { verdictPanel } from "../analyzer/verdict.js";
import { makeWhatIf } from "../analyzer/whatif.js";

const AGAIN_S = 5;

export function openAnalyzer(into, route, shell) {
  const ticker = route.argument.toUpperCase();
  if (!isSymbol(ticker)) {
    put(into, h("div.problem", {}, t("analyzer.noTicker", { ticker })));
    return undefined;
  }
  const parts = []; // what has to be closed
  let query = route.query; // and then what the reader makes of it: an analysis that is loaded anew keeps it
  let leaving = new AbortController();
  let timer = null;

  function closeParts() {
    parts.splice(0).forEach((part) => part.close());
  }

  async function load() {
    clearTimeout(timer);
    leaving.abort();
    leaving = new AbortController();
    closeParts();
    put(into, waiting(ticker));
    try {
      show(await analyzeFull(ticker, leaving.signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.code === undefined) throw error; // a defect of this page: the console should have it
      fail(error);
    }
  }

  function fail(error) {
    const again = error.passes ? (error.retryAfter ?? AGAIN_S) : null;
    put(into, h("div.stack", {},
      h("h1", {}, ticker),
      h("div.problem", { role: "alert" },
        h("p.strong", {}, tCode("error", error.code)),
        error.message && h("p", {}, error.message),
        h("p", {}, tCode("remedy", error.code)),
        h("p", {}, h("button.button", { type: "button", onclick: load }, t("state.now"))))));
    if (again !== null) timer = setTimeout(load, 1000 * again);
  }

  function show(item) {
    const analysis = item.data;
    const redraws = page(into, analysis, query, parts, (next) => {
      query = next;
      replace("analyze", analysis.ticker, query);
    });
    const { stale } = analysis.extended;
    if (item.stale || stale) {
      const time = item.stale ? 1000 * item.as_of : analysis.extended.as_of;
      shell.note("stale", () => banner("trouble", t("banner.stale", { time: f().instant(time) }),
        h("button.button", { type: "button", onclick: load }, t("state.now"))));
    } else shell.clearNote("stale");
    into.querySelector(".reload").addEventListener("click", load);
    redraws();
  }

  load();
  return () => {
    clearTimeout(timer);
    leaving.abort();
    closeParts();
  };
}

function waiting(ticker) {
  const box = (height) => h("div.skeleton", { style: { height } });
  return h("div.stack", { "aria-busy": "true" },
    h("h1", {}, ticker), h("p.muted", { role: "status" }, t("analyzer.loading", { ticker })), box("150px"), box("340px"), box("220px"));
}

// Write the page of an analysis; gives what draws its charts, one after the other. `onQuery` is told what to put into
// the address.
function page(into, analysis, query, parts, onQuery) {
  let own = null;
  const add = (part) => {
    parts.push(part);
    return part;
  };
  const payoff = add(makeChart("payoff", (colours) => payoffChart(analysis, own)(colours)));
  const whatIf = add(makeWhatIf(analysis, query, {
    onAnswer(found) {
      own = found?.payoff ?? null;
      payoff.redraw();
    },
    onChange: onQuery,
  }));
  const charts = [
    payoff,
    add(makeChart("fan", fanChart(analysis))),
    add(makeChart("volatility", volatilityChart(analysis))),
    ...smileAndTerm(analysis, add),
    add(makeChart("spectrum", spectrumChart(analysis))),
  ];
  const [, fan, volatility, ...rest] = charts;
  put(into, h("div.analyzer.stack", {},
    heading(analysis),
    h("div.verdict-row", {}, verdictPanel(analysis), ticketPanel(analysis)),
    h("div.payoff-row", {}, payoff.element, probabilitiesPanel(analysis)),
    whatIf.element,
    legsPanel(analysis),
    h("div.charts", {}, [fan, volatility, ...rest].map((chart) => chart.element), scorePanel(analysis)),
    candidatesPanel(analysis, whatIf.choose),
    h("div.data-row", {}, qualityPanel(analysis), expiriesPanel(analysis))));
  return async () => {
    for (const chart of charts) await chart.redraw();
  };
}

// The two charts that need quotes.
function smileAndTerm(analysis, add) {
  const slices = analysis.extended.chain;
  if (!slices.length) return [];
  const traded = analysis.extended.legs[0]?.expiry;
  let slice = slices.find((one) => one.expiry === traded) ?? slices[0];
  const choice = h("select.field", { "aria-label": t("axis.expiry"), onchange: (event) => choose(event.target.value) },
    slices.map((one) => h("option", { value: one.expiry, selected: one === slice }, t("smile.expiry", { day: f().day(one.expiry), days: one.dte }))));
  const chart = add(makeChart("smile", (colours) => smileChart(analysis, slice)(colours), [choice]));
  function choose(expiry) {
    slice = slices.find((one) => one.expiry === expiry);
    chart.redraw();
  }
  return [chart, add(makeChart("term", termChart(analysis)))];
}

function heading(analysis) {
  const { extended: x, ticker } = analysis;
  const share = async (event) => {
    const button = event.currentTarget;
    await navigator.clipboard.writeText(location.href);
    button.textContent = t("analyzer.copied");
  };
  return h("div.heading.row.between", {},
    h("div", {},
      h("div.row", {}, h("h1", {}, ticker), h("span.name.muted", {}, x.name === ticker ? "" : x.name), gradeChip(x.quality)),
      h("p.row", {},
        h("strong.spot", {}, f().money(analysis.current_price)),
        h("span.muted", {}, t("analyzer.asOf", { time: f().instant(x.as_of), source: tCode("source", x.source) })))),
    h("div.row", {},
      // Browsers give no clipboard to a page that came without TLS.
      navigator.clipboard && h("button.button", { type: "button", onclick: share }, t("analyzer.share")),
      h("button.button.reload", { type: "button" }, t("watchlist.refresh"))));
}
