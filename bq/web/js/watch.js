// The tickers being watched and what is known of each; no elements here.
//
// Every ticker is asked for in one stream, and each item is told as it comes. What is missing afterwards (the server
// restarted, was busy, or ran out of time) is asked for again, later and later; what is known stays known meanwhile.

import { analyzeStream, popularTickers } from "./api.js";
import { load, onStored, save } from "./store.js";

const LIST_LIMIT = 500; // tickers in one request
const AGAIN_S = [1, 2, 4, 8, 15];
export const REFRESH_S = 60;

class Watch extends EventTarget {
  tickers = [];
  known = new Map(); // ticker -> its last item
  waiting = new Set(); // asked for, not answered
  trouble = null; // { error, again }: why nothing comes, and when it will be tried again
  refreshedAt = null;
  #names = new Map();
  #asking = 0; // streams under way
  #failures = 0;
  #timer = null;
  #started = null;

  // Load the list; on a first visit, the server's own suggestions.
  start() {
    this.#started ??= this.#begin();
    return this.#started;
  }

  async #begin() {
    const stored = load("tickers");
    if (stored) this.tickers = stored;
    try {
      const popular = await popularTickers();
      this.#names = new Map(popular.map((one) => [one.symbol, one.name]));
      // A list that was begun while the suggestions were on their way is the reader's own, and stands.
      if (!load("tickers")) this.tickers = popular.map((one) => one.symbol);
    } catch (error) {
      if (!load("tickers")) {
        this.#started = null; // nothing to show yet: begin again when asked
        this.#fail(error, () => this.start());
        return;
      }
    }
    this.#tell("list");
    await this.ask(this.tickers.filter((one) => !this.waiting.has(one) && !this.known.has(one)));
  }

  // Another window of this browser has changed the list: it is this window's too, or the next to write would undo it.
  follow() {
    const tickers = load("tickers");
    if (!tickers) return;
    const fresh = tickers.filter((one) => !this.tickers.includes(one));
    for (const one of this.tickers.filter((old) => !tickers.includes(old))) this.#forget(one);
    this.tickers = tickers;
    this.#tell("list");
    this.ask(fresh);
  }

  nameOf(ticker) {
    return this.#names.get(ticker) ?? "";
  }

  // Put tickers at the front, and ask for those that are new.
  add(tickers) {
    const fresh = tickers.filter((one) => !this.tickers.includes(one));
    this.#keep([...fresh, ...this.tickers]);
    this.ask(fresh);
    return fresh.length;
  }

  remove(ticker) {
    this.#forget(ticker);
    this.#keep(this.tickers.filter((one) => one !== ticker));
  }

  #forget(ticker) {
    this.known.delete(ticker);
    this.waiting.delete(ticker);
  }

  #keep(tickers) {
    this.tickers = tickers;
    save("tickers", tickers);
    this.#tell("list");
  }

  refresh() {
    return this.ask(this.tickers.filter((one) => !this.waiting.has(one)));
  }

  async ask(tickers) {
    if (!tickers.length) return;
    tickers.forEach((one) => this.waiting.add(one));
    this.#asking += 1;
    this.#tell("state");
    try {
      for (let first = 0; first < tickers.length; first += LIST_LIMIT) {
        for await (const item of analyzeStream(tickers.slice(first, first + LIST_LIMIT), "summary")) this.#take(item);
      }
      this.#asking -= 1;
      this.#succeed();
    } catch (error) {
      this.#asking -= 1;
      this.#fail(error, () => this.#askMissing());
    }
  }

  #take(item) {
    if (item.status === "pending" || !this.waiting.delete(item.ticker)) return;
    this.known.set(item.ticker, item);
    this.dispatchEvent(new CustomEvent("item", { detail: item.ticker }));
  }

  #succeed() {
    this.trouble = null;
    this.#failures = 0;
    this.refreshedAt = Date.now();
    this.#tell("state");
    // Some may not have been ready by the deadline.
    if (this.waiting.size && !this.#asking) this.#again(2, () => this.#askMissing());
  }

  #fail(error, retry) {
    const delay = error.retryAfter ?? AGAIN_S[Math.min(this.#failures, AGAIN_S.length - 1)];
    this.#failures += 1;
    this.trouble = { error, again: Date.now() + 1000 * delay };
    this.#tell("state");
    this.#again(delay, retry);
  }

  #again(seconds, retry) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(retry, 1000 * seconds);
    this.retry = () => {
      clearTimeout(this.#timer);
      retry();
    };
  }

  // Try again now rather than when it is due.
  retry = () => {};

  #askMissing() {
    return this.ask(this.tickers.filter((one) => this.waiting.has(one)));
  }

  #tell(name) {
    this.dispatchEvent(new Event(name));
  }
}

export const watch = new Watch();

onStored("tickers", () => watch.follow());
