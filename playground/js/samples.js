// Images of the test set: any one, or one in which LoRA and CoTo read different digits, or the one that an address names.

import { scrollToQuestion } from "./guess.js";
import { testNumber } from "./images.js";
import { loadReaders } from "./read.js";
import { breath, slices } from "./slices.js";
import { same } from "./store.js";
import { freshPlace, shown } from "./waiting.js";

const MARKUP = `<div class="buttons"><button type="button" class="any">A test image</button>
<button type="button" class="apart">One they disagree on</button>
<label class="fine"><input type="checkbox"> Ask me before you show (test images, measurements, figures)</label></div>
<p class="fine said" aria-live="polite"></p><div class="fetching"></div>`;

/** The first image, from a random one on, in which LoRA and CoTo read different digits.
 * @param {{ counts: Uint8Array[] }} images @param {(i: number) => boolean} differ
 * @param {(looked: number) => boolean} goOn is told how many were looked at, and says whether to go on
 * @returns {Promise<number | null>} its place; null if there is none, or if the search was ended */
async function findApart(images, differ, goOn) {
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
  let search = 0; // the number of the last search; an older one ends
  let note = null; // what was said last, and the part of the state for which it holds
  let all = ""; // " of" how many test images, once that is known

  async function fetchImages() {
    const images = await shown(freshPlace(fetching), "the test images", resources.images);
    all = ` of ${images.counts.length}`;
    return images;
  }
  function show(state) {
    const holds = note && Object.entries(note.about).every(([key, value]) => same(state[key], value));
    const number = state.counts && testNumber(state);
    const words = holds ? note.words : number ? `Test image ${number}${all}.` : "";
    if (said.textContent !== words) said.textContent = words; // a screen reader would say the same words again
  }
  function say(words, switches = {}) {
    const { counts, test } = store.get();
    note = { words, about: { counts, test, ...switches } };
    show(store.get());
  }
  function take(images, i) {
    const counts = images.counts[i];
    store.set({ counts, test: { number: i + 1, counts }, truth: images.labels[i], hidden: store.get().ask });
  }

  any.addEventListener("click", async () => {
    const mine = ++search;
    const images = await fetchImages();
    if (mine !== search) return;
    take(images, Math.floor(Math.random() * images.counts.length));
    scrollToQuestion();
  });
  apart.addEventListener("click", async () => {
    const mine = ++search;
    const images = await fetchImages();
    const { seeds, t, open } = store.get();
    const read = await shown(freshPlace(fetching), "the models", () => loadReaders(resources, seeds, t));
    const differ = (i) => {
      const { lora, coto } = read(images.counts[i], open, t, ["lora", "coto"]);
      return lora.best !== coto.best;
    };
    const i = await findApart(images, differ, (looked) => {
      if (mine === search) say(`They agree on ${looked} images so far …`);
      return mine === search;
    });
    if (mine !== search) return;
    const switches = { seeds, t, open };
    if (i === null) return say(`As the switches stand, they agree on all ${images.counts.length} images.`, switches);
    take(images, i);
    scrollToQuestion();
    say(`Test image ${i + 1}: LoRA and CoTo disagree on it, as the switches stand.`, switches);
  });

  /** Bring the test image that an address names. */
  async function bring(number) {
    const mine = ++search;
    const images = await fetchImages();
    if (mine !== search) return;
    if (number <= images.counts.length) return take(images, number - 1);
    store.set({ test: null });
    say(`The address names test image ${number}, but there are only ${images.counts.length}.`);
  }
  function follow(state) {
    if (testNumber(state)) return void (state.counts || bring(state.test.number));
    search++; // the image is another one
    fetching.replaceChildren();
    store.set({ test: null });
  }
  store.subscribe(["counts", "test"], follow);
  follow(store.get());
  store.subscribe(["counts", "test", "open", "seeds", "t"], show);

  const showAsk = (state) => (ask.checked = state.ask);
  ask.addEventListener("change", () => store.set({ ask: ask.checked, hidden: ask.checked && store.get().hidden }));
  store.subscribe(["ask"], showAsk);
  showAsk(store.get());
}
