/** What things are called, and how numbers are written. */

const EMOTIONS = ["neutral", "happy", "sad", "angry", "fear", "disgust", "surprise"];
const MORE = { neutral: "calmer", happy: "happier", sad: "sadder", angry: "angrier" };
const UNUSUAL = 1.0; // log-odds from which on someone sounds other than usual

/** Why something was not reported, or is in doubt: [what it is called, what it means]. */
export const REASONS = {
  too_short: ["too short", "a burst of voice too short for an utterance"],
  too_slow: ["too slow", "the encoder did not keep up, so there is no answer"],
  other_voice: ["another voice", "from nobody of those whom the source is bound to"],
  not_speech: ["not speech?", "rather a cough, a dog or a door: reported with a doubt"],
  lost: ["audio lost", "seconds that were not heard"],
  missed: ["not shown here", "events that were gone before this page could read them"],
  digital_silence: ["digital silence", "unmute or connect it"],
  below_gate: ["too quiet", "turn the source up"],
  channels_cancel: ["channels cancel", "one channel is another upside down: record one of them"],
  dead_channel: ["dead channel", "connect it, or record the others alone"],
  clipping: ["clipping", "turn the source down"],
};

/** Reasons of a status that last until `recovered`. */
export const LASTING = new Set(["digital_silence", "below_gate", "channels_cancel", "dead_channel", "clipping"]);

/** Return the class that has an emotion's colour. */
export const colour = (emotion) => `is-${EMOTIONS.includes(emotion) ? emotion : "other"}`;

export const percent = (share) => `${Math.round(share * 100)} %`;

/** Return a wall-clock time in milliseconds as hours, minutes and seconds. */
export function clock(time_ms) {
  return new Date(time_ms).toLocaleTimeString(undefined, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hour12: false,
  });
}

export function milliseconds(value) {
  return value === undefined ? "—" : `${Math.round(value)} ms`;
}

/** Return a number within a range, with a true minus. */
export const figure = (value) => value.toFixed(2).replace("-", "−");

/** Return a value with its range, in words. */
export const ranged = (name, { value, low, high }) => `${name} ${figure(value)}, from ${low} to ${high}`;

export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

/** Return names as a text lists them: a few, and how many more there are. */
export function listed(names, most = 4) {
  const more = names.length - most;
  return names.slice(0, most).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** Return how else than usual someone sounds, in a word; empty for a stranger. */
export function thanUsual(relative) {
  if (!relative) return "";
  const [label, change] = Object.entries(relative).reduce((most, each) => (each[1] > most[1] ? each : most));
  return change < UNUSUAL ? "as usual" : (MORE[label] ?? `more ${label}`);
}

/** Return a final utterance in a sentence. */
export function sentence({ source, answer }) {
  const than = thanUsual(answer.relative);
  const parts = [
    `${source}: ${answer.speaker?.name ?? "somebody"}, ${answer.emotion}`,
    `${Math.round(answer.confidence * 100)} percent`,
    than && than !== "as usual" ? `${than} than usual` : than,
    answer.needs_review ? "needs review" : "",
  ];
  return parts.filter(Boolean).join(", ");
}

/** Return the emotions that every bundle has, with those that were met. */
export const legend = (met) => [...EMOTIONS, ...[...met].filter((label) => !EMOTIONS.includes(label)).sort()];
