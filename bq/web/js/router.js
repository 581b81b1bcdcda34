// Addresses of views: "#/analyze/AAPL?expiry=2026-12-24". Pure, except for `go` and `replace`.
//
// The address lives behind the "#": the server has one page, wherever it is mounted, and an address can be shared as it
// stands.

// Returns { view, argument, query } of a location hash; `query` is a plain object of strings.
export function parseRoute(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?");
  const [view, argument = ""] = path.split("/").map(decode);
  return { view: view || "watchlist", argument, query: Object.fromEntries(new URLSearchParams(search)) };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray "%": shown as it was typed
  }
}

// Write the hash of a view; empty values are left out.
export function formatRoute(view, argument = "", query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const search = new URLSearchParams(kept).toString();
  const path = argument ? `${view}/${encodeURIComponent(argument)}` : view;
  return `#/${path}${search ? `?${search}` : ""}`;
}

export function go(view, argument, query) {
  location.hash = formatRoute(view, argument, query);
}

// Change the address without a step in the history and without rendering anew.
export function replace(view, argument, query) {
  history.replaceState(null, "", formatRoute(view, argument, query));
}
