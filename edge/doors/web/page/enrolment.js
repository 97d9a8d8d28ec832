/** Guided enrolment: who, their consent, what they say into this browser's microphone, and what came of it. */

import { named } from "./dialogs.js";
import { el, setAttribute, setText } from "./dom.js";
import { Microphone, whyNoMicrophone } from "./microphone.js";
import { addressed, ask } from "./server.js";
import { count, percent } from "./words.js";

const SILENT_DBFS = -70;
const KEPT = "What was kept is safe; speak again to add to it.";

export class Enrolment {
  /** @param name of somebody who is enrolled already, or empty */
  constructor(name) {
    this.name = name;
    this.heading = el("h2", { tabindex: "-1" });
    this.body = el("div", { class: "step" });
    this.buttons = el("div", { class: "buttons" });
    this.form = el("form", {}, this.heading, this.body, this.buttons);
    this.element = el("dialog", { class: "enrolment" }, this.form);
    named(this.element, this.heading);
  }

  /** Go through all of it; resolve when the dialog is closed. */
  run() {
    return new Promise((resolve) => {
      this.form.addEventListener("submit", (event) => {
        event.preventDefault();
        this.next?.();
      });
      this.element.addEventListener("close", () => {
        this.#stop();
        this.element.remove();
        resolve();
      });
      document.body.append(this.element);
      this.element.showModal();
      this.#askName();
    });
  }

