// The pad: what is drawn goes into the state, and an image that comes from elsewhere is shown on the pad.

import { mountPad } from "./pad.js";

/** @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store */
export function mount(element, store) {
  let drawn = null;
  const pad = mountPad(element, (counts) => {
    drawn = counts;
    store.set({ counts, truth: null, hidden: false });
  });
  const follow = ({ counts }) => counts !== drawn && pad.show(counts);
  store.subscribe(["counts"], follow);
  follow(store.get());
}
