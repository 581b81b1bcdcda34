// How much the share moved, how much it is forecast to move, and what its options imply.

import { withYears } from "../dates.js";
import { f, t } from "../i18n.js";
import { dayAxis } from "./marks.js";
import { hasQuotes } from "../verdict.js";

export function volatilityChart(analysis) {
  return (colours) => {
    const points = analysis.chart_data.volatility;
    const labels = points.map((point) => point.date);
    const ahead = analysis.chart_data.price_forecast.filter((point) => point.actual === null).map((point) => point.date);
    const dates = withYears([...labels, ...ahead], analysis.extended.as_of, labels.length - 1);
    const [past, future] = [dates.slice(0, labels.length), dates.slice(labels.length)];
    const { current_iv: implied, predicted_vol: predicted, forecast_vol: forecast } = analysis.garch;
    const expiry = analysis.extended.legs[0]?.expiry ?? future.at(-1);
    const last = points.at(-1);
    return {
      data: [
        { x: past, y: points.map((point) => point.realized), name: t("vol.realized"), mode: "lines", line: { color: colours.text, width: 1.6 } },
        { x: past, y: points.map((point) => point.predicted), name: t("vol.conditional"), mode: "lines", line: { color: colours.forecast, width: 1.4, dash: "dot" } },
        {
          x: [past.at(-1), ...future.slice(0, forecast.length)], y: [last.predicted, ...forecast], name: t("vol.forecast"),
          mode: "lines", line: { color: colours.forecast, width: 2.2 },
        },
        ...(hasQuotes(analysis)
          ? [{ x: [past.at(-1), expiry], y: [implied, implied], name: t("vol.implied"), mode: "lines+markers", line: { color: colours.market, width: 2.2 }, marker: { size: 6 } }]
          : []),
      ],
      layout: {
        xaxis: dayAxis(),
        yaxis: { tickformat: ".0%", hoverformat: ".1%", rangemode: "tozero", title: { text: t("axis.vol") } },
      },
      summary: hasQuotes(analysis)
        ? t("vol.summary", { implied: f().share(implied), forecast: f().share(predicted), edge: f().signedPercent(analysis.garch.vol_mispricing) })
        : t("vol.summaryNoQuotes", { forecast: f().share(predicted) }),
      columns: [{ title: t("axis.day") }, { title: t("vol.realized"), align: "end" }, { title: t("vol.conditional"), align: "end" }],
      rows: points.map((point, i) => [f().day(past[i]), f().share(point.realized), f().share(point.predicted)]),
    };
  };
}

// Implied and forecast volatility by time to expiry.
export function termChart(analysis) {
  return (colours) => {
    const points = analysis.extended.term_structure;
    const curve = (name, key, colour) => ({
      x: points.map((point) => point.dte), y: points.map((point) => point[name]), name: t(key), mode: "lines+markers",
      line: { color: colour, width: 2 }, marker: { size: 7 }, connectgaps: true,
      customdata: points.map((point) => f().shortDay(point.expiry)),
      hovertemplate: "%{y:.1%} · %{customdata}",
    });
    return {
      data: [curve("implied", "vol.implied", colours.market), curve("forecast", "vol.forecast", colours.forecast)],
      layout: {
        xaxis: { title: { text: t("axis.dte") }, rangemode: "tozero" },
        yaxis: { tickformat: ".0%", title: { text: t("axis.vol") } },
      },
      summary: t("term.summary", {
        count: points.length, first: points[0]?.dte ?? 0, last: points.at(-1)?.dte ?? 0,
      }),
      columns: [{ title: t("axis.expiry") }, { title: t("axis.dte"), align: "end" }, { title: t("vol.implied"), align: "end" }, { title: t("vol.forecast"), align: "end" }],
      rows: points.map((point) => [f().day(point.expiry), f().integer(point.dte), f().share(point.implied), f().share(point.forecast)]),
    };
  };
}
