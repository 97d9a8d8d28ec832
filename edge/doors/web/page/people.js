/** Who is enrolled, and how somebody is enrolled or forgotten. */

import { failed, typed } from "./dialogs.js";
import { byId, el } from "./dom.js";
import { Enrolment } from "./enrolment.js";
import { ask } from "./server.js";
import { count } from "./words.js";

const STATES = {
  ready: "is recognised",
  "no voiceprints": "known only where a source is bound to them",
  "must enrol again": "must enrol again for this model",
  unknown: "the key or the model is missing",
};

export class People {
  constructor() {
    this.list = byId("people");
    byId("enrol").addEventListener("click", () => this.#enrol(""));
  }

  /** Ask who is enrolled, and show it. */
  async update() {
    let people;
    try {
      people = await ask("people");
    } catch (error) {
      byId("no-people").textContent = error.message;
      people = [];
    }
    const focused = document.activeElement?.dataset?.key;
    this.list.replaceChildren(...people.map((person) => this.#person(person)));
    if (focused) [...this.list.querySelectorAll("button")].find((button) => button.dataset.key === focused)?.focus();
    byId("no-people").hidden = people.length > 0;
  }

  #person({ name, state, clips, speech_s, may_refine }) {
    const speech = speech_s === null ? "" : `, ${Math.round(speech_s)} s`;
    const known = `${STATES[state] ?? state}${may_refine ? ", and may be refined" : ""}`;
    return el(
      "li",
      {},
      el("span", { class: "name" }, name),
      el("span", { class: "known" }, `${count(clips, "clip")}${speech}; ${known}`),
      el(
        "button",
        { ...button(name, "add"), onclick: () => this.#enrol(name), "aria-label": `Add clips of ${name}` },
        "Add clips",
      ),
      el(
        "button",
        { ...button(name, "forget"), onclick: () => this.#forget(name), "aria-label": `Forget ${name}` },
        "Forget",
      ),
    );
  }

  async #forget(name) {
    const text =
      `Every trace of ${name} is removed from this device: their voice profile, what the journal has of them, and all ` +
      "rooms, where they may have been heard. It cannot be undone.";
    if (!(await typed(`Forget ${name}?`, text, `Type ${name} to confirm`, name, "Forget"))) return;
    try {
      await ask("forget", { name });
    } catch (error) {
      await failed(error);
    }
    await this.update();
    byId("enrol").focus();
  }

  async #enrol(name) {
    await new Enrolment(name).run();
    await this.update();
  }
}

const button = (name, what) => ({ type: "button", class: "small", "data-key": `${what} ${name}` });
