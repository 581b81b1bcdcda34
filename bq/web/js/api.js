// The server, as this page talks to it: paths relative to the page, failures as one kind of error.

// What went wrong: `code` is the server's, or "unreachable" (no answer) or "garbled" (an answer that is not the API's).
export class ApiError extends Error {
  constructor(code, text, status = 0, retryAfter = null) {
    super(text);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter; // seconds
  }

  // Whether the same request may well succeed a little later.
  get passes() {
    return ["unreachable", "garbled", "not_ready", "too_busy", "too_many_requests", "source_failed"].includes(this.code);
  }
}

export const getJson = (path, options = {}) => json(path, options);

export const postJson = (path, body, options = {}) => json(path, { ...options, ...posting(body) });

function posting(body, accept = "application/json") {
  return {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: accept },
    body: body === null ? null : JSON.stringify(body),
  };
}

async function json(path, options) {
  const response = await reach(path, options);
  const answer = await decoded(response);
  if (!response.ok) throw failure(response, answer);
  return answer;
}

async function decoded(response) {
  return parsed(await response.text().catch(asUnreachable), response.status);
}

function parsed(text, status) {
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError("garbled", text.slice(0, 200), status); // a proxy's own page, most often
  }
}

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    return asUnreachable(error);
  }
}

function asUnreachable(error) {
  if (error.name === "AbortError") throw error;
  throw new ApiError("unreachable", error.message);
}

function failure(response, answer) {
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  return new ApiError(answer.code ?? "garbled", answer.error ?? "", response.status, retryAfter);
}

// Analyse many tickers; yields the items as the server finishes them.
export async function* analyzeStream(tickers, detail, signal) {
  const response = await reach("api/analyze", {
    ...posting({ tickers, detail }, "application/x-ndjson"),
    signal,
  });
  if (!response.ok) throw failure(response, await decoded(response));
  yield* lines(response.body);
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch(asUnreachable);
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const line of parts) if (line) yield parsed(line, 200);
  }
  if (rest) throw new ApiError("unreachable", "the answer broke off");
}

// Analyse one ticker in full. Returns the item of the list form: it says whether the data are stale.
export async function analyzeFull(ticker, signal) {
  const answer = await postJson("api/analyze", { tickers: [ticker], detail: "full" }, { signal });
  const item = answer.data[0];
  if (item.status === "pending") throw new ApiError("too_busy", "", 503, 2);
  if (item.status === "error") throw new ApiError(item.code, item.error, 200);
  return item;
}

export const popularTickers = async () => (await getJson("api/tickers")).tickers;
