/** Utterances in the lanes. */

import { el, setAttribute, setText } from "./dom.js";
import { clock, colour, percent, ranged, sentence, thanUsual } from "./words.js";

const LETTER_PX = 6.7;
const LONGEST_MS = 60_000; // of an utterance whose end was missed

/** An utterance in a lane. */
export class Block {
  constructor(timeline, lane, utterance) {
    Object.assign(this, { timeline, lane, utterance, isOdd: null });
    this.bar = el("div", { class: "bar" });
    this.word = el("span", { class: "word" });
    this.who = el("span", { class: "who" });
    const id = `utterance-${utterance.id}`;
    this.element = el("div", { class: "block", role: "option", id }, this.bar, this.word, this.who);
    this.ghosts = 0;
  }

  get end_ms() {
    const { state, start_ms, end_ms } = this.utterance;
    return state === "speaking" ? Math.min(this.timeline.server.now_ms, start_ms + LONGEST_MS) : end_ms;
  }

  /** Show the state of the utterance. */
  fill(utterance) {
    const { state, answer } = utterance;
    const doubt = utterance.isNoSpeech ? " not-speech" : answer?.needs_review ? " in-doubt" : "";
    if (answer) this.isOdd ??= this.lane.worded++ % 2 === 1;
    const row = this.isOdd ? "odd " : "";
    this.element.className = `block ${row}${state}${doubt} ${answer ? colour(answer.emotion) : ""}`;
    this.element.style.setProperty("--confidence", answer?.confidence ?? 0);
    const than = thanUsual(answer?.relative);
    this.said = {
      word: answer?.emotion ?? "",
      mark: answer?.needs_review ? "?" : "",
      name: utterance.isNoSpeech ? "not speech?" : (answer?.speaker?.name ?? ""),
      than: than === "as usual" ? "" : than,
    };
    const values = Object.entries(answer?.values ?? {}).map(([name, value]) => `\n${ranged(name, value)}`);
    const said = answer ? `${sentence(utterance)}, ${percent(answer.confidence)}${values.join("")}` : "";
    this.element.title = said || (utterance.message ?? "");
    const what = answer ? sentence(utterance) : (utterance.message ?? "speaking");
    setAttribute(this.element, "aria-label", `${clock(utterance.start_ms)}, ${what}`);
    for (; this.ghosts < utterance.withdrawn.length; this.ghosts++) this.#ghost(utterance.withdrawn[this.ghosts]);
    if (!answer) for (const text of [this.word, this.who]) setText(text, "");
    this.place();
  }

  /** An answer that was withdrawn stays where it was, and fades. */
  #ghost({ emotion, start_ms, end_ms }) {
    const ghost = el("div", { class: `withdrawn ${colour(emotion)}` }, el("s", {}, emotion));
    ghost.style.width = `${this.timeline.x(end_ms) - this.timeline.x(start_ms)}px`;
    this.element.append(ghost);
  }

  place() {
    const left = this.timeline.x(this.utterance.start_ms);
    this.element.style.left = `${left}px`;
    this.element.style.width = `${Math.max(3, this.timeline.x(this.end_ms) - left)}px`;
  }

  /** Reach up to the present, while they speak. */
  grow() {
    if (this.utterance.state === "speaking") this.place();
  }

  /** What the word takes, in pixels. */
  get width() {
    return (this.said.word.length + this.said.mark.length) * LETTER_PX;
  }

  /** Write as much as there is room for: the word or its first letters, and the speaker, or their first letter. */
  fit(room, next) {
    const { word, mark, name, than } = this.said;
    const letters = [...word];
    setText(this.word, longest([word + mark, word, letters.slice(0, 2).join(""), letters[0] ?? ""], room));
    setText(this.who, longest([[name, than].filter(Boolean).join(" · "), name, [...name][0] ?? ""], next));
  }
}

/** Return the first of some texts, the longest first, for which there is room. */
const longest = (texts, room) => texts.find((text) => text.length * LETTER_PX <= room) ?? "";
