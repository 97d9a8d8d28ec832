/** The dashboard: what affectd says goes to the parts of the page that show it. */

import { askedForToken } from "./dialogs.js";
import { byId, el, setAttribute, setText } from "./dom.js";
import { People } from "./people.js";
import { Server, useToken } from "./server.js";
import { Sources } from "./sources.js";
import { State } from "./state.js";
import { startTheme } from "./theme.js";
import { Timeline } from "./timeline.js";
import { showLatencies, showUnreported } from "./unreported.js";
import { Utterances } from "./utterances.js";
import { colour, legend, listed, sentence } from "./words.js";

const FRESH_MS = 5000; // what is older was said before somebody listened to this page
const state = new State();
const server = new Server({ event, missed, meters, status, connection });
const sources = new Sources(state, () => server.look());
const timeline = new Timeline(state, server, (name) => sources.headOf(name));
const utterances = new Utterances(state);
const people = new People();
let isAsking = false; // for the token
let hasTried = false;
let isStale = true;

function event(event, run) {
  const isNewRun = run !== state.run;
  const utterance = state.take(event, run);
  if (isNewRun) {
    utterances.clear();
    timeline.rebuild();
    people.update();
  }
  if (event.reason === "people_changed" || event.reason === "profile_refined") people.update();
  if (!utterance) isStale ||= event.type === "status";
  else {
    timeline.update(utterance);
    if (event.type !== "partial") utterances.update(utterance);
    isStale = true;
    if (event.type === "utterance" && server.now_ms - Date.parse(event.time) < FRESH_MS) {
      setText(byId("announcements"), sentence(utterance));
    }
  }
}

function missed(number) {
  state.missed += number;
  state.note("missed", "this page", state.missed);
  isStale = true;
}

function meters(readings) {
  sources.meters(readings);
  for (const { name, too_short } of readings) {
    if (too_short !== (state.counts.get("too_short")?.get(name) ?? 0)) {
      state.note("too_short", name, too_short);
      isStale = true;
    }
  }
}

function status(facts) {
  const { bundle, version, provider, review_threshold, overload_step, left_out } = facts;
  timeline.sources(facts.sources.map(({ name }) => name));
  timeline.threshold(review_threshold);
  utterances.threshold = review_threshold;
  sources.status(facts.sources);
  for (const source of facts.sources) {
    if (source.lost_s > (state.counts.get("lost")?.get(source.name) ?? 0)) {
      state.note("lost", source.name, source.lost_s);
      isStale = true;
    }
  }
  const names = facts.sources.filter((source) => source.state === "listening").map(({ name }) => name);
  const heard = names.length ? `listening to ${listed(names)}` : "hears nobody";
  say(overload_step ? `${heard}; overloaded: ${left_out}` : heard, "connected");
  setText(byId("facts"), `${bundle} ${version} on ${provider}`);
}

async function connection(is, why) {
  if (is) {
    people.update();
    return;
  }
  say(why === "token" ? "no access" : "not connected", "away");
  sources.away();
  if (why !== "token" || isAsking) return;
  isAsking = true;
  const token = await askedForToken(hasTried ? "That was not it." : "It is in the settings of affectd, as web.token.");
  if (token === null) return; // who does not know it is not asked again
  useToken(token);
  isAsking = false;
  hasTried = true;
  await server.look();
}

function say(text, is) {
  setText(byId("connection"), text);
  setAttribute(byId("connection"), "data-is", is);
}

/** Show what changes more often than anybody can read. */
function refresh() {
  if (!isStale) return;
  isStale = false;
  showUnreported(state);
  showLatencies(state);
  const labels = legend(state.emotions);
  if (byId("legend").childElementCount === labels.length) return;
  byId("legend").replaceChildren(...labels.map((label) => el("li", { class: colour(label) }, label)));
}

startTheme();
refresh();
setInterval(refresh, 500);
server.start();
