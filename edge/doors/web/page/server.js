/** The running affectd: what it says, and what may be asked of it. */

const STATUS_EVERY_MS = 2000;
const AGAIN_MS = 2000;
const INEXACT_MS = 2000; // a date is of a second, and takes its time to come
const TOKEN = "affectd-token";

/** Take the token out of the address bar, where it would be seen and kept, into this tab's memory. */
function takeToken() {
  const address = new URL(location.href);
  const token = address.searchParams.get("token");
  if (token === null) return;
  sessionStorage.setItem(TOKEN, token);
  address.searchParams.delete("token");
  history.replaceState(null, "", address);
}

takeToken();

/** Keep another token. */
export const useToken = (token) => sessionStorage.setItem(TOKEN, token);

/** Return an address with what a request without headers needs. */
export function addressed(path, query = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const all = new URLSearchParams(token ? { ...query, token } : query);
  return all.size ? `${path}?${all}` : path;
}

/** Return a text whose characters are the bytes of UTF-8, which is all that a header takes. */
const bytesOf = (text) => String.fromCharCode(...new TextEncoder().encode(text));

async function answerTo(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...(options.headers ?? {}), ...(token ? { Authorization: `Bearer ${bytesOf(token)}` } : {}) };
  const response = await fetch(path, { ...options, headers, cache: "no-store" });
  const reply = await response.json().catch(() => ({ error: `${path} answered ${response.status}` }));
  if (reply.error !== undefined) throw Object.assign(new Error(reply.error), { status: response.status });
  return { answer: reply.answer, date: response.headers.get("Date") };
}

/** Ask affectd to do something; return what it answers, or throw an Error with the reason. */
export async function ask(what, request = {}) {
  const headers = { "Content-Type": "application/json" };
  try {
    return (await answerTo(`/do/${what}`, { method: "POST", headers, body: JSON.stringify(request) })).answer;
  } catch (error) {
    throw error.status ? error : new Error("affectd cannot be reached");
  }
}

const runOf = (id) => id.slice(0, id.lastIndexOf("-"));

/** Follows affectd, through its restarts. */
export class Server {
  /** @param handlers `event(event, run)`, `missed(count)`, `meters(list)`, `status(facts)`, `connection(is, why)` */
  constructor(handlers) {
    this.handlers = handlers;
    /** What the server's clock is ahead of this one. */
    this.ahead_ms = 0;
    this.isConnected = null;
  }

  start() {
    this.open("/events", { after: 0 }, (source) => {
      source.onmessage = (message) => this.handlers.event(JSON.parse(message.data), runOf(message.lastEventId));
      source.addEventListener("missed", (message) => this.handlers.missed(JSON.parse(message.data)));
    });
    document.addEventListener("visibilitychange", () => this.look_live());
    this.look_live();
    this.poll();
  }

  /** Follow the meters while somebody sees them: a browser has few connections, for all of its tabs. */
  look_live() {
    this.live?.close();
    this.live = null;
    if (document.hidden) return;
    const prepare = (source) => {
      this.live = source;
      source.addEventListener("meters", (message) => this.handlers.meters(JSON.parse(message.data)));
    };
    this.open("/live", {}, prepare);
  }

  get now_ms() {
    return Date.now() + this.ahead_ms;
  }

  /** Ask for the status now, and not only when it is due. */
  async look() {
    try {
      const asked_ms = Date.now();
      const { answer, date } = await answerTo("/status");
      const ahead_ms = Date.parse(date) + 500 - (asked_ms + Date.now()) / 2;
      if (Math.abs(ahead_ms - this.ahead_ms) > INEXACT_MS) this.ahead_ms = ahead_ms;
      this.connected(true);
      this.handlers.status(answer);
    } catch (error) {
      this.connected(false, error.status === 401 ? "token" : "");
    }
  }

  async poll() {
    if (!document.hidden) await this.look();
    setTimeout(() => this.poll(), STATUS_EVERY_MS);
  }

  open(path, query, prepare) {
    const source = new EventSource(addressed(path, query));
    prepare(source);
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      setTimeout(() => this.open(path, query, prepare), AGAIN_MS);
    };
  }

  connected(is, why = "") {
    if (is === this.isConnected && !why) return;
    this.isConnected = is;
    this.handlers.connection(is, why);
  }
}
