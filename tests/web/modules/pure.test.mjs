// The page's pure modules: symbols, addresses, numbers, dates, positions, rankings.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromQuery, legsOf, moved, snapped, toQuery } from "../../../bq/web/js/analyzer/position.js";
import { withYears } from "../../../bq/web/js/dates.js";
import { makeFormats } from "../../../bq/web/js/format.js";
import { formatRoute, parseRoute } from "../../../bq/web/js/router.js";
import { fitting, ordered, toCsv } from "../../../bq/web/js/scan/rows.js";
import { parseTickers } from "../../../bq/web/js/symbols.js";
import { sorted } from "../../../bq/web/js/verdict.js";

test("tickers are found whatever separates them, once each", () => {
  const { tickers, rejected } = parseTickers(" aapl, MSFT;nvda\n$TSLA\tBRK-B，^gspc、AAPL 7203.T toolongasymbol1234 <b>");
  assert.deepEqual(tickers, ["AAPL", "MSFT", "NVDA", "TSLA", "BRK-B", "^GSPC", "7203.T"]);
  assert.deepEqual(rejected, ["toolongasymbol1234", "<b>"]);
  assert.deepEqual(parseTickers(" \n"), { tickers: [], rejected: [] });
});

test("an address survives being written and read", () => {
  const query = { expiry: "2026-12-24", strikes: "210,240,270" };
  assert.deepEqual(parseRoute(formatRoute("analyze", "^GSPC", query)), { view: "analyze", argument: "^GSPC", query });
  assert.deepEqual(parseRoute(""), { view: "watchlist", argument: "", query: {} });
  assert.equal(parseRoute("#/analyze/%E0%A4%A").argument, "%E0%A4%A");
  assert.equal(formatRoute("scan", "", { tag: "", sort: "rank" }), "#/scan?sort=rank");
});

test("numbers carry their units, a true minus, and a dash where there is none", () => {
  const f = makeFormats("en");
  assert.equal(f.money(1234.5), "$1,234.50");
  assert.equal(f.breakeven(207.596), "$207.60");
  assert.equal(f.breakeven(0), "–"); // the API's word for none
  assert.equal(f.signedMoney(-1.575), "−$1.58");
  assert.equal(f.signedMoney(4.55), "+$4.55");
  assert.equal(f.share(0.436064), "43.6 %");
  assert.equal(f.signedPercent(-12.7847), "−12.8 %");
  assert.equal(f.strike(1075), "1075");
  assert.equal(f.strike(157.5), "157.5");
  assert.equal(f.money(null), "–");
  assert.equal(f.number(Number.NaN), "–");
  assert.equal(makeFormats("zh").money(-3), "−$3.00");
});

test("an instant is told on the exchange's clock, with its zone, also in summer", () => {
  assert.equal(makeFormats("en").instant("2026-11-24T21:00:00+00:00"), "Nov 24, 2026, 16:00 EST");
  assert.equal(makeFormats("en").instant("2026-08-21T14:59:01+00:00"), "Aug 21, 2026, 10:59 EDT");
  assert.match(makeFormats("zh").instant("2026-11-24T21:00:00+00:00"), /^2026年11月24日 16:00 EST$/);
  assert.equal(makeFormats("en").day("2026-12-24"), "Dec 24, 2026");
});

test("labels of days get their years back, across a new year and on both sides of now", () => {
  assert.deepEqual(withYears(["12/30", "12/31", "01/02", "01/05"], "2027-01-05T21:00:00Z"), ["2026-12-30", "2026-12-31", "2027-01-02", "2027-01-05"]);
  assert.deepEqual(withYears(["12/23", "12/24", "12/28", "01/04"], "2026-12-24T18:00:00Z", 1), ["2026-12-23", "2026-12-24", "2026-12-28", "2027-01-04"]);
  // the last close is last year's where the moment of the data is the first day of the next
  assert.deepEqual(withYears(["12/30", "12/31", "01/04"], "2027-01-01T15:00:00Z", 1), ["2026-12-30", "2026-12-31", "2027-01-04"]);
});

const base = { expiry: "2026-12-24", form: "IRON", strikes: [210, 240, 270], quantity: 1 };

