// Numbers and times as a trader reads them, in the language of the page. Pure.
//
// Every number has its unit; minus signs are as wide as plus signs; times say their zone.

const LOCALES = { en: "en-US", zh: "zh-CN" };
const EXCHANGE = "America/New_York";
export const NONE = "–";

const cached = new Map();

function numbers(locale, options) {
  const key = locale + JSON.stringify(options);
  if (!cached.has(key)) cached.set(key, new Intl.NumberFormat(locale, options));
  return cached.get(key);
}

function times(locale, options) {
  const key = locale + JSON.stringify(options);
  if (!cached.has(key)) cached.set(key, new Intl.DateTimeFormat(locale, options));
  return cached.get(key);
}

const missing = (value) => value === null || value === undefined || !Number.isFinite(value);

// Make the formatters of a language ("en" or "zh").
export function makeFormats(language) {
  const locale = LOCALES[language];
  const write = (value, options, unit = "") =>
    missing(value) ? NONE : numbers(locale, options).format(value).replace("-", "−") + unit;
  const dollars = { style: "currency", currency: "USD", currencyDisplay: "narrowSymbol" };
  const signed = { signDisplay: "exceptZero" };
  const digits = (n) => ({ minimumFractionDigits: n, maximumFractionDigits: n });
  const strike = (value) => write(value, { minimumFractionDigits: 0, maximumFractionDigits: 3, useGrouping: false });
  return {
    number: (value, places = 2) => write(value, digits(places)),
    integer: (value) => write(value, digits(0)),
    signed: (value, places = 2) => write(value, { ...digits(places), ...signed }),
    money: (value, places = 2) => write(value, { ...dollars, ...digits(places) }),
    signedMoney: (value, places = 2) => write(value, { ...dollars, ...digits(places), ...signed }),
    // A break-even; 0 says that there is none on its side.
    breakeven: (price) => write(price || NaN, { ...dollars, ...digits(2) }),
    // A strike: cents only where it has them.
    strike,
    // Three strikes, kept on one line.
    strikes: (values) => values.map((value) => strike(value)).join("\u00a0/\u00a0"),
    // 0.436 -> "43.6 %"
    share: (value, places = 1) => write(missing(value) ? value : 100 * value, digits(places), " %"),
    // 43.6 -> "43.6 %"
    percent: (value, places = 1) => write(value, digits(places), " %"),
    signedPercent: (value, places = 1) => write(value, { ...digits(places), ...signed }, " %"),
    // "2026-12-24" -> "Dec 24, 2026"; a date without a time has no zone
    day: (text) => (text ? times(locale, { dateStyle: "medium", timeZone: "UTC" }).format(new Date(text)) : NONE),
    shortDay: (text) =>
      text ? times(locale, { month: "short", day: "numeric", timeZone: "UTC" }).format(new Date(text)) : NONE,
    // An instant, on the clock of the exchange, with its zone: "Nov 24, 2026, 16:00 EST"
    instant: (value) => (value === null || value === undefined ? NONE : zoned(locale, value, EXCHANGE)),
    // An instant, on the reader's own clock: "12:03:15 GMT+1"
    clock: (value) =>
      value === null
        ? NONE
        : times(locale, { timeStyle: "medium", hourCycle: "h23" }).format(new Date(value)) + ` ${zoneName(value)}`,
  };
}

function zoned(locale, value, timeZone) {
  const moment = new Date(value);
  const parts = { dateStyle: "medium", timeStyle: "short", hourCycle: "h23", timeZone };
  return `${times(locale, parts).format(moment)} ${zoneName(moment, timeZone)}`;
}

// The short name of a zone at an instant: "EST". English in both languages: Chinese has "GMT-5", which says less.
function zoneName(value, timeZone) {
  const parts = times("en-US", { timeZoneName: "short", ...(timeZone ? { timeZone } : {}) });
  return parts.formatToParts(new Date(value)).find((part) => part.type === "timeZoneName").value;
}
