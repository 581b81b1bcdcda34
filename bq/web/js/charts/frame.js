// A chart's place on the page: title, drawing, a sentence that says what it shows, and its figures as a table.
//
// The frame stands before the library has arrived, and has its height, so that nothing moves when the drawing comes.

import { h, put, table } from "../dom.js";
import { t } from "../i18n.js";
import { chartLocale, library } from "./library.js";
import { palette } from "./palette.js";

const touch = matchMedia("(pointer: coarse)");

// Make a chart.
//
// name    of the texts: `chart.NAME` is its title
// build   (colours) => { data, layout, summary, columns, rows }: traces and layout for the library, a sentence, and the
//         figures of the table
// extra   elements between title and drawing (a choice of expiries, say)
//
// Returns { element, redraw, close }.
export function makeChart(name, build, extra = []) {
  const plot = h("div.plot", { "data-chart": name });
  const holder = h("div.plot-holder", { role: "img", "aria-label": t(`chart.${name}`) }, plot, h("div.skeleton.plot-waits"));
  const summary = h("p.hint.summary");
  const figures = h("details.figures", {}, h("summary", {}, t("chart.figures")));
  const element = h("figure.panel.chart", { "data-chart-frame": name },
    h("figcaption", {}, h("h2", {}, t(`chart.${name}`)), extra), holder, summary, figures);
  let closed = false;
  let draws = Promise.resolve();

  figures.addEventListener("toggle", () => tell(build(palette())));

  // Write the figures, while they are looked at.
  function tell({ columns, rows }) {
    put(figures, figures.firstChild, figures.open && table(t(`chart.${name}`), columns, rows));
  }

  function redraw() {
    const built = build(palette());
    summary.textContent = built.summary;
    holder.setAttribute("aria-label", built.summary);
    tell(built);
    draws = draws.then(draw);
    return draws;
  }

  async function draw() {
    if (closed) return;
    let plotly;
    try {
      plotly = await library();
    } catch {
      put(holder, h("div.problem", {}, t("chart.noLibrary"), " ",
        h("button.button.small", { type: "button", onclick: again }, t("state.now"))));
      return;
    }
    if (closed) return;
    const colours = palette();
    const { data, layout } = build(colours);
    await plotly.react(plot, data, merged(base(colours), layout), {
      responsive: true,
      displaylogo: false,
      displayModeBar: touch.matches ? false : "hover",
      modeBarButtons: [["toImage", "resetScale2d"]],
      toImageButtonOptions: { filename: `butterquant-${name}`, scale: 2 },
      locale: chartLocale(),
    });
    if (closed) {
      plotly.purge(plot);
      return;
    }
    plot.dataset.drawn = String(data.length);
    holder.querySelector(".plot-waits")?.remove();
  }

  function again() {
    put(holder, plot);
    redraw();
  }

  const onTheme = () => redraw();
  addEventListener("bq-theme", onTheme);
  return {
    element,
    redraw,
    close() {
      closed = true;
      removeEventListener("bq-theme", onTheme);
      if (plot.dataset.drawn) window.Plotly.purge(plot);
    },
  };
}

// What all charts have in common.
function base(colours) {
  const axis = {
    gridcolor: colours.line,
    linecolor: colours.lineStrong,
    zeroline: false,
    ticks: "outside",
    tickcolor: colours.lineStrong,
    ticklen: 4,
    automargin: true,
    title: { standoff: 8, font: { size: 12, color: colours.muted } },
    tickfont: { size: 11.5, color: colours.muted },
    fixedrange: touch.matches,
  };
  return {
    autosize: true,
    margin: { l: 46, r: 14, t: 8, b: 34 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colours.text },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colours.panel, bordercolor: colours.lineStrong, font: { size: 12, color: colours.text } },
    dragmode: touch.matches ? false : "zoom",
    legend: { orientation: "h", x: 0, yref: "container", y: 1, yanchor: "top", font: { size: 12 }, itemwidth: 30 },
    xaxis: { ...axis, showgrid: false },
    yaxis: axis,
    yaxis2: axis,
  };
}

// Merge layouts: objects key by key, everything else by the latter.
function merged(one, other) {
  const result = { ...one };
  for (const [key, value] of Object.entries(other)) {
    const both = isPlain(result[key]) && isPlain(value);
    result[key] = both ? merged(result[key], value) : value;
  }
  return result;
}

const isPlain = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
