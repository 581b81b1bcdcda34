// Lines and labels that several charts put on top of their curves.

import { currentLanguage } from "../i18n.js";
import { faint } from "./palette.js";

const DAYS = { en: "%b %-d\n%Y", zh: "%-m月%-d日\n%Y年" };

// An axis of sessions.
export const dayAxis = () => ({
  type: "date",
  rangebreaks: [{ bounds: ["sat", "mon"] }],
  tickformat: DAYS[currentLanguage()],
  hoverformat: "%Y-%m-%d",
});

// A vertical line at a price, labelled at its top, on the right.
export function vertical(x, colour, text, dash = "dot", y = 1) {
  return {
    shape: { type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: y, line: { color: colour, width: 1, dash }, layer: "below" },
    annotation: text
      ? { x, y, yref: "paper", yanchor: "top", xanchor: "left", xshift: 2, text, showarrow: false, font: { size: 11, color: colour } }
      : null,
  };
}

// Put several marks into a layout.
export const placed = (marks) => ({
  shapes: marks.map((mark) => mark.shape),
  annotations: marks.map((mark) => mark.annotation).filter(Boolean),
});

// A line between two curves, filled.
export const band = (x, low, high, name, colour, alpha = 0.16) => [
  { x, y: low, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false },
  { x, y: high, mode: "lines", line: { width: 0 }, fill: "tonexty", fillcolor: faint(colour, alpha), hoverinfo: "skip", name },
];
