// The language of the page: texts by key out of one table each, and the formats that go with it.

import { makeFormats } from "./format.js";
import { load, save } from "./store.js";
import en from "./texts/en.js";
import zh from "./texts/zh.js";

const TABLES = { en, zh };
const TAGS = { en: "en", zh: "zh-CN" };

let language = load("language") ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
let formats = makeFormats(language);

export const currentLanguage = () => language;
export const f = () => formats;

export function setLanguage(next) {
  language = next;
  formats = makeFormats(next);
  save("language", next);
  apply();
}

// Tell the document which language it is in.
export function apply() {
  document.documentElement.lang = TAGS[language];
}

// Give the text of a key, with {names} filled in. `count` chooses "key.one" where that exists and the count is 1.
export function t(key, values = {}) {
  const texts = TABLES[language];
  const chosen = values.count === 1 && texts[`${key}.one`] !== undefined ? `${key}.one` : key;
  const text = texts[chosen];
  if (text === undefined) throw new Error(`no text for ${key}`);
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? unbroken(values[name]) : whole));
}

// Keep a sign with its number where a sentence is broken into lines.
const unbroken = (value) => String(value).replace(/−(?=\S)/g, "−\u2060");

// Give the text of a code that the server sent, or the code in words where this page does not know it yet.
export function tCode(prefix, code, values = {}) {
  const key = `${prefix}.${code}`;
  return TABLES[language][key] === undefined ? code.replaceAll("_", " ") : t(key, values);
}
