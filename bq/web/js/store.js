// What the browser keeps between visits: tickers and preferences, never analyses.
//
// Storage may be full, forbidden, or hold what another version wrote: whatever is not understood counts as absent.

import { isSymbol } from "./symbols.js";

const PREFIX = "bq.";
const memory = new Map(); // stands in where storage is forbidden

function read(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name));
  } catch {
    return memory.get(name) ?? null;
  }
}

function write(name, value) {
  memory.set(name, value);
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // kept for this visit only
  }
}

const oneOf = (allowed) => (value) => (allowed.includes(value) ? value : null);

const KINDS = {
  tickers: (value) => (Array.isArray(value) ? value.filter((one) => typeof one === "string" && isSymbol(one)) : null),
  language: oneOf(["en", "zh"]),
  theme: oneOf(["auto", "light", "dark"]),
  sort: oneOf(["added", "ticker", "score", "edge", "probability", "verdict"]),
};

// Give a stored value, or null where there is none of its kind.
export const load = (name) => KINDS[name](read(name));

export const save = (name, value) => write(name, value);

// Call back when another window of this browser has stored a value.
export function onStored(name, heard) {
  addEventListener("storage", (event) => {
    if (event.key === PREFIX + name) heard();
  });
}
