/** The heads of the lanes: what each source hears now, its room, and what may be done about it. */

import { chosen, confirmed, failed } from "./dialogs.js";
import { el, setAttribute, setText } from "./dom.js";
import { ask } from "./server.js";
import { percent } from "./words.js";

const SILENT_DBFS = -70;
const PAUSES = [
  ["", "until it is resumed"],
  ["600", "for 10 minutes"],
  ["3600", "for an hour"],
  ["28800", "for 8 hours"],
];

export class Sources {
  /** @param changed is called after something was done */
  constructor(state, changed) {
    Object.assign(this, { state, changed });
    this.heads = new Map();
  }

  /** Return the head of a source, an element. */
  headOf(name) {
    if (!this.heads.has(name)) this.heads.set(name, new Head(name, this.changed));
    return this.heads.get(name).element;
  }

  /** Show what a status says of the sources. */
  status(sources) {
    for (const source of sources) {
      this.headOf(source.name);
      this.heads.get(source.name).status(source, this.state.troubles.get(source.name));
    }
    for (const [name, head] of this.heads) {
      if (!sources.some((source) => source.name === name)) head.away("ended");
    }
  }

  /** Show what the sources hear. */
  meters(readings) {
    for (const reading of readings) this.heads.get(reading.name)?.meter(reading);
  }

  /** Nothing is known any more. */
  away() {
    for (const head of this.heads.values()) head.away();
  }
}

class Head {
  constructor(name, changed) {
    Object.assign(this, { name, changed, isPaused: false });
    this.dot = el("span", { class: "dot", "aria-hidden": "true" });
    this.state = el("span", { class: "state" });
    this.fill = el("span", { class: "fill" });
    this.bar = el(
      "div",
      {
        class: "meter",
        role: "meter",
        "aria-label": `Level of ${name}`,
        "aria-valuemin": SILENT_DBFS,
        "aria-valuemax": 0,
      },
      this.fill,
    );
    this.heard = el("span", { class: "heard" });
    this.trouble = el("p", { class: "trouble" });
    this.room = el("span", { class: "room" });
    this.pause = el("button", { type: "button", class: "small", onclick: () => this.#pause() });
    this.reset = el("button", { type: "button", class: "small", onclick: () => this.#reset() }, "Reset");
    setAttribute(this.reset, "aria-label", `Reset the room of ${name}`);
    this.element = el(
      "div",
      { class: "head" },
      el("div", { class: "title" }, this.dot, el("h3", {}, name), this.state),
      el("div", { class: "level" }, this.bar, this.heard),
      this.trouble,
      el("div", { class: "actions" }, this.room, this.reset, this.pause),
    );
    this.away();
  }

  status({ state, room }, trouble) {
    setAttribute(this.element, "data-state", trouble && state === "listening" ? "trouble" : state);
    setText(this.state, state);
    setText(this.trouble, (trouble?.message ?? "").replace(`${this.name}: `, ""));
    this.isPaused = state === "paused";
    this.isHeard = state === "listening";
    if (!this.isHeard) setText(this.heard, "");
    setText(this.pause, this.isPaused ? "Resume" : "Pause");
    setAttribute(this.pause, "aria-label", `${this.isPaused ? "Resume" : "Pause"} ${this.name}`);
    this.pause.disabled = false;
    this.reset.disabled = !room;
    setText(this.room, room ? `room ${percent(room.share)}` : "no room");
    const known = room ? `${Math.round(room.utterances)} utterances known, applied by ${percent(room.share)}` : "";
    setAttribute(this.room, "title", room ? `${known}, ${room.distance.toFixed(1)} from usual` : "it is not estimated");
  }

  meter({ level_dbfs, hears_voice, is_clipping }) {
    const share = Math.max(0, 1 - level_dbfs / SILENT_DBFS);
    this.fill.style.transform = `scaleX(${share.toFixed(3)})`;
    const heard = is_clipping ? "clipping" : hears_voice ? "voice" : "quiet";
    setAttribute(this.bar, "data-heard", heard);
    setAttribute(this.bar, "aria-valuenow", Math.round(level_dbfs));
    setAttribute(this.bar, "aria-valuetext", `${Math.round(level_dbfs)} dBFS, ${heard}`);
    setText(this.heard, this.isHeard ? heard : "");
  }

  away(why = "") {
    this.isHeard = false;
    setAttribute(this.element, "data-state", "away");
    setText(this.state, why);
    setText(this.pause, "Pause");
    this.pause.disabled = this.reset.disabled = true;
    this.meter({ level_dbfs: SILENT_DBFS, hears_voice: false, is_clipping: false });
  }

  async #pause() {
    const { name } = this;
    if (this.isPaused) return this.#do("resume", { source: name });
    const text = "Nothing is heard of it meanwhile; what was being said is finished.";
    const for_s = await chosen(`Pause ${name}?`, text, "How long", PAUSES, "Pause");
    if (for_s !== null) await this.#do("pause", { source: name, ...(for_s ? { for_s: Number(for_s) } : {}) });
    return undefined;
  }

  async #reset() {
    const text =
      "What affectd has learnt about its microphone and room is forgotten, and estimated anew from the next utterances.";
    if (await confirmed(`Reset the room of ${this.name}?`, text, "Reset")) {
      await this.#do("reset_room", { source: this.name });
    }
  }

  async #do(what, request) {
    try {
      await ask(what, request);
    } catch (error) {
      await failed(error);
    }
    await this.changed();
  }
}
