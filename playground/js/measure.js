// How many of a random sample of test images base, LoRA and CoTo read correctly, as the switches and the slider stand.

import { METHODS, NAMES, loadReaders } from "./read.js";
import { breath, slices } from "./slices.js";
import { shown } from "./waiting.js";

const SAMPLE = 200;

const MARKUP = `<div class="buttons"><button type="button" class="go primary">Read ${SAMPLE} test images</button>
<progress max="${SAMPLE}" value="0" aria-label="Test images read" hidden></progress></div>
<div class="fetching"></div><table class="results" hidden><caption class="unseen">Measurements, the latest first</caption>
<thead><tr><th scope="col">blocks open</th><th scope="col">seeds</th>${METHODS.map((method) =>
  `<th scope="col" class="${method}">${NAMES[method]}</th>`).join("")}</tr></thead><tbody></tbody></table>
<p class="fine said" aria-live="polite"></p>`;

/** The standard error of a share of n independent images, in points.
 * @param {number} share @param {number} n @returns {number} */
export function standardError(share, n) {
  return 100 * Math.sqrt((share * (1 - share)) / n);
}

function sampleOf(n) {
  const chosen = new Set();
  while (chosen.size < Math.min(SAMPLE, n)) chosen.add(Math.floor(Math.random() * n));
  return [...chosen];
}

const seedWords = ({ t, seeds: [a, b] }) => (t === 0 ? `${a}` : t === 1 ? `${b}` : `${a} → ${b}, at ${Math.round(100 * t)}%`);

function row(state, shares) {
  const open = `<td class="mask">${state.open.map((isOpen) => `<i class="${isOpen ? "on" : "off"}"></i>`).join("")}
    <span class="unseen">${state.open.flatMap((isOpen, i) => (isOpen ? [i] : [])).join(", ") || "none"}</span></td>`;
  const cells = METHODS.map((method) => `<td class="${method}"><b>${(100 * shares[method]).toFixed(1)}%</b></td>`);
  return `<tr>${open}<td>${seedWords(state)}</td>${cells.join("")}</tr>`;
}

function sentence(shares) {
  const parts = METHODS.map((method) =>
    `${NAMES[method]} ${(100 * shares[method]).toFixed(1)} ± ${standardError(shares[method], SAMPLE).toFixed(1)}`);
  return `Read correctly, in percent: ${parts.join(", ")}. After ± is the standard error that comes from the choice of ` +
    `${SAMPLE} images. What other trainings give is in the figures below.`;
}

/** @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store
 * @param {import("./resources.js").Resources} resources */
export function mount(element, store, resources) {
  element.innerHTML = MARKUP;
  const [go, progress, fetching, table, said] = [".go", "progress", ".fetching", "table", ".said"].map((name) =>
    element.querySelector(name));

  async function measure() {
    const state = store.get();
    const [images, read] = await shown(fetching, "the test images", () =>
      Promise.all([resources.images(), loadReaders(resources, state.seeds, state.t)]));
    const right = { base: 0, lora: 0, coto: 0 };
    const slice = slices();
    const sample = sampleOf(images.counts.length);
    for (const [done, i] of sample.entries()) {
      const readings = read(images.counts[i], state.open, state.t);
      for (const method of METHODS) right[method] += readings[method].best === images.labels[i];
      if (slice.isOver()) {
        progress.value = done + 1;
        await breath();
      }
    }
    const shares = Object.fromEntries(METHODS.map((method) => [method, right[method] / sample.length]));
    table.hidden = false;
    table.tBodies[0].insertAdjacentHTML("afterbegin", row(state, shares));
    said.textContent = sentence(shares);
  }
  go.addEventListener("click", async () => {
    if (go.getAttribute("aria-disabled") === "true") return;
    go.setAttribute("aria-disabled", "true"); // and not `disabled`, which would take the keyboard's focus away
    progress.hidden = false;
    try {
      await measure();
    } finally {
      progress.hidden = true;
      go.removeAttribute("aria-disabled");
    }
  });
}
