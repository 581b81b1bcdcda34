// How the variance of the returns is spread over periods, and how much of it noise alone would show.

import { f, t } from "../i18n.js";
import { placed, vertical } from "./marks.js";

const TICKS = [3, 5, 10, 20, 40, 80, 160];

export function spectrumChart(analysis) {
  return (colours) => {
    const points = analysis.chart_data.spectrum;
    const { noise_95: noise95, noise_99: noise99 } = analysis.extended.cycles;
    const periods = points.map((point) => point.period);
    const share = points.map((point) => point.powerPct / 100);
    const found = analysis.fourier.dominant_periods;
    const noise = (level, name, dash) => ({
      x: periods, y: level, name, mode: "lines", line: { color: colours.loss, width: 1.4, dash },
    });
    return {
      data: [
        { x: periods, y: share, name: t("spectrum.power"), mode: "lines", fill: "tozeroy", line: { color: colours.empirical, width: 1.6 } },
        noise(noise95, t("spectrum.noise95"), "dash"),
        noise(noise99, t("spectrum.noise99"), "solid"),
      ],
      layout: {
        xaxis: { type: "log", title: { text: t("axis.period") }, tickvals: TICKS, ticktext: TICKS.map(String), hoverformat: ".1f" },
        yaxis: { tickformat: ".1%", hoverformat: ".2%", rangemode: "tozero", title: { text: t("axis.varianceShare") } },
        ...placed(found.map((one) => logAnnotated(vertical(one.period, colours.butter, f().number(one.period, 1))))),
      },
      summary: found.length
        ? t("spectrum.summary", { count: found.length, period: f().number(found[0].period, 1), share: f().percent(found[0].power_pct) })
        : t("spectrum.none"),
      columns: [{ title: t("axis.period") }, ...["spectrum.power", "spectrum.noise95", "spectrum.noise99"].map((key) => ({ title: t(key), align: "end" }))],
      rows: points.map((point, i) => [f().number(point.period, 1), f().share(share[i], 2), f().share(noise95[i], 2), f().share(noise99[i], 2)]),
    };
  };
}

// On a logarithmic axis the library wants the logarithm for a label, and the value for a line.
function logAnnotated(mark) {
  if (mark.annotation) mark.annotation.x = Math.log10(mark.annotation.x);
  return mark;
}
