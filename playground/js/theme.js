// Light or dark, or what the system says.

import { keep, recall } from "./kept.js";

const KEY = "coto-lab-theme";
const WORDS = { auto: "auto", light: "light", dark: "dark" };

/** @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store */
export function mount(element, store) {
  const options = Object.entries(WORDS).map(([value, words]) => `<option value="${value}">${words}</option>`);
  element.innerHTML = `<label class="theme"><span class="unseen">Colours</span><select>${options.join("")}</select></label>`;
  const select = element.querySelector("select");
  function show({ theme }) {
    select.value = theme;
    document.documentElement.dataset.theme = theme;
  }
  select.addEventListener("change", () => {
    store.set({ theme: select.value });
    keep(KEY, select.value);
  });
  store.subscribe(["theme"], show);
  const theme = recall(KEY);
  store.set({ theme: Object.hasOwn(WORDS, theme) ? theme : "auto" });
  show(store.get());
}
