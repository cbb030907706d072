// The figures with the lab's measurements, and the buttons that mark a block in all of them.

import { html } from "./chart.js";
import { addInterpolation } from "./figure_interpolation.js";
import { addPruning } from "./figure_pruning.js";
import { addShapley } from "./figure_shapley.js";
import { addStability } from "./figure_stability.js";
import { shown } from "./waiting.js";

/** The four figures. Each follows the marked block; one follows the switches, and one the place between two seeds.
 * @param {HTMLElement} element @param {object} store @param {{ figures: () => Promise<object> }} resources */
export async function mount(element, store, resources) {
  addStyle();
  const numbers = await shown(element, "the figures", () => resources.figures());
  const grid = html("div", { class: "figures" });
  element.append(markButtons(store, numbers.blocks), grid);
  for (const [name, add] of [
    ["interpolation", addInterpolation], ["pruning", addPruning], ["stability", addStability], ["shapley", addShapley],
  ]) {
    const figure = html("section", { class: "figure", "data-figure": name });
    grid.append(figure);
    add(figure, numbers, store);
  }
}

/** A row of buttons, one for each block. The pressed one is the marked block. */
function markButtons(store, blocks) {
  const said = html("span", { class: "mark-said", "aria-live": "polite" });
  const buttons = Array.from({ length: blocks }, (_, block) => {
    const button = html("button", { type: "button", "aria-label": `mark block ${block}` }, String(block));
    button.addEventListener("click", () => store.set({ marked: store.get().marked === block ? null : block }));
    return button;
  });
  const show = ({ marked }) => {
    buttons.forEach((button, block) => button.setAttribute("aria-pressed", String(block === marked)));
    said.textContent = marked === null ? "no block is marked" : `block ${marked} is marked`;
  };
  store.subscribe(["marked"], show);
  show(store.get());
  const label = html("span", { id: "mark-label" }, "Block");
  return html("div", { class: "mark-buttons", role: "group", "aria-labelledby": "mark-label" }, label, ...buttons, said);
}

function addStyle() {
  const href = new URL("../figures.css", import.meta.url).href;
  if (!document.querySelector(`link[href="${href}"]`)) document.head.append(html("link", { rel: "stylesheet", href }));
}
