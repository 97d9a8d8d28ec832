/** Light, dark, or as the device has it; remembered by this browser. */

import { byId, follow } from "./dom.js";

const KEY = "affectd-theme";

export function startTheme() {
  const kept = localStorage.getItem(KEY) ?? "auto";
  apply(kept);
  for (const input of byId("themes").querySelectorAll("input")) input.checked = input.value === kept;
  follow(byId("themes"), (theme) => {
    localStorage.setItem(KEY, theme);
    apply(theme);
  });
}

function apply(theme) {
  document.documentElement.dataset.theme = theme;
}
