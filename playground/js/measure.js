// How many of the test images base, LoRA and CoTo read correctly, as the switches and the slider stand.

import { askPercent } from "./guess.js";
import { finePercent } from "./percent.js";
import { openBlocks } from "./plan.js";
import { METHODS, NAMES, loadReaders } from "./read.js";
import { sampleOf } from "./sample.js";
import { breath, slices } from "./slices.js";
import { BLOCKS } from "./store.js";
import { freshPlace, shown } from "./waiting.js";

const SIZES = { 100: "100 random", 400: "400 random", all: "all of them" };

const options = Object.entries(SIZES).map(([size, words]) => `<option value="${size}">${words}</option>`);
const heads = METHODS.map((method) => `<th scope="col" class="${method}">${NAMES[method]}</th>`);
const MARKUP = `<div class="buttons"><label>Test images: <select>${options.join("")}</select></label>
<button type="button" class="go primary">Read them</button>
<progress value="0" aria-label="Test images read" hidden></progress></div>
<div class="fetching"></div><div class="asked"></div><table class="results" aria-label="Measurements, the latest first" hidden>
<thead><tr><th scope="col">blocks open</th>${heads.join("")}</tr></thead>
<tbody></tbody></table><p class="fine said" aria-live="polite"></p>`;

/** The standard error of a share of n images that were drawn, each at most once, from all; in points.
 * @param {number} share @param {number} n @param {number} all how many images there are @returns {number} */
export function standardError(share, n, all) {
  return 100 * Math.sqrt(((share * (1 - share)) / n) * ((all - n) / (all - 1)));
}

function seedWords({ t, seeds: [a, b] }) {
  if (t === 0 || t === 1 || a === b) return `seed ${t ? b : a}`;
  return `between seeds ${a} and ${b}, at ${Math.round(100 * t)}%`;
}

function openWords(open) {
  const on = openBlocks(open);
  if (on.length === BLOCKS) return "all blocks open";
  return on.length ? `block${on.length > 1 ? "s" : ""} ${on.join(", ")} open` : "no block open";
}

function row(state, n, shares) {
  const open = `<td class="mask">${state.open.map((isOpen) => `<i class="${isOpen ? "on" : "off"}"></i>`).join("")}
    <span class="unseen">${openBlocks(state.open).join(", ") || "none"}</span>
    <span class="fine">${seedWords(state)}; ${n} images</span></td>`;
  const cells = METHODS.map((method) => `<td><b>${finePercent(shares[method])}</b></td>`);
  return `<tr>${open}${cells.join("")}</tr>`;
}

function sentence(n, shares, all) {
  const isSample = n < all;
  const parts = METHODS.map((method) => {
    const spread = isSample ? ` ± ${standardError(shares[method], n, all).toFixed(1)}` : "";
    return `${NAMES[method]} ${(100 * shares[method]).toFixed(1)}${spread}`;
  });
  const what = isSample ? "After ± is the standard error that comes from the choice of the images. " : "";
  return `Read correctly, in percent: ${parts.join(", ")}. ${what}What other trainings give is in the figures below.`;
}

/** @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store
 * @param {import("./resources.js").Resources} resources */
export function mount(element, store, resources) {
  element.innerHTML = MARKUP;
  const [size, go, progress, fetching, asked, table, said] =
    ["select", ".go", "progress", ".fetching", ".asked", "table", ".said"].map((name) => element.querySelector(name));
  let running = 0; // the number of the measurement that runs; 0 if there is none
  let started = 0;
  const baseIsRight = new Map(); // image -> whether the base reads it, which nothing on this page changes

  async function measure(mine) {
    const [state, chosen] = [store.get(), size.value];
    const [images, read] = await shown(freshPlace(fetching), "the test images", () =>
      Promise.all([resources.images(), loadReaders(resources, state.seeds, state.t)]));
    if (mine !== running) return;
    const right = { base: 0, lora: 0, coto: 0 };
    const all = images.counts.length;
    const sample = sampleOf(all, chosen === "all" ? all : Number(chosen));
    const slice = slices();
    progress.max = sample.length;
    for (const [done, i] of sample.entries()) {
      const methods = baseIsRight.has(i) ? ["lora", "coto"] : METHODS;
      const readings = read(images.counts[i], state.open, state.t, methods);
      for (const method of methods) right[method] += readings[method].best === images.labels[i];
      if (readings.base) baseIsRight.set(i, readings.base.best === images.labels[i]);
      else right.base += baseIsRight.get(i);
      if (slice.isOver()) {
        progress.value = done + 1;
        await breath();
        if (mine !== running) return;
      }
    }
    const shares = Object.fromEntries(METHODS.map((method) => [method, right[method] / sample.length]));
    stop();
    if (store.get().ask) {
      said.textContent = "The images are read. Guess first: the question is below the button.";
      await guessed(state, shares, sample.length);
      if (mine !== started) return; // the next one was begun meanwhile
    }
    table.hidden = false;
    table.tBodies[0].insertAdjacentHTML("afterbegin", row(state, sample.length, shares));
    said.textContent = sentence(sample.length, shares, all);
  }
  function guessed(state, shares, n) {
    const choice = `${seedWords(state)}, ${openWords(state.open)}`;
    const question = `What share of the ${n} images do they read correctly (${choice})?`;
    const truth = Object.fromEntries(METHODS.map((method) => [NAMES[method], shares[method]]));
    return askPercent(asked, store, { id: "measured", question, truth });
  }
  function stop() {
    running = 0;
    fetching.replaceChildren();
    progress.hidden = true;
    go.textContent = "Read them";
  }
  go.addEventListener("click", async () => {
    if (running) return stop();
    const mine = (running = ++started);
    asked.replaceChildren(); // the last question, and what was said to its answer
    said.textContent = "";
    progress.value = 0;
    progress.hidden = false;
    go.textContent = "Stop";
    try {
      await measure(mine);
    } finally {
      if (mine === running) stop();
    }
  });
}
