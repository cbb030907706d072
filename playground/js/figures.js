// The figures with the lab's measurements, and the buttons that choose a block in all of them.

import { html } from "./chart.js";
import { addInterpolation } from "./figure_interpolation.js";
import { addPruning } from "./figure_pruning.js";
import { addShapley } from "./figure_shapley.js";
import { addStability } from "./figure_stability.js";
import { blockOf, followPointer } from "./pointing.js";
import { shown } from "./waiting.js";

const TASKS = "A claim stands below each figure. Three tasks judge it: to read handwritten digits, as on this page; to " +
  "rewrite character strings; and to tell which library a Python docstring is from.";

/** The four figures. Each follows the marked block; one follows the switches, and one the place between two seeds.
 * @param {HTMLElement} element @param {object} store @param {{ figures: () => Promise<object> }} resources */
export async function mount(element, store, resources) {
  addStyle();
  const numbers = await shown(element, "the figures", () => resources.figures());
  const grid = html("div", { class: "figures" });
  element.append(html("p", { class: "fine" }, TASKS), markButtons(store, numbers.blocks), grid);
  for (const [name, add] of [
    ["interpolation", addInterpolation], ["pruning", addPruning], ["stability", addStability], ["shapley", addShapley],
  ]) {
    const figure = html("section", { class: "figure", "data-figure": name });
    grid.append(figure);
    add(figure, numbers, store);
  }
  followPointer(element, (block) => store.set({ marked: block }));
  element.addEventListener("click", (event) => choose(store, blockOf(event)));
}

/** Choose a block, or let it go if it is the chosen one; then the mark goes although the pointer is still there. */
function choose(store, block) {
  if (block !== null) store.set({ chosen: store.get().chosen === block ? null : block, marked: null });
}

/** A row of buttons, one for each block, also for the keyboard. The pressed one is the chosen block. */
function markButtons(store, blocks) {
  const said = html("span", { class: "mark-said", "aria-live": "polite" });
  const buttons = Array.from({ length: blocks }, (_, block) => {
    const names = { type: "button", "aria-label": `mark block ${block}`, "data-block": block };
    return html("button", names, String(block));
  });
  const show = ({ marked, chosen }) => {
    buttons.forEach((button, block) => {
      button.setAttribute("aria-pressed", String(block === chosen));
      button.classList.toggle("marked", block === marked);
    });
    said.textContent = marked === null ? "no block is marked" : `block ${marked} is marked`;
  };
  store.subscribe(["marked", "chosen"], show);
  show(store.get());
  const label = html("span", { id: "mark-label" }, "Block");
  return html("div", { class: "mark-buttons", role: "group", "aria-labelledby": "mark-label" }, label, ...buttons, said);
}

function addStyle() {
  const href = new URL("../figures.css", import.meta.url).href;
  if (!document.querySelector(`link[href="${href}"]`)) document.head.append(html("link", { rel: "stylesheet", href }));
}
