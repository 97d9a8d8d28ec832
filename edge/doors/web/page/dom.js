/** Building the page. Text is always text: names of people and sources may be anything. */

/**
 * Return an element.
 * @param {string} name of the element
 * @param {Object<string, any>} attributes `on…` are listeners; null and false are left out
 * @param {...(Node|string)} children
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Return the element of an id. */
export const byId = (id) => document.getElementById(id);

/** Set text, and leave the document alone where it is that already. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute, and leave the document alone where it is that already. */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Return the value of the chosen radio button of a group, now and whenever another is chosen. */
export function follow(fieldset, chosen) {
  fieldset.addEventListener("change", (event) => chosen(event.target.value));
}
