/** The lanes: a row for each source, in which utterances move to the left as time goes by. */

import { byId, el, follow, setAttribute, setText } from "./dom.js";
import { clock, colour, percent, REASONS, sentence, thanUsual } from "./words.js";

const TICKS_S = [5, 10, 15, 30, 60, 120];
const TICK_PX = 90; // at least
const STEP_MS = 40; // between two moves; who prefers less motion gets one a second
const CALM_STEP_MS = 1000;
const MARGIN_PX = 48; // after the present, so that there is room for the latest word
const RELABEL_MS = 1000; // the latest word has the more room the longer it is ago
const REBUILD_MS = 600_000; // positions are relative to a time that is not too long ago
const LETTER_PX = 6.7;
const GAP_PX = 4;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Timeline {
  /** @param headOf returns the head of a source's lane, an element */
  constructor(state, server, headOf) {
    Object.assign(this, { state, server, headOf });
    this.lanes = new Map();
    this.box = byId("lanes");
    this.axis = el("div", { class: "axis", "aria-hidden": "true" });
    this.box.append(this.axis);
    this.shown_s = matchMedia("(max-width: 700px)").matches ? 30 : 60;
    document.querySelector(`input[name=window][value="${this.shown_s}"]`).checked = true;
    follow(byId("windows"), (value) => {
      this.shown_s = Number(value);
      this.rebuild();
    });
    new ResizeObserver(() => this.rebuild()).observe(this.box);
    this.moved_ms = this.labelled_ms = this.end_ms = 0;
    requestAnimationFrame(() => this.#animate());
  }

  /** Show these sources, in this order, and below them those that have ended, as long as something of them is seen. */
  sources(names) {
    for (const [name, lane] of this.lanes) {
      if (!names.includes(name) && !lane.blocks.size) {
        lane.row.remove();
        this.lanes.delete(name);
      }
    }
    for (const name of names) this.#lane(name);
    const ended = [...this.lanes.keys()].filter((name) => !names.includes(name));
    const rows = [...names, ...ended].map((name) => this.lanes.get(name).row);
    if (rows.every((row, index) => this.box.children[index + 1] === row)) return;
    this.box.append(...rows);
    this.rebuild();
  }

  /** Where confidence is too low, as a share. */
  threshold(share) {
    this.box.style.setProperty("--threshold", share);
  }

  /** Show what has become of an utterance. */
  update(utterance) {
    const lane = this.#lane(utterance.source);
    const block = lane.blocks.get(utterance.id) ?? this.#begin(lane, utterance);
    block.fill(utterance);
    this.#label(lane);
  }

  /** Draw everything anew. */
  rebuild() {
    this.epoch_ms = Math.floor(this.server.now_ms / 1000) * 1000;
    const width = this.lanes.values().next().value?.view.clientWidth || this.box.clientWidth;
    this.perMs = width / (this.shown_s * 1000);
    this.width = width;
    for (const lane of this.lanes.values()) {
      lane.track.replaceChildren();
      lane.blocks.clear();
    }
    this.axis.replaceChildren();
    this.ticks = new Map();
    for (const utterance of this.state.utterances.values()) {
      if (utterance.end_ms < this.epoch_ms - this.shown_s * 1000) continue;
      const lane = this.lanes.get(utterance.source);
      if (lane) this.#begin(lane, utterance).fill(utterance);
    }
    this.labelled_ms = 0;
    this.#move();
  }

  #lane(name) {
    if (this.lanes.has(name)) return this.lanes.get(name);
    const track = el("div", { class: "track" });
    const view = el("div", { class: "view", role: "img" }, track);
    const row = el("div", { class: "lane" }, this.headOf(name), view);
    const lane = { name, row, view, track, blocks: new Map(), begun: 0 };
    this.lanes.set(name, lane);
    this.box.append(row);
    return lane;
  }

  #begin(lane, utterance) {
    const block = new Block(this, utterance, lane.begun++ % 2 === 1);
    lane.blocks.set(utterance.id, block);
    lane.track.append(block.element);
    return block;
  }

  #room(block, next) {
    const end_ms = next?.utterance.start_ms ?? this.end_ms;
    return this.x(end_ms) - this.x(block.utterance.start_ms) - GAP_PX;
  }

  x(time_ms) {
    return (time_ms - this.epoch_ms) * this.perMs;
  }

  #animate() {
    const now_ms = performance.now();
    if (now_ms - this.moved_ms >= (calm.matches ? CALM_STEP_MS : STEP_MS) && this.perMs) {
      this.moved_ms = now_ms;
      this.#move();
    }
    requestAnimationFrame(() => this.#animate());
  }

  #move() {
    const now_ms = this.server.now_ms;
    if (now_ms - this.epoch_ms > REBUILD_MS) return this.rebuild();
    let last_ms = now_ms;
    for (const { blocks } of this.lanes.values()) {
      for (const block of blocks.values()) {
        block.grow(now_ms);
        last_ms = Math.max(last_ms, block.end_ms);
      }
    }
    const end_ms = last_ms + MARGIN_PX / this.perMs;
    const begin_ms = end_ms - this.shown_s * 1000;
    this.end_ms = end_ms;
    const shift = `translateX(${(-this.x(begin_ms)).toFixed(1)}px)`;
    this.axis.style.transform = shift;
    this.#tick(begin_ms, end_ms);
    const isDue = now_ms - this.labelled_ms >= RELABEL_MS;
    if (isDue) this.labelled_ms = now_ms;
    for (const lane of this.lanes.values()) {
      lane.track.style.transform = shift;
      if (isDue) this.#label(lane);
      for (const [id, block] of lane.blocks) {
        if (block.end_ms < begin_ms - 10_000) {
          block.element.remove();
          lane.blocks.delete(id);
        }
      }
    }
    return undefined;
  }

  #tick(begin_ms, end_ms) {
    const step_ms = (TICKS_S.find((step_s) => step_s * 1000 * this.perMs >= TICK_PX) ?? TICKS_S.at(-1)) * 1000;
    for (let at_ms = Math.ceil(begin_ms / step_ms) * step_ms; at_ms <= end_ms; at_ms += step_ms) {
      if (this.ticks.has(at_ms)) continue;
      const tick = el("div", { class: "tick" }, clock(at_ms));
      tick.style.left = `${this.x(at_ms)}px`;
      this.ticks.set(at_ms, tick);
      this.axis.append(tick);
    }
    for (const [at_ms, tick] of this.ticks) {
      if (at_ms < begin_ms) {
        tick.remove();
        this.ticks.delete(at_ms);
      }
    }
  }

  /** Give each block's words the room up to the next one, or up to the one after it, in two rows. */
  #label(lane) {
    const blocks = [...lane.blocks.values()];
    const isCrowded = blocks.slice(0, -1).some((block, index) => block.width > this.#room(block, blocks[index + 1]));
    lane.track.classList.toggle("crowded", isCrowded);
    blocks.forEach((block, index) => {
      const next = this.#room(block, blocks[index + 1]);
      block.fit(isCrowded ? this.#room(block, blocks[index + 2]) : next, next);
    });
    const answers = blocks.filter((block) => block.utterance.state === "final");
    const latest = answers.at(-1)?.utterance;
    const said = answers.length ? `${answers.length} utterances shown; the latest: ${sentence(latest)}` : "nobody spoke";
    setAttribute(lane.view, "aria-label", `${lane.name}: ${said}`);
  }
}

