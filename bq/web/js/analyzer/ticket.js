// The trade as a ticket: what it costs, what it can make and lose, and how it would be managed.

import { h } from "../dom.js";
import { f, t, tCode } from "../i18n.js";

export function ticketPanel(analysis) {
  const b = analysis.butterfly;
  const plan = analysis.trade_suggestion;
  const strikes = f().strikes([b.lower_strike, b.center_strike, b.upper_strike]);
  const perShare = h("small", {}, ` ${t("unit.share")}`);
  const fact = (key, ...value) => h("div", {}, h("dt", {}, t(key)), h("dd", {}, value));
  return h("section.panel.ticket", { "aria-labelledby": "ticket" },
    h("h2", { id: "ticket" }, t("ticket.title", { strikes, form: t(`form.${analysis.fourier.butterfly_type}`) })),
    h("p.hint", {}, t("ticket.expiry", { day: f().day(analysis.extended.legs[0]?.expiry), days: b.dte })),
    h("dl.facts", {},
      fact(b.is_credit_strategy ? "figure.credit" : "figure.debit", f().money(b.net_debit), perShare.cloneNode(true)),
      fact("figure.maxProfit", h("span.gain", {}, f().money(b.max_profit)), perShare.cloneNode(true)),
      fact("figure.maxLoss", h("span.loss", {}, f().money(b.max_loss)), perShare.cloneNode(true)),
      fact("figure.breakevens", `${f().breakeven(b.breakeven_lower)} – ${f().breakeven(b.breakeven_upper)}`),
      fact("figure.ratio", f().number(b.profit_ratio)),
      fact("figure.riskLevel", tCode("level", analysis.risk_level))),
    h("h3", {}, t("ticket.plan")),
    h("dl.facts", {},
      fact("plan.size", tCode("size", plan.position_size)),
      fact("plan.timing", tCode("timing", plan.entry_timing)),
      fact("plan.takeProfit", f().money(plan.take_profit), h("small", {}, ` ${t("unit.value")}`)),
      fact("plan.stopLoss", f().money(plan.stop_loss), h("small", {}, ` ${t("unit.value")}`)),
      fact("plan.until", f().day(plan.hold_until))),
    plan.key_risks.length ? h("ul.risks", {}, plan.key_risks.map((risk) => h("li", {}, tCode("risk", risk)))) : null);
}
