// The pad, and the buttons that put an image of the test set on it.

import { mountPad } from "./pad.js";
import { loadReaders } from "./read.js";
import { breath, slices } from "./slices.js";
import { shown } from "./waiting.js";

const MARKUP = `<div class="pad"></div>
<div class="buttons"><button type="button" class="any">A test image</button>
<button type="button" class="apart">One they disagree on</button></div>
<label class="fine asks"><input type="checkbox"> Ask me before you show what is read in it</label>
<p class="fine said" aria-live="polite"></p><div class="fetching"></div>`;

/** The first image, from a random one on, in which LoRA and CoTo read different digits.
 * @param {{ counts: Uint8Array[] }} images @param {(i: number) => boolean} differ
 * @param {(looked: number) => boolean} goOn is told how many were looked at, and says whether to go on
 * @returns {Promise<number | null>} its place; null if there is none, or if the search was ended */
export async function findApart(images, differ, goOn) {
  const n = images.counts.length;
  const first = Math.floor(Math.random() * n);
  for (let looked = 0, slice = slices(); looked < n; looked++) {
    const i = (first + looked) % n;
    if (differ(i)) return i;
    if (slice.isOver()) {
      await breath();
      if (!goOn(looked + 1)) return null;
    }
  }
  return null;
}

/** @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store
 * @param {import("./resources.js").Resources} resources */
export function mount(element, store, resources) {
  element.innerHTML = MARKUP;
  const [said, fetching, ask] = [".said", ".fetching", ".asks input"].map((name) => element.querySelector(name));
  let search = 0; // the number of the last search; an older one ends
  let drawn = null; // the image that the reader has drawn; any other one comes from elsewhere, and the pad shows it
  const pad = mountPad(element.querySelector(".pad"), (counts) => {
    search++;
    drawn = counts;
    said.textContent = "";
    store.set({ counts, truth: null, hidden: false });
  });
  const follow = ({ counts }) => counts !== drawn && pad.show(counts);
  store.subscribe(["counts"], follow);
  follow(store.get());
  const showAsk = (state) => (ask.checked = state.ask);
  store.subscribe(["ask"], showAsk);
  showAsk(store.get());
  ask.addEventListener("change", () => store.set({ ask: ask.checked, hidden: ask.checked && store.get().hidden }));

  function take(images, i, words) {
    said.textContent = words;
    store.set({ counts: images.counts[i], truth: images.labels[i], hidden: store.get().ask });
  }
  const imagesShown = () => shown(fetching, "the test images", resources.images);

  element.querySelector(".any").addEventListener("click", async () => {
    search++;
    const images = await imagesShown();
    const i = Math.floor(Math.random() * images.counts.length);
    take(images, i, `Test image ${i + 1} of ${images.counts.length}.`);
  });

  element.querySelector(".apart").addEventListener("click", async () => {
    const mine = ++search;
    const images = await imagesShown();
    const { seeds, t, open } = store.get();
    const read = await shown(fetching, "the models", () => loadReaders(resources, seeds, t));
    const differ = (i) => {
      const { lora, coto } = read(images.counts[i], open, t, ["lora", "coto"]);
      return lora.best !== coto.best;
    };
    const i = await findApart(images, differ, (looked) => {
      if (mine === search) said.textContent = `They agree on ${looked} images so far …`;
      return mine === search;
    });
    if (mine !== search) return;
    if (i === null) said.textContent = `As the switches stand, they agree on all ${images.counts.length} images.`;
    else take(images, i, `Test image ${i + 1}: LoRA and CoTo disagree on it, as the switches stand.`);
  });
}