/** An utterance in a lane. */
class Block {
  constructor(timeline, utterance, isOdd) {
    Object.assign(this, { timeline, utterance, isOdd });
    this.bar = el("div", { class: "bar" });
    this.word = el("span", { class: "word" });
    this.who = el("span", { class: "who" });
    this.element = el("div", { class: "block" }, this.bar, this.word, this.who);
    this.ghosts = 0;
  }

  get end_ms() {
    return this.utterance.state === "speaking" ? this.timeline.server.now_ms : this.utterance.end_ms;
  }

  /** Show the state of the utterance. */
  fill(utterance) {
    const { state, answer } = utterance;
    const doubt = utterance.isNoSpeech ? " not-speech" : answer?.needs_review ? " in-doubt" : "";
    this.element.className = `block ${this.isOdd ? "odd " : ""}${state}${doubt} ${answer ? colour(answer.emotion) : ""}`;
    this.element.style.setProperty("--confidence", answer?.confidence ?? 0);
    const than = thanUsual(answer?.relative);
    this.said = {
      word: state === "skipped" ? REASONS[utterance.reason]?.[0] ?? "" : answer?.emotion ?? "",
      mark: answer?.needs_review ? "?" : "",
      name: utterance.isNoSpeech ? "not speech?" : answer?.speaker?.name ?? "",
      than: than === "as usual" ? "" : than,
    };
    this.element.title = answer ? `${sentence(utterance)}, ${percent(answer.confidence)}` : utterance.message ?? "";
    for (; this.ghosts < utterance.withdrawn.length; this.ghosts++) this.#ghost(utterance.withdrawn[this.ghosts]);
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

  grow(now_ms) {
    if (this.utterance.state !== "speaking") return;
    const left = this.timeline.x(this.utterance.start_ms);
    this.element.style.width = `${Math.max(3, this.timeline.x(now_ms) - left)}px`;
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
