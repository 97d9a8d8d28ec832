/** The lanes: a row for each source, in which utterances move to the left as time goes by. */

import { Block } from "./block.js";
import { byId, el, follow, setAttribute } from "./dom.js";
import { Walk } from "./walk.js";
import { clock, sentence } from "./words.js";

const TICKS_S = [5, 10, 15, 30, 60, 120];
const TICK_PX = 90; // at least
const CALM_STEP_MS = 1000; // between two moves, for who prefers less motion; otherwise they are of a pixel
const MARGIN_PX = 48; // after the present, so that there is room for the latest word
const MOST_SHORTENED = 0.3; // share of words that may be shortened in two rows; beyond it one row of letters is calmer
const KEPT_MS = 10_000; // after it has left: its words may reach into what is seen
const RELABEL_MS = 1000; // the latest word has the more room the longer it is ago
const REBUILD_MS = 600_000; // positions are relative to a time that is not too long ago
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
    if (this.#isOver(utterance)) return;
    const lane = this.#lane(utterance.source);
    const block = lane.blocks.get(utterance.id) ?? this.#begin(lane, utterance);
    block.fill(utterance);
    lane.isStale = true;
  }

  /** Draw everything anew. */
  rebuild() {
    this.ahead_ms = this.server.ahead_ms;
    this.epoch_ms = Math.floor(this.server.now_ms / 1000) * 1000;
    const width = this.lanes.values().next().value?.view.clientWidth || this.box.clientWidth;
    this.perMs = width / (this.shown_s * 1000);
    for (const lane of this.lanes.values()) {
      lane.track.replaceChildren();
      lane.blocks.clear();
    }
    this.axis.replaceChildren();
    this.ticks = new Map();
    for (const utterance of this.state.utterances.values()) {
      if (this.#isOver(utterance)) continue;
      const lane = this.lanes.get(utterance.source);
      if (lane) this.#begin(lane, utterance).fill(utterance);
    }
    this.labelled_ms = 0;
    this.#move();
  }

  #lane(name) {
    if (this.lanes.has(name)) return this.lanes.get(name);
    const track = el("div", { class: "track" });
    const view = el("div", { class: "view", role: "listbox", "aria-orientation": "horizontal", tabindex: 0 }, track);
    const row = el("div", { class: "lane" }, this.headOf(name), view);
    const blocks = new Map();
    const lane = { name, row, view, track, blocks, walk: new Walk(view, blocks), worded: 0 };
    this.lanes.set(name, lane);
    this.box.append(row);
    return lane;
  }

  #begin(lane, utterance) {
    const block = new Block(this, lane, utterance);
    lane.blocks.set(utterance.id, block);
    lane.track.append(block.element);
    return block;
  }

  /** It is too long ago to be seen. */
  #isOver(utterance) {
    return utterance.end_ms < this.server.now_ms - this.shown_s * 1000 - KEPT_MS;
  }

  #room(block, next) {
    const end_ms = next?.utterance.start_ms ?? this.end_ms;
    return this.x(end_ms) - this.x(block.utterance.start_ms) - GAP_PX;
  }

  x(time_ms) {
    return (time_ms - this.epoch_ms) * this.perMs;
  }

  #animate() {
    for (const lane of this.lanes.values()) if (lane.isStale) this.#label(lane);
    const now_ms = performance.now();
    if (this.perMs && now_ms - this.moved_ms >= (calm.matches ? CALM_STEP_MS : 1 / this.perMs)) {
      this.moved_ms = now_ms;
      this.#move();
    }
    requestAnimationFrame(() => this.#animate());
  }

  #move() {
    const now_ms = this.server.now_ms;
    if (now_ms - this.epoch_ms > REBUILD_MS || this.ahead_ms !== this.server.ahead_ms) return this.rebuild();
    let last_ms = now_ms;
    for (const { blocks } of this.lanes.values()) {
      for (const block of blocks.values()) {
        block.grow();
        last_ms = Math.max(last_ms, block.end_ms);
      }
    }
    const end_ms = last_ms + MARGIN_PX / this.perMs;
    const begin_ms = end_ms - this.shown_s * 1000;
    this.end_ms = end_ms;
    const shift = `translateX(${Math.round(-this.x(begin_ms))}px)`;
    this.axis.style.transform = shift;
    this.#tick(begin_ms, end_ms);
    const isDue = now_ms - this.labelled_ms >= RELABEL_MS;
    if (isDue) this.labelled_ms = now_ms;
    for (const lane of this.lanes.values()) {
      lane.track.style.transform = shift;
      if (isDue) this.#label(lane);
      for (const [id, block] of lane.blocks) {
        if (block.end_ms < begin_ms - KEPT_MS) {
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

  /** Give each block's words the room up to the next one, or in two rows up to the one after it. */
  #label(lane) {
    lane.isStale = false;
    const blocks = [...lane.blocks.values()];
    const worded = blocks.filter((block) => block.said.word);
    const rooms = worded.map((block, index) => [1, 2].map((ahead) => this.#room(block, worded[index + ahead])));
    const isTight = worded.slice(0, -1).some((block, index) => block.width > rooms[index][0]);
    const tooLong = worded.filter((block, index) => block.width > rooms[index][1]);
    const inTwoRows = isTight && tooLong.length <= worded.length * MOST_SHORTENED;
    lane.track.classList.toggle("crowded", inTwoRows);
    worded.forEach((block, index) => block.fit(rooms[index][inTwoRows ? 1 : 0], rooms[index][0]));
    const answers = blocks.filter((block) => block.utterance.state === "final");
    const latest = answers.at(-1)?.utterance;
    const said = answers.length
      ? `${answers.length} utterances shown; the latest: ${sentence(latest)}`
      : "nobody spoke";
    setAttribute(lane.view, "aria-label", `${lane.name}: ${said}`);
    lane.walk.follow();
  }
}
