// What the tests ask of a page, to be evaluated in it: an object of functions.
({
  // Elements of the view that reach beyond the window, but for those that scroll within themselves.
  outside() {
    const width = document.documentElement.clientWidth;
    return [...document.querySelectorAll("main *")]
      .filter((one) => !one.closest(".scroll, .plot-holder, .unseen, svg"))
      .filter((one) => one.getBoundingClientRect().right > width + 1)
      .map((one) => one.outerHTML.slice(0, 90));
  },

  // Texts that are cut off by their own box.
  clipped() {
    return [...document.querySelectorAll("button, .button, h1, h2, dt, dd, label, .chip, .hint")]
      .filter((one) => one.getClientRects().length && !one.closest(".unseen"))
      .filter((one) => getComputedStyle(one).overflowX !== "visible" && one.scrollWidth > one.clientWidth + 1)
      .map((one) => one.outerHTML.slice(0, 90));
  },

  // Texts whose contrast with their background is below 4.5 to 1.
  faint() {
    const channel = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const luminance = (colour) => {
      const [red, green, blue] = colour.match(/[\d.]+/g).slice(0, 3).map((value) => channel(value / 255));
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = (one) => {
      for (let at = one; at; at = at.parentElement) {
        const colour = getComputedStyle(at).backgroundColor;
        if (colour.startsWith("rgb(")) return colour;
      }
      return "rgb(255, 255, 255)";
    };
    const found = [];
    for (const one of document.querySelectorAll("header *, main *, footer *, .banner *")) {
      const own = [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      if (!own || !one.getClientRects().length || one.closest("svg, .unseen, :disabled, .plot-holder")) continue;
      const lights = [luminance(getComputedStyle(one).color), luminance(behind(one))].sort((a, b) => b - a);
      const ratio = (lights[0] + 0.05) / (lights[1] + 0.05);
      if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${one.className} ${one.textContent.trim().slice(0, 30)}`);
    }
    return found;
  },

  // Controls and pictures without a name.
  nameless() {
    return [...document.querySelectorAll("button, a, input, select, textarea, [role=img], [role=region]")]
      .filter((one) => !one.getAttribute("aria-label") && !one.getAttribute("aria-labelledby"))
      .filter((one) => (one.matches("input, select, textarea") ? !one.labels.length : !one.textContent.trim()))
      .map((one) => one.outerHTML.slice(0, 90));
  },

  // Identifiers that occur twice, and labels that name nobody.
  misnamed() {
    const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
    const twice = ids.filter((id, i) => ids.indexOf(id) !== i);
    const labels = [...document.querySelectorAll("[aria-labelledby]")].map((one) => one.getAttribute("aria-labelledby"));
    return [...twice, ...labels.filter((id) => !document.getElementById(id))];
  },
})
