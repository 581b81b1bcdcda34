// The page's colours, as the chart library wants them.

const NAMES = ["text", "muted", "line", "line-strong", "panel", "butter", "gain", "loss", "market", "forecast", "empirical"];

// Read the colours of the theme of the moment: { gain: "rgb(…)", … }.
export function palette() {
  const probe = document.createElement("span");
  document.body.append(probe);
  const colours = {};
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    colours[name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase())] = getComputedStyle(probe).color;
  }
  probe.remove();
  return colours;
}

// The same colour, seen through.
export const faint = (colour, alpha) => colour.replace("rgb(", "rgba(").replace(")", `, ${alpha})`);
