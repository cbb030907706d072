// Images of the test set: any one, or one in which LoRA and CoTo read different digits.

import { loadReaders } from "./read.js";
import { breath, slices } from "./slices.js";
import { shown } from "./waiting.js";

const MARKUP = `<div class="buttons"><button type="button" class="any">A test image</button>
<button type="button" class="apart">One they disagree on</button>
<label class="fine"><input type="checkbox"> Ask me before you show</label></div>
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
  const [any, apart, ask, said, fetching] = [".any", ".apart", "input", ".said", ".fetching"].map((name) =>
    element.querySelector(name));
  let taken = null; // the image that was taken here last
  let search = 0; // the number of the last search; an older one ends
  const imagesShown = () => shown(fetching, "the test images", resources.images);

  function take(images, i, words) {
    taken = images.counts[i];
    said.textContent = words;
    store.set({ counts: taken, truth: images.labels[i], hidden: store.get().ask });
  }
  any.addEventListener("click", async () => {
    const mine = ++search;
    const images = await imagesShown();
    const i = Math.floor(Math.random() * images.counts.length);
    if (mine === search) take(images, i, `Test image ${i + 1} of ${images.counts.length}.`);
  });
  apart.addEventListener("click", async () => {
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
  store.subscribe(["counts"], ({ counts }) => {
    if (counts === taken) return;
    search++;
    said.textContent = "";
  });

  const showAsk = (state) => (ask.checked = state.ask);
  ask.addEventListener("change", () => store.set({ ask: ask.checked, hidden: ask.checked && store.get().hidden }));
  store.subscribe(["ask"], showAsk);
  showAsk(store.get());
}
