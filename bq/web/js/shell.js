// What stands around every view: the bar with its search, the banners, the foot.

import { $, h, put, svg } from "./dom.js";
import { currentLanguage, setLanguage, t } from "./i18n.js";
import { go } from "./router.js";
import { load, save } from "./store.js";
import { parseTickers } from "./symbols.js";

const THEMES = ["auto", "light", "dark"];
const SOURCE = $('meta[name="bq-market"]').content;

// Make the shell. `onRedraw` is called when the language has changed and the view must be written anew.
export function makeShell({ onRedraw }) {
  const bar = h("header.bar");
  const banners = h("div", { "aria-live": "polite" });
  const main = h("main", { id: "view", tabindex: "-1" });
  const foot = h("footer");
  const notes = new Map(); // banners by name
  let route = { view: "watchlist" };

  function write() {
    put(bar, h("div", {},
      h("a.unseen", { href: "#view", onclick: skip }, t("shell.skip")),
      h("a.brand", { href: "#/watchlist" }, mark(), "ButterQuant"),
      h("nav", { "aria-label": t("nav.label") }, link("watchlist"), link("scan")),
      finder(),
      h("div.tools", {}, languageButton(), themeButton())));
    put(foot, h("div", {},
      h("p", {}, t("shell.disclaimer")),
      h("nav", { "aria-label": t("shell.api") }, h("a", { href: "docs" }, t("shell.docs")), h("a", { href: "openapi.json" }, "OpenAPI"))));
    writeBanners();
    document.title = titleOf(route);
  }

  function skip(event) {
    event.preventDefault();
    main.focus();
  }

  const link = (view) =>
    h("a", { href: `#/${view}`, "aria-current": route.view === view ? "page" : null }, t(`nav.${view}`));

  function languageButton() {
    const other = currentLanguage() === "en" ? "zh" : "en";
    const change = () => {
      setLanguage(other);
      write();
      onRedraw();
      $(".language", bar).focus();
    };
    return h("button.button.quiet.language", { type: "button", lang: other === "zh" ? "zh-CN" : "en", onclick: change },
      t("shell.otherLanguage"));
  }

  function themeButton() {
    const theme = load("theme") ?? "auto";
    const change = () => {
      const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      save("theme", next);
      if (next === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = next;
      write();
      dispatchEvent(new Event("bq-theme"));
      $(".theme", bar).focus();
    };
    const label = t("shell.theme", { theme: t(`theme.${theme}`) });
    return h("button.button.quiet.theme", { type: "button", title: label, "aria-label": label, onclick: change }, themeIcon(theme));
  }

  function writeBanners() {
    const sample = SOURCE === "sample" ? [banner("notice", t("banner.sample"))] : [];
    put(banners, sample, [...notes.values()].map((make) => make()));
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("bq-theme")));
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select")) return;
    event.preventDefault();
    $(".find input", bar).focus();
  });

  return {
    main,
    elements: [bar, banners, main, foot],
    show(next) {
      route = next;
      write();
    },
    // Show a banner under a name until it is cleared; `make` gives it in the language of the moment.
    note(name, make) {
      notes.set(name, make);
      writeBanners();
    },
    clearNote(name) {
      if (notes.delete(name)) writeBanners();
    },
    clearNotes() {
      notes.clear();
      writeBanners();
    },
  };
}

// A line across the page; `kind` is "notice" or "trouble".
export const banner = (kind, ...content) => h(`div.banner.${kind}`, {}, h("div", {}, content));

function titleOf(route) {
  const name = route.view === "analyze" ? route.argument : t(`nav.${route.view === "scan" ? "scan" : "watchlist"}`);
  return name ? `${name} · ButterQuant` : "ButterQuant";
}

function finder() {
  const input = h("input.field", {
    type: "search", name: "ticker", "aria-label": t("shell.find"), placeholder: t("shell.find"),
    autocomplete: "off", autocapitalize: "characters", spellcheck: "false", enterkeyhint: "go",
  });
  const open = (event) => {
    event.preventDefault();
    const { tickers } = parseTickers(input.value);
    if (!tickers.length) return;
    input.value = "";
    input.blur();
    go("analyze", tickers[0]);
  };
  return h("form.find", { role: "search", onsubmit: open }, input, h("kbd", { "aria-hidden": "true" }, "/"));
}

const stroke = { fill: "none", stroke: "currentColor", "stroke-width": "2", "stroke-linejoin": "round", "stroke-linecap": "round" };

// The payoff of a butterfly.
function mark() {
  return svg("svg", { viewBox: "0 0 32 32", "aria-hidden": "true" },
    svg("rect", { width: "32", height: "32", rx: "7", fill: "#161b22" }),
    svg("path", { d: "M4 22h6l6-14 6 14h6", fill: "none", stroke: "#f2c14e", "stroke-width": "3", "stroke-linejoin": "round", "stroke-linecap": "round" }));
}

function themeIcon(theme) {
  const shapes = {
    auto: [svg("circle", { cx: "12", cy: "12", r: "8", ...stroke }), svg("path", { d: "M12 4a8 8 0 0 1 0 16z", fill: "currentColor" })],
    light: [svg("circle", { cx: "12", cy: "12", r: "4", ...stroke }),
      svg("path", { d: "M12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2", ...stroke })],
    dark: [svg("path", { d: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z", ...stroke })],
  };
  return svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, shapes[theme]);
}
