/** The utterances of a lane as a list of options, which the arrow keys walk. */

import { el, setAttribute, setText } from "./dom.js";

export class Walk {
  /**
   * @param {HTMLElement} view of the lane, which gets the focus
   * @param {Map<number, Block>} blocks by the id of the utterance, the oldest first
   */
  constructor(view, blocks) {
    Object.assign(this, { view, blocks, id: null });
    this.caption = el("p", { class: "caption", "aria-hidden": "true" });
    view.append(this.caption);
    view.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show what the lane has become: the utterance that was reached is marked, as long as it is there. */
  follow() {
    const reached = this.blocks.get(this.id)?.element;
    if (!reached) this.id = null;
    for (const { element } of this.blocks.values()) setAttribute(element, "aria-selected", element === reached);
    setAttribute(this.view, "aria-activedescendant", reached?.id ?? "");
    setText(this.caption, reached?.getAttribute("aria-label") ?? "");
  }

  #key(event) {
    const ids = [...this.blocks.keys()];
    const last = ids.length - 1;
    const at = ids.indexOf(this.id);
    const before = at < 0 ? last : Math.max(0, at - 1);
    const after = at < 0 ? last : Math.min(last, at + 1);
    const to = { ArrowLeft: before, ArrowRight: after, Home: 0, End: last }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.id = ids[to] ?? null;
    this.follow();
  }
}
