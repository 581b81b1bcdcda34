// How far the data can be trusted: the grade, its reasons with counts, and what each expiry's quotes came to.

import { h, table } from "../dom.js";
import { f, t, tCode } from "../i18n.js";

export function gradeChip(quality) {
  return h(`span.chip.grade.${quality.grade}`, { title: t(`grade.${quality.grade}`) },
    quality.grade === "none" ? t("grade.noneShort") : t("grade.short", { grade: quality.grade }));
}

export function qualityPanel(analysis) {
  const { quality } = analysis.extended;
  return h("section.panel.quality", { "aria-labelledby": "quality" },
    h("div.row", {}, h("h2", { id: "quality" }, t("quality.title")), gradeChip(quality)),
    h("p", {}, t(`grade.${quality.grade}`)),
    quality.reasons.length
      ? table(t("quality.reasons"), [{ title: t("quality.reason") }, { title: t("quality.count"), align: "end" }],
        quality.reasons.map((reason) => [tCode("quality", reason.code), f().integer(reason.count)]), "wrapping")
      : h("p.hint", {}, t("quality.nothing")),
    h("p.hint", {}, t("quality.rate", { source: tCode("rate", quality.rate_source) }), " ",
      t("quality.stamp", { version: analysis.extended.engine_version, hash: analysis.extended.data_hash })));
}

export function expiriesPanel(analysis) {
  const slices = analysis.extended.chain;
  const columns = ["expiry", "dte", "grade", "forward", "carry", "atm", "modelFree", "fitError", "inside"].map((name, i) => ({
    title: t(`expiries.${name}`), align: i ? "end" : "start",
  }));
  const rows = slices.map((one) => [
    f().day(one.expiry), f().integer(one.dte), one.grade, f().money(one.forward), f().share(one.dividend_yield, 2), f().share(one.atm_iv),
    f().share(one.model_free_vol), one.fit_error.toExponential(1).replace("-", "−"), f().share(one.inside_spread, 0),
  ]);
  const violations = slices.flatMap((one) => one.arbitrage.map((found) => ({ ...found, expiry: one.expiry })));
  return h("section.panel", { "aria-labelledby": "expiries" },
    h("h2", { id: "expiries" }, t("expiries.title")),
    slices.length ? table(t("expiries.title"), columns, rows) : h("p.muted", {}, t("market.none")),
    violations.length
      ? [h("h3", {}, t("arbitrage.title", { count: violations.length })), h("p.hint", {}, t("arbitrage.hint")),
        table(t("arbitrage.title", { count: violations.length }),
          [{ title: t("arbitrage.kind") }, { title: t("axis.expiry") }, { title: t("arbitrage.strikes") }, { title: t("arbitrage.profit"), align: "end" }],
          violations.slice(0, 20).map((one) => [tCode("arbitrage", one.kind), f().day(one.expiry), f().strikes(one.strikes), f().money(one.profit)]))]
      : null);
}
