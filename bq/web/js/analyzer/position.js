// A butterfly that the reader moves: its strikes, expiry, form and quantity. Pure.

export const FORMS = ["CALL", "PUT", "IRON"];
export const MOST = 1000;

// The position that an analysis proposes.
export function proposed(analysis) {
  const b = analysis.butterfly;
  return {
    expiry: analysis.extended.legs[0]?.expiry ?? "",
    form: analysis.fourier.butterfly_type,
    strikes: [b.lower_strike, b.center_strike, b.upper_strike],
    quantity: 1,
  };
}

// Read a position from an address; what is absent or makes no sense comes from `base`.
export function fromQuery(query, base) {
  const strikes = (query.strikes ?? "").split(",").map(Number);
  const quantity = Number(query.quantity);
  const rising = strikes.length === 3 && strikes.every((one) => one > 0) && strikes[0] < strikes[1] && strikes[1] < strikes[2];
  return {
    expiry: /^\d{4}-\d{2}-\d{2}$/.test(query.expiry ?? "") ? query.expiry : base.expiry,
    form: FORMS.includes(query.form) ? query.form : base.form,
    strikes: rising ? strikes : base.strikes,
    quantity: Number.isInteger(quantity) && quantity >= 1 && quantity <= MOST ? quantity : base.quantity,
  };
}

// Write a position into an address; the proposal itself needs no words.
export function toQuery(position, base) {
  if (isSame(position, base)) return {};
  return { expiry: position.expiry, form: position.form, strikes: position.strikes.join(","), quantity: position.quantity };
}

export const isSame = (one, other) =>
  one.expiry === other.expiry && one.form === other.form && one.quantity === other.quantity &&
  one.strikes.every((strike, i) => strike === other.strikes[i]);

// The contracts: long the wings, short two at the centre; the iron form is short a put and a call there.
export function legsOf({ expiry, form, strikes: [lower, center, upper], quantity }) {
  const leg = (type, strike, count) => ({ type, strike, expiry, quantity: count * quantity });
  if (form === "IRON") {
    return [leg("put", lower, 1), leg("put", center, -1), leg("call", center, -1), leg("call", upper, 1)];
  }
  const type = form.toLowerCase();
  return [leg(type, lower, 1), leg(type, center, -2), leg(type, upper, 1)];
}

// Take strikes to the nearest listed ones, kept apart; null where fewer than three are listed.
export function snapped(strikes, listed) {
  if (listed.length < 3) return null;
  const nearest = (value) => listed.reduce((best, one, i) => (Math.abs(one - value) < Math.abs(listed[best] - value) ? i : best), 0);
  const center = Math.min(Math.max(nearest(strikes[1]), 1), listed.length - 2);
  const lower = Math.min(nearest(strikes[0]), center - 1);
  const upper = Math.max(nearest(strikes[2]), center + 1);
  return [listed[lower], listed[center], listed[upper]];
}

// Move one strike (0, 1, 2) by a number of listed strikes; null where it would meet its neighbour or the end.
export function moved(strikes, which, steps, listed) {
  const from = listed.indexOf(strikes[which]);
  const to = from + steps;
  if (from < 0 || to < 0 || to >= listed.length) return null;
  const next = strikes.with(which, listed[to]);
  return next[0] < next[1] && next[1] < next[2] ? next : null;
}
