// The charts' labels are "MM/DD"; their years follow from the moment of the data. Pure.

const DAY_MS = 86400000;

// Turn labels in the order of time into "YYYY-MM-DD". `anchor` is the index of the last label that is not after
// `asOf` (an ISO instant); a label can only be ambiguous by whole years, and no chart spans two.
export function withYears(labels, asOf, anchor = labels.length - 1) {
  const now = new Date(asOf).getTime();
  const dates = new Array(labels.length);
  let year = new Date(asOf).getUTCFullYear();
  if (anchor >= 0 && stamp(year, labels[anchor]) > now + DAY_MS) year -= 1;
  walk(labels, dates, anchor, -1, year);
  walk(labels, dates, anchor + 1, 1, year, labels[anchor]);
  return dates;
}

const stamp = (year, label) => Date.UTC(year, Number(label.slice(0, 2)) - 1, Number(label.slice(3, 5)));

function walk(labels, dates, from, step, startYear, startLabel) {
  let year = startYear;
  let previous = startLabel ?? labels[from];
  for (let i = from; i >= 0 && i < labels.length; i += step) {
    if (step < 0 && labels[i] > previous) year -= 1;
    if (step > 0 && previous !== undefined && labels[i] < previous) year += 1;
    dates[i] = `${year}-${labels[i].replace("/", "-")}`;
    previous = labels[i];
  }
}
