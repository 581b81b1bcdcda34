// What people type or paste, turned into ticker symbols. Pure.

const SYMBOL = /^[A-Z0-9^][A-Z0-9.=^-]{0,14}$/;
const BETWEEN = /[\s,;|/，、；]+/u;

// Split a text at commas, spaces, newlines and their Chinese forms; a leading "$" is dropped, doubles count once.
// Returns { tickers, rejected }, both in the order of the text.
export function parseTickers(text) {
  const tickers = new Set();
  const rejected = new Set();
  for (const word of text.split(BETWEEN)) {
    const symbol = word.replace(/^\$/, "").toUpperCase();
    if (symbol === "") continue;
    if (SYMBOL.test(symbol)) tickers.add(symbol);
    else rejected.add(word);
  }
  return { tickers: [...tickers], rejected: [...rejected] };
}

export const isSymbol = (text) => SYMBOL.test(text);
