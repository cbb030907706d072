// The drawing of a plan: the curve of p over the training, and below it the blocks that are open in each step.

import { percent } from "./percent.js";
import { followPointer } from "./pointing.js";

const NS = "http://www.w3.org/2000/svg";
const CURVE = 90; // the height of the curve, in the drawing's units; a step is one unit wide
const ROW = 16;
const GAP = 14;

/** The numbers of the open blocks. @param {boolean[]} mask @returns {number[]} */
export function openBlocks(mask) {
  return mask.flatMap((isOpen, i) => (isOpen ? [i] : []));
}

/** One path for a block: a bar for each run of steps in which it is open. Hundreds of single cells would be slow. */
function runsOf(masks, block) {
  let path = "";
  for (let step = 0; step < masks.length; ) {
    const first = step;
    while (step < masks.length && masks[step][block]) step++;
    if (step > first) path += `M${first} 0h${step - first}v${ROW - 3}h${first - step}z`;
    else step++;
  }
  return path;
}

function make(name, attributes, ...children) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** @param {{ masks: boolean[][], p: number[], shares: number[], share: number }} plan
 * @param {(block: number | null) => void} point is called when a block is pointed at
 * @returns {HTMLElement} */
export function drawPlan({ masks, p, shares, share }, point) {
  const [steps, blocks] = [masks.length, masks[0].length];
  const height = CURVE + GAP + blocks * ROW;
  const [curve, end] = [p.map((value, step) => `${step} ${(CURVE * (1 - value)).toFixed(1)}`), CURVE * (1 - p.at(-1))];
  const ends = `from ${p[0].toFixed(2)} to ${p.at(-1).toFixed(2)}`;
  const words = `p goes ${ends}; a block trains in ${percent(share)} of ${steps} steps.`;
  const look = { viewBox: `0 0 ${steps} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": words };
  const drawing = make("svg", look,
    make("path", { class: "area", d: `M0 ${CURVE}L${curve.join("L")}L${steps} ${end}V${CURVE}z` }),
    make("path", { class: "floor", d: `M0 ${CURVE}H${steps}M0 0H${steps}`, "vector-effect": "non-scaling-stroke" }));
  for (let block = 0; block < blocks; block++) {
    drawing.append(make("g", { "data-block": block, transform: `translate(0 ${CURVE + GAP + block * ROW})` },
      make("rect", { class: "track", width: steps, height: ROW - 3 }),
      make("path", { class: "runs", d: runsOf(masks, block) })));
  }
  drawing.append(make("rect", { class: "at", width: 2.5, height, "pointer-events": "none" }));
  const frame = document.createElement("div");
  frame.className = "plan-frame";
  frame.style.setProperty("--curve", `${(100 * (CURVE + GAP)) / height}%`);
  const labels = shares.map((own, block) => `<li data-block="${block}"><b>${block}</b> <span>${percent(own)}</span></li>`);
  frame.innerHTML = `<div class="p-axis" aria-hidden="true"><span>p = 1</span><span>p = 0</span></div>
    <ol class="rows" start="0" aria-label="Blocks, and in what share of the steps each trains">${labels.join("")}</ol>`;
  frame.prepend(drawing);
  followPointer(frame, point);
  return frame;
}
