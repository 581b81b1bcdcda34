// Which rows of a ranking are shown, in which order, and as what file. Pure.

export const COLUMNS = ["rank", "ticker", "score", "recommendation", "strategy", "expiry", "price", "net_debit", "max_loss", "profit_ratio", "prob_profit", "ev_worst", "vol_mispricing", "change"];

const ASCENDING = new Set(["rank", "ticker", "expiry"]); // others are asked for largest first

const valueOf = (row, column) => (column === "change" ? (row.change?.score ?? null) : row[column]);

// Rows that fit a filter: { text, tag, strategy, recommendation, min_score }, each an empty string for "any".
export function fitting(rows, filter) {
  const text = (filter.text ?? "").trim().toUpperCase();
  const least = Number(filter.min_score) || 0;
  return rows.filter((row) =>
    (!text || row.ticker.includes(text) || (row.name ?? "").toUpperCase().includes(text)) &&
    (!filter.tag || row.tags.includes(filter.tag)) &&
    (!filter.strategy || row.strategy === filter.strategy) &&
    (!filter.recommendation || row.recommendation === filter.recommendation) &&
    row.score >= least);
}

// Order rows by a column; `sort` is its name, with a minus for the other way round. Missing values come last.
export function ordered(rows, sort) {
  const column = sort.replace(/^-/, "");
  const rising = ASCENDING.has(column) !== sort.startsWith("-");
  return [...rows].sort((a, b) => {
    const [one, other] = [valueOf(a, column), valueOf(b, column)];
    if (one === other) return a.rank - b.rank;
    if (one === null || one === undefined) return 1;
    if (other === null || other === undefined) return -1;
    return (one < other ? -1 : 1) * (rising ? 1 : -1);
  });
}

export const tagsOf = (rows) => [...new Set(rows.flatMap((row) => row.tags))].sort();

const EXPORTED = ["rank", "rank_low", "rank_high", "tier", "ticker", "name", "score", "score_low", "score_high", "recommendation", "confidence", "strategy", "expiry", "dte", "lower", "center", "upper", "is_credit_strategy", "price", "net_debit", "max_profit", "max_loss", "profit_ratio", "prob_profit", "ev_forecast", "ev_worst", "predicted_vol", "current_iv", "vol_mispricing", "iv_percentile", "grade", "tags", "analysis_date"];

// Write rows as CSV (RFC 4180). A text that a spreadsheet would take for a formula is made harmless.
export function toCsv(rows) {
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    const text = Array.isArray(value) ? value.join(" ") : String(value);
    const safe = typeof value !== "number" && /^[=+@-]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = [EXPORTED, ...rows.map((row) => EXPORTED.map((name) => row[name]))];
  return lines.map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
}
