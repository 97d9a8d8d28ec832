/** What was not reported and why, and how long answers took. */

import { byId, el } from "./dom.js";
import { count, REASONS } from "./words.js";

const WANTED = [50, 90, 99];
const STAGES = { provisional: "first", total: "final" };

/** Show why something was not reported, and how often. */
export function showUnreported(state) {
  const reasons = Object.keys(REASONS)
    .map((reason) => [reason, [...(state.counts.get(reason) ?? [])].filter(([, number]) => number > 0)])
    .filter(([, sources]) => sources.length);
  byId("unreported").replaceChildren(...reasons.map(([reason, sources]) => entry(reason, sources, state.troubles)));
  byId("all-reported").hidden = reasons.length > 0;
}

function entry(reason, sources, troubles) {
  const [name, meaning] = REASONS[reason];
  const total = sources.reduce((sum, [, number]) => sum + number, 0);
  const isNow = [...troubles.values()].some((trouble) => trouble.reason === reason);
  const where = sources
    .map(([source, number]) => (sources.length > 1 ? `${source} ${round(number)}` : source))
    .join(", ");
  return el(
    "li",
    { class: isNow ? "now" : "" },
    el("span", { class: "count" }, reason === "lost" ? `${round(total)} s` : round(total)),
    el("span", { class: "reason" }, name, isNow ? el("b", {}, " now") : ""),
    el("span", { class: "where" }, where),
    el("span", { class: "meaning" }, meaning),
  );
}

const round = (number) => (Number.isInteger(number) ? String(number) : number.toFixed(1));

/** Show the percentiles of latency. */
export function showLatencies(state) {
  const rows = Object.entries(STAGES).map(([name, text]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, text),
      ...state
        .percentiles(name, WANTED)
        .map((value) => el("td", { class: "number" }, value === undefined ? "—" : String(Math.round(value)))),
    ),
  );
  byId("latencies").replaceChildren(...rows);
  const number = state.latencies.total.length;
  byId("latency-count").textContent = `in ms from the last word; of ${count(number, "utterance")}`;
}
