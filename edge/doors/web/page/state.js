/** What happened so far, from events. Knows nothing of the page. */

import { LASTING } from "./words.js";

const MOST_UTTERANCES = 500;
const MOST_LATENCIES = 5000;
const LATE_MS = 1500; // by which a source's clock may fall behind the wall clock before its zero is moved

export class State {
  constructor() {
    this.clear();
  }

  /** Forget everything: another run of affectd begins. */
  clear() {
    this.run = null;
    /** By id, the oldest first. See `utterance`. */
    this.utterances = new Map();
    /** Name of a source to what is wrong with it, until it is over. */
    this.troubles = new Map();
    /** Why, to name of a source, to how often. */
    this.counts = new Map();
    this.emotions = new Set();
    this.latencies = { total: [], provisional: [] };
    /** Name of a source to the wall-clock time in milliseconds at which its own clock was 0. */
    this.zeros = new Map();
    this.missed = 0;
  }

  /**
   * Take an event, and return the utterance that it is about, if there is one.
   *
   * An utterance is `{id, source, state, start_ms, end_ms, answer, withdrawn, reason, message}`; its state is
   * `speaking`, `provisional`, `final` or `skipped`, its answer the latest event with an emotion, and `withdrawn`
   * are the answers that did not hold.
   */
  take(event, run) {
    if (run !== this.run) {
      this.clear();
      this.run = run;
    }
    if (event.type === "status") return this.#status(event);
    if (event.id === undefined) return null;
    const zero_ms = this.#zero(event);
    const utterance = this.utterances.get(event.id) ?? this.#begin(event, zero_ms);
    utterance.start_ms = zero_ms + event.start_s * 1000;
    if (event.end_s !== undefined) utterance.end_ms = zero_ms + event.end_s * 1000;
    this.#follow(utterance, event);
    return utterance;
  }

  /** Note how often something was not reported; a number that the source itself counts. */
  note(reason, source, number) {
    const counts = this.counts.get(reason) ?? new Map();
    this.counts.set(reason, counts.set(source, number));
  }

  /** Return the percentiles of what is known of a latency, in milliseconds. */
  percentiles(name, wanted) {
    const sorted = this.latencies[name].toSorted((one, other) => one - other);
    return wanted.map((share) => sorted[Math.max(0, Math.ceil((share / 100) * sorted.length) - 1)]);
  }

  #begin(event, zero_ms) {
    const utterance = {
      id: event.id,
      source: event.source,
      state: "speaking",
      end_ms: zero_ms + event.start_s * 1000,
      answer: null,
      withdrawn: [],
    };
    this.utterances.set(event.id, utterance);
    if (this.utterances.size > MOST_UTTERANCES) this.utterances.delete(this.utterances.keys().next().value);
    return utterance;
  }

  #follow(utterance, event) {
    switch (event.type) {
      case "partial":
        utterance.answer = event;
        break;
      case "provisional":
        utterance.state = "provisional";
        utterance.answer = event;
        break;
      case "resumed":
        utterance.state = "speaking";
        if (utterance.answer) {
          const { emotion } = utterance.answer;
          utterance.withdrawn.push({ emotion, start_ms: utterance.start_ms, end_ms: utterance.end_ms });
        }
        utterance.answer = null;
        break;
      case "utterance":
        utterance.state = "final";
        utterance.answer = event;
        this.#count(utterance, event);
        break;
      case "skipped":
        Object.assign(utterance, { state: "skipped", answer: null, reason: event.reason, message: event.message });
        this.#add(event.reason, event.source);
    }
    if (event.emotion) this.emotions.add(event.emotion);
  }

  #count(utterance, event) {
    utterance.isNoSpeech = event.speech !== undefined && event.speech < 0.5;
    if (utterance.isNoSpeech) this.#add("not_speech", event.source);
    for (const [name, known] of Object.entries(this.latencies)) {
      const value = event.latency_ms[name];
      if (value !== undefined && known.push(value) > MOST_LATENCIES) known.shift();
    }
  }

  #status(event) {
    if (LASTING.has(event.reason)) {
      this.troubles.set(event.source, event);
      this.#add(event.reason, event.source);
    } else if (["recovered", "stopped", "paused", "disconnected"].includes(event.reason)) {
      this.troubles.delete(event.source);
    }
    return null;
  }

  #add(reason, source) {
    this.note(reason, source, (this.counts.get(reason)?.get(source) ?? 0) + 1);
  }

  /**
   * Return when a source's clock was 0. It is kept as long as that holds: a file that is read faster than it was
   * recorded runs ahead of the wall clock, and a source that was away falls behind it.
   */
  #zero(event) {
    const at_s = event.end_s ?? event.start_s;
    const seen_ms = Date.parse(event.time) - (event.latency_ms?.total ?? 0) - at_s * 1000;
    const known_ms = this.zeros.get(event.source);
    if (known_ms === undefined || seen_ms - known_ms > LATE_MS) this.zeros.set(event.source, seen_ms);
    return this.zeros.get(event.source);
  }
}
