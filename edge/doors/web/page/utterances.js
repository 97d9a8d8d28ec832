/** The table of utterances, the latest first: all that the lanes show, for those who read. */

import { byId, el } from "./dom.js";
import { clock, colour, figure, milliseconds, percent, ranged, REASONS, thanUsual } from "./words.js";

const MOST_ROWS = 100;

/** Return a value, and where it lies within its range. */
function scale([name, { value, low, high }]) {
  const knob = el("span", { class: "knob" });
  knob.style.left = `${((value - low) / (high - low)) * 100}%`;
  const zero = low < 0 && high > 0 ? el("span", { class: "zero" }) : "";
  if (zero) zero.style.left = `${(-low / (high - low)) * 100}%`;
  return el(
    "span",
    { class: "value", title: ranged(name, { value, low, high }) },
    el("span", { class: "faint" }, name),
    el("span", { class: "scale", "aria-hidden": "true" }, zero, knob),
    el("span", { class: "figure" }, figure(value)),
    el("span", { class: "range faint" }, `${low} to ${high}`.replaceAll("-", "−")),
  );
}

export class Utterances {
  constructor(state) {
    this.state = state;
    this.body = byId("rows");
    this.rows = new Map();
    this.threshold = 0.8;
  }

  clear() {
    this.body.replaceChildren();
    this.rows.clear();
    byId("no-rows").hidden = false;
  }

  /** Show what has become of an utterance. */
  update(utterance) {
    const row = this.#row(utterance);
    const known = this.rows.get(utterance.id);
    if (known) known.replaceWith(row);
    else this.body.prepend(row);
    this.rows.set(utterance.id, row);
    if (this.rows.size > MOST_ROWS) {
      const [id, oldest] = this.rows.entries().next().value;
      oldest.remove();
      this.rows.delete(id);
    }
    byId("no-rows").hidden = true;
    if (utterance.answer?.values) byId("values-head").hidden = false;
  }

  #row(utterance) {
    const { answer, state, source, start_ms, end_ms } = utterance;
    const length_s = ((end_ms - start_ms) / 1000).toFixed(1);
    const isOver = state === "final" || state === "skipped";
    return el(
      "tr",
      { role: "row", class: `${state}${utterance.isNoSpeech ? " not-speech" : ""}` },
      el(
        "th",
        { role: "rowheader", scope: "row" },
        clock(start_ms),
        el("span", { class: "length" }, isOver ? `${length_s} s` : "…"),
      ),
      el("td", { role: "cell" }, source),
      el(
        "td",
        { role: "cell" },
        answer?.speaker ? answer.speaker.name : el("span", { class: "faint" }, state === "final" ? "stranger" : ""),
      ),
      el("td", { role: "cell" }, ...this.#emotion(utterance).flatMap((part) => [part, " "])),
      el("td", { role: "cell" }, answer ? this.#confidence(answer) : ""),
      el("td", { role: "cell" }, thanUsual(answer?.relative)),
      el("td", { role: "cell", class: "number" }, state === "final" ? milliseconds(answer.latency_ms.total) : ""),
      answer?.values ? el("td", { role: "cell", class: "values" }, ...Object.entries(answer.values).map(scale)) : "",
    );
  }

  #emotion({ answer, state, withdrawn, reason, isNoSpeech }) {
    if (state === "skipped") return [el("span", { class: "faint" }, `no answer: ${REASONS[reason]?.[0] ?? reason}`)];
    const parts = withdrawn.slice(-2).map(({ emotion }) => el("s", { class: "faint", title: "withdrawn" }, emotion));
    if (answer) parts.push(el("span", { class: `chip ${colour(answer.emotion)}` }, answer.emotion));
    if (state === "provisional") parts.push(el("span", { class: "faint" }, "provisional"));
    if (state === "speaking") parts.push(el("span", { class: "faint" }, "speaking …"));
    if (isNoSpeech) parts.push(el("span", { class: "faint" }, "not speech?"));
    return parts;
  }

  #confidence(answer) {
    const fill = el("span", { class: `fill ${colour(answer.emotion)}` });
    fill.style.width = `${answer.confidence * 100}%`;
    const mark = el("span", { class: "limit" });
    mark.style.left = `${this.threshold * 100}%`;
    const review = answer.needs_review ? el("abbr", { class: "mark", title: "needs review" }, "?") : "";
    return el(
      "span",
      { class: "confidence" },
      el("span", { class: "share", "aria-hidden": "true" }, fill, mark),
      percent(answer.confidence),
      review,
    );
  }
}
