// Making elements. Texts become text nodes, never markup; styles are set as properties, which a strict policy allows.

const SVG = "http://www.w3.org/2000/svg";

// h("button.primary", { type: "button", onclick }, "Add") makes <button class="primary" type="button">Add</button>.
// Properties that begin with "on" are listeners; "style" is an object of custom or plain properties; null, undefined and
// false leave an attribute or a child out.
export function h(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return fill(document.createElement(name), classes, properties, children);
}

// The same for SVG.
export function svg(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return fill(document.createElementNS(SVG, name), classes, properties, children);
}

function fill(element, classes, properties, children) {
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") Object.entries(value).forEach(([name, text]) => element.style.setProperty(name, text));
    else if (key === "value" || key === "checked" || key === "selected") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Replace what is in an element.
export function put(element, ...children) {
  element.replaceChildren(...children.flat(3).filter(Boolean));
  return element;
}

export const $ = (selector, inside = document) => inside.querySelector(selector);

// A table with a caption for screen readers, which scrolls sideways within itself on a narrow screen.
// `columns`: [{ title, align }]; `rows`: arrays of cells (text or nodes); the first cell heads its row.
export function table(caption, columns, rows, name = "") {
  const cellOf = (cell, i) =>
    i === 0
      ? h("th", { scope: "row" }, cell)
      : h(columns[i].align === "end" ? "td.end" : "td", {}, cell);
  return h("div.scroll", { tabindex: "0", role: "region", "aria-label": caption },
    h(`table${name ? `.${name}` : ""}`, {},
      h("caption.unseen", {}, caption),
      h("thead", {}, h("tr", {}, columns.map((column) =>
        h(column.align === "end" ? "th.end" : "th", { scope: "col" }, column.title)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cellOf))))));
}
