// Eight switches, one for the adapter's part in each block; and ways to set all of them at once.

import { openBlocks } from "./plan.js";
import { blockOf, followPointer } from "./pointing.js";
import { sampleOf } from "./sample.js";
import { BLOCKS } from "./store.js";

const all = (rule) => Array.from({ length: BLOCKS }, (_, i) => rule(i));
const SETS = {
  "All on": () => all(() => true),
  "All off": () => all(() => false),
  "Every other": () => all((i) => i % 2 === 0), // as the lab's pruning pattern of this name
};

/** A mask with this many blocks open, every such mask with the same probability.
 * @param {number} count 0 to 8 @returns {boolean[]} */
function randomOpen(count) {
  const chosen = sampleOf(BLOCKS, count);
  return all((i) => chosen.includes(i));
}

function sentence(open) {
  const on = openBlocks(open);
  if (on.length === BLOCKS) return "All blocks are open: the adapters as they were trained.";
  if (!on.length) return "No block is open: both adapters are gone, and only the base reads.";
  return `${on.length} of ${BLOCKS} blocks ${on.length > 1 ? "are" : "is"} open: ${on.join(", ")}.`;
}

const MARKUP = `<div class="chain"><span class="end" aria-hidden="true">image</span>
<div class="switches" role="group" aria-label="Blocks, from the image to the answer">${all((i) =>
  `<button type="button" role="switch" aria-label="Block ${i}" data-block="${i}"><span class="lamp"></span><b>${i}</b>
</button>`).join("")}</div>
<span class="end" aria-hidden="true">answer</span></div>
<div class="buttons">${Object.keys(SETS).map((name) => `<button type="button" class="set">${name}</button>`).join("")}</div>
<div class="field"><label for="open-count">Random blocks</label><input id="open-count" type="range" min="1" max="7" value="4">
<button type="button" class="draw"></button></div>
<p class="fine said" aria-live="polite"></p>`;

/** @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store */
export function mount(element, store) {
  element.innerHTML = MARKUP;
  const group = element.querySelector(".switches");
  const switches = [...group.children];
  const [count, draw, said] = ["input", ".draw", ".said"].map((name) => element.querySelector(name));

  function show({ open, marked }) {
    switches.forEach((button, i) => {
      button.setAttribute("aria-checked", open[i]);
      button.classList.toggle("marked", marked === i);
    });
    said.textContent = sentence(open);
  }
  switches.forEach((button, i) => {
    button.addEventListener("click", () => store.set({ open: store.get().open.map((isOpen, j) => (i === j) !== isOpen) }));
  });
  const point = (block) => store.set({ marked: block });
  followPointer(group, point);
  group.addEventListener("focusin", (event) => point(blockOf(event))); // by keyboard
  group.addEventListener("focusout", (event) => blockOf(event) === store.get().marked && point(null));
  element.querySelectorAll(".set").forEach((button) =>
    button.addEventListener("click", () => store.set({ open: SETS[button.textContent]() })));
  const words = () => (draw.textContent = `Open ${count.value} of ${BLOCKS}`);
  count.addEventListener("input", words);
  draw.addEventListener("click", () => store.set({ open: randomOpen(Number(count.value)) }));
  store.subscribe(["open", "marked"], show);
  words();
  show(store.get());
}