  #show(title, content, next, go, no = "Cancel") {
    setText(this.heading, title);
    this.body.replaceChildren(...content);
    this.next = next;
    const refuse = no && el("button", { type: "button", onclick: () => this.element.close() }, no);
    const accept = go && el("button", { type: "submit", class: "primary" }, go);
    this.buttons.replaceChildren(...[refuse, accept].filter(Boolean));
    (this.body.querySelector("input:not([readonly])") ?? this.heading).focus();
  }

  #askName() {
    const trouble = whyNoMicrophone();
    if (trouble) return this.#end("Enrolment needs a microphone", [el("p", { class: "trouble" }, trouble)]);
    const input = el("input", {
      type: "text",
      value: this.name,
      required: true,
      maxlength: 64,
      autocomplete: "off",
      readonly: this.name !== "",
    });
    const field = el("label", { class: "field" }, "Name", input);
    const text = "affectd gets to know how somebody usually sounds: eight sentences in different moods, half a minute.";
    const error = el("p", { class: "trouble", role: "alert" });
    const next = async () => {
      try {
        this.consent = await ask("consent", { name: input.value });
        this.#askConsent();
      } catch (reason) {
        setText(error, reason.message);
      }
    };
    return this.#show("Enrol someone", [el("p", {}, text), field, error], next, "Go on");
  }

  #askConsent() {
    const { name, text } = this.consent;
    const paragraphs = text.split("\n\n").map((paragraph) => el("p", {}, paragraph));
    const agrees = el("input", { type: "checkbox", required: true, name: "agrees" });
    const refine = el("input", { type: "checkbox", name: "refine" });
    const content = [
      el("div", { class: "consent", tabindex: "0", role: "region", "aria-label": "What is agreed to" }, ...paragraphs),
      el("label", { class: "check" }, agrees, el("span", {}, `${name} has read this, and agrees.`)),
      el(
        "label",
        { class: "check" },
        refine,
        el(
          "span",
          {},
          `${name} also agrees that the profile follows how they speak, slowly, while affectd runs (not needed).`,
        ),
      ),
    ];
    this.#show(`Does ${name} agree?`, content, () => this.#listen(refine.checked), "Agree and start");
  }

  async #listen(may_refine) {
    const { name, version } = this.consent;
    this.mood = el("span", { class: "mood" });
    this.prompt = el("p", { class: "prompt" });
    this.fill = el("span", { class: "fill" });
    this.bar = el(
      "div",
      {
        class: "meter",
        role: "meter",
        "aria-label": "Level of the microphone",
        "aria-valuemin": SILENT_DBFS,
        "aria-valuemax": 0,
        "aria-valuenow": SILENT_DBFS,
      },
      this.fill,
    );
    this.heard = el("span", { class: "heard" }, "…");
    this.clips = progress("Utterances");
    this.speech = progress("Speech");
    this.takes = el("ol", {
      class: "takes",
      reversed: true,
      "aria-live": "polite",
      "aria-label": "What was heard, the latest first",
    });
    const reading = el(
      "div",
      { class: "reading" },
      el("p", {}, "Read this aloud, or say what you like, ", this.mood, ":"),
      this.prompt,
    );
    const kept = el("p", { class: "note" }, `What is heard is kept, as numbers: Forget removes all of it.`);
    const level = el("div", { class: "level" }, this.bar, this.heard);
    const content = [reading, level, this.clips.element, this.speech.element, this.takes, kept];
    this.#show(`${name} speaks`, content, () => this.#finish(), "Finish now", null);
    try {
      this.microphone = await Microphone.open();
    } catch (error) {
      return this.#end("Nothing was heard", [el("p", { class: "trouble", role: "alert" }, error.message)]);
    }
    if (!this.element.open) return this.#stop();
    const query = { name, consent: version, may_refine, rate: this.microphone.rate_hz, format: "f32" };
    const address = new URL(addressed("/enrol", query), location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address);
    this.socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    this.socket.onclose = () => this.#lost();
    return undefined;
  }

  #take(message) {
    switch (message.type) {
      case "ready":
        Object.assign(this, { wanted: message.wanted, prompts: message.prompts });
        this.#count({ clips: 0, speech_s: 0 });
        this.microphone.listen((samples) => this.socket?.readyState === WebSocket.OPEN && this.socket.send(samples));
        break;
      case "level":
        this.#level(message);
        break;
      case "take":
        this.takes.prepend(
          el("li", { class: message.is_kept && !message.doubts.length ? "kept" : "doubted" }, message.outcome),
        );
        this.#count(message);
        break;
      case "result":
        this.#report(message);
        break;
      case "error":
        this.#end("That did not work", [el("p", { class: "trouble", role: "alert" }, message.error)]);
    }
  }

  #level({ level_dbfs, is_clipping, hears_voice }) {
    this.fill.style.transform = `scaleX(${Math.max(0, 1 - level_dbfs / SILENT_DBFS).toFixed(3)})`;
    const heard = is_clipping ? "clipping" : hears_voice ? "voice" : "quiet";
    setAttribute(this.bar, "data-heard", heard);
    setAttribute(this.bar, "aria-valuenow", Math.round(level_dbfs));
    setText(this.heard, is_clipping ? "too loud" : heard);
  }

  #count({ clips, speech_s }) {
    const [mood, sentence] = this.prompts[clips % this.prompts.length];
    setText(this.mood, mood);
    setText(this.prompt, sentence);
    this.clips.show(clips, this.wanted.clips, `${clips} of ${this.wanted.clips}`);
    this.speech.show(
      speech_s,
      this.wanted.speech_s,
      `${Math.round(speech_s)} of ${Math.round(this.wanted.speech_s)} s`,
    );
  }

  #finish() {
    this.socket?.send("finish");
    this.microphone?.close();
    setText(this.heard, "one moment …");
  }

  #report(result) {
    const left_out = result.left_out.map(({ place, reason }) => `left out ${place}: ${reason}`);
    const doubts = [...result.doubts, ...left_out];
    if (!result.clips) {
      const text = `Nothing of use was heard, so nothing of ${result.name} is kept.`;
      return this.#end("Nobody was enrolled", [el("p", { class: "trouble" }, text), ...list(doubts)]);
    }
    const known = result.recognisable
      ? "affectd recognises them from now on, and judges how they sound by how they usually do."
      : "This model cannot recognise voices: they are known only where a source is bound to them.";
    const all = `${count(result.clips, "clip")}, ${Math.round(result.speech_s)} s in all`;
    const added = `${count(result.added, "utterance")} added; ${all}.`;
    const trust = `The profile is trusted by ${percent(result.trust)}, and more with more clips.`;
    const content = [el("p", {}, `${added} ${known}`), el("p", { class: "faint" }, trust)];
    if (doubts.length) content.push(el("h3", {}, "What could be better"), ...list(doubts));
    return this.#end(`${result.name} is enrolled`, content);
  }

  #lost() {
    if (this.socket) this.#end("The connection was lost", [el("p", { class: "trouble", role: "alert" }, KEPT)]);
  }

  #end(title, content) {
    this.#stop();
    this.#show(title, content, () => this.element.close(), null, "Close");
  }

  #stop() {
    const { socket } = this;
    this.socket = null;
    this.microphone?.close();
    socket?.close();
  }
}

function progress(label) {
  const text = el("span", { class: "heard" });
  const bar = el("progress", { max: 1, value: 0, "aria-label": label });
  const element = el("div", { class: "wanted" }, el("span", {}, label), bar, text);
  return {
    element,
    show(value, wanted, said) {
      bar.max = wanted;
      bar.value = Math.min(value, wanted);
      setText(text, said);
    },
  };
}

const list = (lines) =>
  lines.length ? [el("ul", { class: "doubts" }, ...lines.map((line) => el("li", {}, line)))] : [];
