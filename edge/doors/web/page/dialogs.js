/** Questions, over the page. The keyboard stays inside one, Escape says no, and the focus returns to where it was. */

import { el } from "./dom.js";

/**
 * Show a dialog; resolve when it is closed, to what `value` returns where it was agreed to, and else to null.
 * @param {string} title
 * @param {Node[]} content
 * @param {{yes?: string, no?: string, isGrave?: boolean, value?: () => any}} options without `yes` there is nothing to
 *   agree to
 */
export function dialog(title, content, { yes, no = "Cancel", isGrave = false, value = () => true } = {}) {
  return new Promise((resolve) => {
    const accept = yes ? el("button", { type: "submit", value: "yes", class: isGrave ? "grave" : "primary" }, yes) : "";
    const refuse = el("button", { type: "button", onclick: () => element.close() }, no);
    const heading = el("h2", {}, title);
    const form = el("form", { method: "dialog" }, heading, ...content, el("div", { class: "buttons" }, refuse, accept));
    const element = el("dialog", { class: "question" }, form);
    let answer = null;
    form.addEventListener("submit", () => (answer = value()));
    element.addEventListener("close", () => {
      element.remove();
      resolve(answer);
    });
    named(element, heading);
    document.body.append(element);
    element.showModal();
    (form.querySelector("input, select") ?? refuse).focus();
  });
}

let named_count = 0;

/** Give a dialog its heading as a name. */
export function named(element, heading) {
  heading.id = `dialog-${++named_count}`;
  element.setAttribute("aria-labelledby", heading.id);
}

export const confirmed = (title, text, yes) => dialog(title, [el("p", {}, text)], { yes });

/** Ask for one of a few choices, pairs of a value and what it is called; null: for none. */
export function chosen(title, text, label, choices, yes) {
  const select = el("select", {}, ...choices.map(([value, name]) => el("option", { value }, name)));
  return dialog(title, [el("p", {}, text), el("label", { class: "field" }, label, select)], {
    yes,
    value: () => select.value,
  });
}

/** Ask to type a text before something that cannot be undone. */
export function typed(title, text, label, expected, yes) {
  const input = el("input", { type: "text", autocomplete: "off", spellcheck: "false" });
  const check = () => input.setCustomValidity(input.value.trim() === expected ? "" : `Type ${expected}`);
  input.addEventListener("input", check);
  check();
  const content = [el("p", {}, text), el("label", { class: "field" }, label, input)];
  return dialog(title, content, { yes, isGrave: true, value: () => true });
}

/** Ask for the token of this dashboard; resolve to it, or to null. */
export function askedForToken(text) {
  const input = el("input", { type: "password", autocomplete: "off", required: true });
  const content = [el("p", {}, text), el("label", { class: "field" }, "Token", input)];
  return dialog("This dashboard needs its token", content, { yes: "Go on", value: () => input.value });
}

/** Say what did not work. */
export const failed = (error) => dialog("That did not work", [el("p", {}, error.message)], { no: "Close" });
