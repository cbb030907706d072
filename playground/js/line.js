// The straight line between two trainings: a slider, and what is read in the image at eleven places of the line.

import { percent } from "./percent.js";
import { NAMES, loadReaders } from "./read.js";
import { breath, slices } from "./slices.js";
import { SEEDS } from "./store.js";
import { shown } from "./waiting.js";

const PLACES = Array.from({ length: 11 }, (_, i) => i / 10);
const QUIET = 150; // ms without a change, after which the line is read again
const MEMBERS = ["lora", "coto"];

function chooser(name, words) {
  const options = Array.from({ length: SEEDS }, (_, seed) => `<option value="${seed}">seed ${seed}</option>`);
  return `<label><span class="unseen">${words}</span><select class="${name}">${options.join("")}</select></label>`;
}

const row = (method) => `<tr class="${method}"><th scope="row">${NAMES[method]}</th>${"<td></td>".repeat(PLACES.length)}</tr>`;

const MARKUP = `<div class="ends">${chooser("from", "Left end")}<output class="where"></output>
${chooser("to", "Right end")}</div>
<input type="range" min="0" max="1" step="0.05" aria-label="Place on the line between the two trainings">
<table class="along" aria-label="What is read at eleven places of the line">
<tbody>${MEMBERS.map(row).join("")}</tbody></table>
<p class="fine said" aria-live="polite"></p><div class="fetching"></div>`;

const placeWords = (t, seeds) => {
  if (seeds[0] === seeds[1]) return "both ends are the same training";
  if (t === 0) return `seed ${seeds[0]} alone`;
  if (t === 1) return `seed ${seeds[1]} alone`;
  return `${Math.round(100 * (1 - t))}% seed ${seeds[0]}, ${Math.round(100 * t)}% seed ${seeds[1]}`;
};

function sentence(places) {
  const parts = MEMBERS.map((method) => {
    const best = places.map((readings) => readings[method].best);
    const kept = best.every((digit) => digit === best[0]);
    const along = kept ? `${best[0]} all along` : `${best[0]}, halfway ${best[5]}, and ${best.at(-1)} at the end`;
    return `${NAMES[method]} reads ${along}`;
  });
  return `${parts.join("; ")}.`;
}

/** @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store
 * @param {import("./resources.js").Resources} resources */
export function mount(element, store, resources) {
  element.innerHTML = MARKUP;
  const [slider, from, to, where, table, said, fetching] =
    ["input", ".from", ".to", ".where", "table", ".said", ".fetching"].map((name) => element.querySelector(name));
  const rows = Object.fromEntries(MEMBERS.map((method) => [method, [...element.querySelectorAll(`.${method} td`)]]));

  function show({ t, seeds }) {
    slider.value = t;
    [from.value, to.value] = seeds;
    where.textContent = placeWords(t, seeds);
    slider.setAttribute("aria-valuetext", where.textContent);
    const near = PLACES.findIndex((place) => Math.abs(place - t) <= 0.051);
    for (const cells of Object.values(rows)) cells.forEach((cell, i) => cell.classList.toggle("here", i === near));
  }
  slider.addEventListener("input", () => store.set({ t: Number(slider.value) }));
  table.addEventListener("click", ({ target }) => {
    if (target.cellIndex > 0) store.set({ t: PLACES[target.cellIndex - 1] }); // the first cell is the row's name
  });
  for (const select of [from, to]) {
    select.addEventListener("change", () => store.set({ seeds: [Number(from.value), Number(to.value)] }));
  }
  store.subscribe(["t", "seeds"], show);
  show(store.get());

  let version = 0;
  async function readAlong() {
    const mine = ++version;
    const { counts, open, hidden } = store.get();
    if (!counts || hidden) return void empty();
    table.classList.add("stale");
    await new Promise((resolve) => setTimeout(resolve, QUIET));
    if (mine !== version) return;
    const wanted = () => loadReaders(resources, store.get().seeds, 1);
    const read = await shown(fetching, "the second training", wanted, (callback) => store.subscribe(["seeds"], callback));
    if (mine !== version) return;
    const along = [];
    for (const slice = slices(); along.length < PLACES.length; ) {
      along.push(read(counts, open, PLACES[along.length], MEMBERS));
      if (slice.isOver()) await breath();
      if (mine !== version) return;
    }
    draw(along);
  }
  function empty() {
    table.classList.remove("stale");
    for (const cell of Object.values(rows).flat()) {
      cell.textContent = "";
      cell.title = "";
      cell.dataset.verdict = "";
      cell.style.removeProperty("--certainty");
    }
    said.textContent = store.get().counts
      ? "The line waits for your guess."
      : "Draw a digit to see what is read along the line.";
  }
  function draw(along) {
    const { seeds, truth } = store.get();
    table.classList.remove("stale");
    along.forEach((readings, i) => {
      for (const method of MEMBERS) {
        const [cell, { best, certainty }] = [rows[method][i], readings[method]];
        cell.textContent = best;
        cell.dataset.verdict = truth === null ? "" : best === truth ? "right" : "wrong";
        cell.style.setProperty("--certainty", percent(certainty));
        cell.title = `${placeWords(PLACES[i], seeds)}: ${percent(certainty)} certain`;
      }
    });
    said.textContent = `${sentence(along)} The stronger a colour, the more certain the reading.`;
  }
  store.subscribe(["counts", "truth", "seeds", "open", "hidden"], readAlong);
  readAlong();
}
