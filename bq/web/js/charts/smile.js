// What the quotes of one expiry imply, strike by strike: bid to ask, the middle, and the fit.

import { f, t } from "../i18n.js";
import { placed, vertical } from "./marks.js";

export function smileChart(analysis, slice) {
  return (colours) => {
    const quotes = slice.quotes;
    const strikes = quotes.map((quote) => quote.strike);
    const up = quotes.map((quote) => (quote.iv_ask === null ? 0 : quote.iv_ask - quote.iv_mid));
    const down = quotes.map((quote) => (quote.iv_bid === null ? 0 : quote.iv_mid - quote.iv_bid));
    const b = analysis.butterfly;
    const traded = slice.expiry === analysis.extended.legs[0]?.expiry ? [b.lower_strike, b.center_strike, b.upper_strike] : [];
    return {
      data: [
        {
          x: strikes, y: quotes.map((quote) => quote.iv_mid), name: t("smile.quotes"), mode: "markers",
          marker: { size: 5, color: colours.market },
          error_y: { type: "data", symmetric: false, array: up, arrayminus: down, color: colours.market, thickness: 1.2, width: 2.5 },
        },
        { x: strikes, y: quotes.map((quote) => quote.iv_fit), name: t("smile.fit"), mode: "lines", line: { color: colours.butter, width: 2 } },
      ],
      layout: {
        xaxis: { tickformat: "$,~f", title: { text: t("axis.strike") } },
        yaxis: { tickformat: ".0%", hoverformat: ".2%", title: { text: t("axis.vol") } },
        ...placed([
          vertical(slice.forward, colours.muted, t("smile.forward", { price: f().strike(slice.forward) }), "dash"),
          ...traded.map((strike) => vertical(strike, colours.butter, null)),
        ]),
      },
      summary: t("smile.summary", {
        count: quotes.length, expiry: f().day(slice.expiry), atm: f().share(slice.atm_iv), inside: f().share(slice.inside_spread, 0),
      }),
      columns: [{ title: t("axis.strike") }, ...["smile.bid", "smile.mid", "smile.ask", "smile.fit"].map((key) => ({ title: t(key), align: "end" }))],
      rows: quotes.map((quote) => [f().strike(quote.strike), ...["iv_bid", "iv_mid", "iv_ask", "iv_fit"].map((name) => f().share(quote[name], 2))]),
    };
  };
}
