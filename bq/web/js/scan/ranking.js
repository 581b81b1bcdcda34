// The ranking of a scan as a table: with intervals, filters, the difference to the scan before, and as a file.

import { h, put } from "../dom.js";
import { f, t, tCode } from "../i18n.js";
import { formatRoute } from "../router.js";
import { money } from "../analyzer/probabilities.js";
import { COLUMNS, fitting, ordered, tagsOf, toCsv } from "./rows.js";

const TEXTS = new Set(["ticker", "recommendation", "strategy", "expiry"]);
const TONES = { STRONG_BUY: "buy", BUY: "buy", NEUTRAL: "watch", AVOID: "avoid" };
const SHOWN = 100; // rows at first, and with each "more"

// `onFilter(query)` is told what to put into the address.
export function rankingPanel(found, query, onFilter) {
  const rows = found.data;
  const filter = { text: "", tag: "", strategy: "", recommendation: "", min_score: "", sort: "rank", ...query };
  let shown = SHOWN;
  const body = h("tbody");
  const head = h("tr");
  const count = h("p.hint", { role: "status" });
  const more = h("button.button", { type: "button", onclick: () => { shown += SHOWN; write(); } });
  const chosen = () => ordered(fitting(rows, filter), filter.sort);

  function change(next) {
    Object.assign(filter, next);
    shown = SHOWN;
    onFilter(Object.fromEntries(Object.entries(filter).filter(([name, value]) => value && !(name === "sort" && value === "rank"))));
    write();
  }

  function write() {
    const all = chosen();
    put(head, COLUMNS.map(heading));
    put(body, all.slice(0, shown).map(line), !all.length && h("tr", {}, h("td", { colspan: String(COLUMNS.length) }, t("ranking.nothingFits"))));
    count.textContent = t("ranking.count", { shown: Math.min(shown, all.length), fitting: all.length, total: rows.length });
    more.textContent = t("ranking.more", { count: Math.min(SHOWN, all.length - shown) });
    more.hidden = all.length <= shown;
  }

  function heading(column) {
    const own = filter.sort.replace(/^-/, "") === column;
    const back = filter.sort.startsWith("-");
    const falls = own && (["rank", "ticker", "expiry"].includes(column) ? back : !back);
    const turn = () => change({ sort: own && !back ? `-${column}` : column });
    return h(TEXTS.has(column) ? "th" : "th.end", { scope: "col", "aria-sort": own ? (falls ? "descending" : "ascending") : null },
      h("button.sort", { type: "button", onclick: turn }, t(`column.${column}`), h("span", { "aria-hidden": "true" }, own ? (falls ? " ↓" : " ↑") : "")));
  }

  const select = (name, values, textOf) => h("select.field", { name, "aria-label": t(`filter.${name}`), onchange: (event) => change({ [name]: event.target.value }) },
    h("option", { value: "" }, t(`filter.${name}`)),
    values.map((value) => h("option", { value, selected: filter[name] === value }, textOf(value))));

  const filters = h("div.filters", {},
    h("input.field", { type: "search", name: "text", "aria-label": t("filter.text"), placeholder: t("filter.text"), value: filter.text, oninput: (event) => change({ text: event.target.value }) }),
    select("tag", tagsOf(rows), (tag) => tag),
    select("strategy", ["CALL", "PUT", "IRON"], (form) => t(`form.${form}`)),
    select("recommendation", Object.keys(TONES), (value) => t(`recommendation.${value}`)),
    h("input.field", { type: "number", name: "min_score", min: "0", max: "100", step: "5", "aria-label": t("filter.min_score"), placeholder: t("filter.min_score"), value: filter.min_score, oninput: (event) => change({ min_score: event.target.value }) }));

  write();
  return h("section.panel.ranking", { "aria-labelledby": "ranking" },
    h("div.row.between", {},
      h("div", {}, h("h2", { id: "ranking" }, t("ranking.title")), h("p.hint", {}, origin(found))),
      h("button.button", { type: "button", onclick: () => save(found, chosen()) }, t("ranking.export"))),
    filters, count,
    h("div.scroll", { tabindex: "0", role: "region", "aria-labelledby": "ranking" }, h("table", {}, h("thead", {}, head), body)),
    more,
    found.left?.length ? h("p.hint", {}, t("ranking.left", { tickers: found.left.join(", ") })) : null);
}

function origin(found) {
  const words = [t("ranking.asOf", { time: f().instant(found.as_of) })];
  if (found.scan) words.push(t("ranking.scan", { universe: tCode("universe", found.scan.universe), time: f().instant(found.scan.finished_at) }));
  words.push(found.previous ? t("ranking.previous", { time: f().instant(found.previous.finished_at) }) : t("ranking.noPrevious"));
  return words.join(" · ");
}

function line(row) {
  const end = (content) => h("td.end", {}, content);
  return h("tr", { "data-ticker": row.ticker },
    end(rankOf(row)),
    h("th", { scope: "row" }, h("a", { href: formatRoute("analyze", row.ticker) }, row.ticker), row.name ? h("small.muted", {}, row.name) : null),
    end(scoreOf(row)),
    h("td", {}, h(`span.chip.${TONES[row.recommendation]}`, {}, t(`recommendation.${row.recommendation}`))),
    h("td", {}, t(`form.${row.strategy}`), h("small.muted", {}, f().strikes([row.lower, row.center, row.upper]))),
    h("td", {}, f().day(row.expiry)),
    end(f().money(row.price)),
    end([f().money(row.net_debit), h("small.muted", {}, t(row.is_credit_strategy ? "figure.credit" : "figure.debit"))]),
    end(f().money(row.max_loss)), end(f().number(row.profit_ratio)), end(f().percent(row.prob_profit)),
    end(money(row.ev_worst)), end(f().signedPercent(row.vol_mispricing)), end(changeOf(row)));
}

function rankOf(row) {
  const interval = row.rank_low === null || row.rank_low === undefined || row.rank_low === row.rank_high ? null : `${row.rank_low}–${row.rank_high}`;
  return [h("strong", {}, f().integer(row.rank)), row.tied > 1 ? " =" : "", interval && h("small.muted", {}, interval)];
}

function scoreOf(row) {
  const known = Number.isFinite(row.score_low);
  return [h("strong", {}, f().number(row.score, 1)), known && h("small.muted", {}, `${f().number(row.score_low, 0)}–${f().number(row.score_high, 0)}`)];
}

// The difference to the scan before, and what made the most of it.
function changeOf({ change }) {
  if (!change) return h("span.muted", {}, t("ranking.new"));
  const parts = Object.entries(change.points ?? {}).filter(([, value]) => Math.abs(value) >= 0.05).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const title = parts.map(([name, value]) => `${t(`score.${name}`)} ${f().signed(value, 1)}`).join(", ");
  return h("span", { title }, h(change.score > 0 ? "span.gain" : change.score < 0 ? "span.loss" : "span", {}, f().signed(change.score, 1)),
    h("small.muted", {}, parts.length ? `${t(`score.${parts[0][0]}`)} ${f().signed(parts[0][1], 1)}` : t("ranking.places", { places: f().signed(change.rank, 0) })));
}

function save(found, rows) {
  const link = h("a", { href: URL.createObjectURL(new Blob(["\ufeff", toCsv(rows)], { type: "text/csv" })), download: `butterquant-${found.as_of.slice(0, 10)}.csv` });
  link.click();
  URL.revokeObjectURL(link.href);
}
