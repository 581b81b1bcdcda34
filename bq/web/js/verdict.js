// What an analysis comes to, in the words that the page uses. Pure.

const TONES = { BUY: "buy", WATCH: "watch", AVOID: "avoid" };

// "buy", "watch" or "avoid".
export const toneOf = (analysis) => TONES[analysis.trade_suggestion?.action] ?? "avoid";

// Whether the position stands on the name's own option quotes; without them its prices come from the forecast.
export const hasQuotes = (analysis) => analysis.garch.iv_skew !== undefined;

// Numbers by which cards can be sorted, best first; the tickers that have none come last.
export const SORTS = {
  score: (analysis) => analysis.score?.total,
  edge: (analysis) => (hasQuotes(analysis) ? Math.abs(analysis.garch.vol_mispricing) : null),
  probability: (analysis) => analysis.butterfly.prob_profit,
  verdict: (analysis) => ({ buy: 2000, watch: 1000, avoid: 0 })[toneOf(analysis)] + (analysis.score?.total ?? 0),
};

// Order tickers by a criterion; `analysisOf` gives the analysis of a ticker or null.
export function sorted(tickers, by, analysisOf) {
  if (by === "added") return [...tickers];
  if (by === "ticker") return [...tickers].sort((a, b) => (a < b ? -1 : 1));
  const valueOf = (ticker) => {
    const analysis = analysisOf(ticker);
    return (analysis && SORTS[by](analysis)) ?? -Infinity;
  };
  const values = new Map(tickers.map((ticker) => [ticker, valueOf(ticker)]));
  return [...tickers].sort((a, b) => {
    const [one, other] = [values.get(a), values.get(b)];
    return one === other ? 0 : other - one;
  });
}

// The lowest and the highest number of some, those that are missing left out.
export const extent = (values) => {
  const real = values.filter((value) => Number.isFinite(value));
  return [Math.min(...real), Math.max(...real)];
};