test("a position survives its address, and nonsense in an address is left out", () => {
  const own = { expiry: "2027-01-15", form: "CALL", strikes: [220, 240, 260.5], quantity: 3 };
  assert.deepEqual(fromQuery(parseRoute(formatRoute("analyze", "A", toQuery(own, base))).query, base), own);
  assert.deepEqual(toQuery(base, base), {});
  assert.deepEqual(fromQuery({ expiry: "x", form: "BAT", strikes: "3,2,1", quantity: "-4" }, base), base);
  assert.deepEqual(fromQuery({ strikes: "1,2", quantity: "1.5" }, base), base);
});

test("a butterfly is long its wings and short two at the centre, in every form", () => {
  const net = (form) => legsOf({ ...base, form, quantity: 2 }).map((leg) => [leg.type, leg.strike, leg.quantity]);
  assert.deepEqual(net("CALL"), [["call", 210, 2], ["call", 240, -4], ["call", 270, 2]]);
  assert.deepEqual(net("PUT"), [["put", 210, 2], ["put", 240, -4], ["put", 270, 2]]);
  assert.deepEqual(net("IRON"), [["put", 210, 2], ["put", 240, -2], ["call", 240, -2], ["call", 270, 2]]);
});

test("strikes move along the listed ones and never through each other", () => {
  const listed = [200, 210, 220, 230, 240, 250];
  assert.deepEqual(moved([210, 230, 250], 0, 1, listed), [220, 230, 250]);
  assert.equal(moved([220, 230, 250], 0, 1, listed), null);
  assert.equal(moved([210, 230, 250], 2, 1, listed), null);
  assert.equal(moved([205, 230, 250], 0, 1, listed), null);
  assert.deepEqual(snapped([208, 233, 900], listed), [210, 230, 250]);
  assert.deepEqual(snapped([1, 2, 3], listed), [200, 210, 220]);
  assert.equal(snapped([1, 2, 3], [200, 210]), null);
});

const analysis = (action, total, probability) => ({
  trade_suggestion: { action }, score: { total }, garch: { vol_mispricing: -total }, butterfly: { prob_profit: probability },
});

test("cards are ordered by what is asked for, and those without an answer come last", () => {
  const known = { A: analysis("AVOID", 90, 10), B: analysis("BUY", 70, 30), C: analysis("WATCH", 60, 50) };
  const order = (by) => sorted(["D", "A", "B", "C"], by, (ticker) => known[ticker] ?? null).join("");
  assert.equal(order("added"), "DABC");
  assert.equal(order("ticker"), "ABCD");
  assert.equal(order("score"), "ABCD");
  assert.equal(order("verdict"), "BCAD");
  assert.equal(order("probability"), "CBAD");
});

const row = (rank, ticker, score, more = {}) => ({
  rank, ticker, score, name: null, tags: ["SP500"], strategy: "CALL", recommendation: "AVOID", change: null, ...more,
});

test("a ranking is filtered by every word and ordered with missing values last", () => {
  const rows = [row(1, "AAA", 80, { change: { score: -2 } }), row(2, "BBB", 60, { tags: [], name: "Bee" }), row(3, "CCC", 40, { change: { score: 5 } })];
  const names = (found) => found.map((one) => one.ticker).join();
  assert.equal(names(fitting(rows, { text: "bee" })), "BBB");
  assert.equal(names(fitting(rows, { tag: "SP500", min_score: "50" })), "AAA");
  assert.equal(names(fitting(rows, { recommendation: "BUY" })), "");
  assert.equal(names(ordered(rows, "score")), "AAA,BBB,CCC");
  assert.equal(names(ordered(rows, "-score")), "CCC,BBB,AAA");
  assert.equal(names(ordered(rows, "change")), "CCC,AAA,BBB");
  assert.equal(names(ordered(rows, "-rank")), "CCC,BBB,AAA");
});

test("a file for spreadsheets quotes what must be quoted and holds no formula", () => {
  const [head, line] = toCsv([row(1, "AAA", 80, { name: '=cmd|"x", y', tags: ["NASDAQ", "SP500"], ev_worst: -1.5 })]).split("\r\n");
  assert.ok(head.startsWith("rank,rank_low,"));
  assert.ok(line.includes(`"'=cmd|""x"", y"`));
  assert.ok(line.includes("NASDAQ SP500"));
  assert.ok(line.includes(",-1.5,"));
  assert.equal(head.split(",").length, 33);
});
