// A schedule that the reader changes, the blocks that it opens in every step of a training, and what that saves.

import { openBlocks, drawPlan } from "./plan.js";
import { finePercent } from "./percent.js";
import { expectedOpen, trainingMasks } from "./masks.js";
import { spared } from "./saving.js";
import { SCHEDULES } from "./schedules.js";
import { BLOCKS, same } from "./store.js";

export const STEPS = 800; // as many as the trainings of the gallery have
const PRESETS = {
  "the paper": { kind: "Linear", start: 0, end: 1, ramp: 0.75 },
  "fast start": { kind: "Sine", start: 0, end: 1, ramp: 0.75 },
  "slow start": { kind: "Exponential", start: 0, end: 1, ramp: 0.75 },
  "stochastic depth": { kind: "Constant", p: 0.5 },
  "plain LoRA": { kind: "Constant", p: 1 },
};
const SHAPES = {
  Linear: "rises evenly",
  Sine: "rises fast at first",
  Exponential: "rises slowly at first",
  Constant: "is constant",
};
const FIELDS = { start: "p at the start", end: "p at the end", ramp: "the rise takes this share of the steps", p: "p" };
const blocks = (share) => `${(BLOCKS * share).toFixed(1)} of ${BLOCKS} blocks`;
const COUNTED = "It is counted in the draws, not timed.";
const FACTS = {
  share: {
    words: "open on average",
    shown: blocks,
    why: (plan) => `Counted in these draws. So a block trains in ${finePercent(plan.share)} of the steps.`,
  },
  expected: {
    words: "expected from p",
    shown: blocks,
    why: (plan) => `The mean over all possible draws. p alone would give ${(BLOCKS * plan.alone).toFixed(1)}; but at least one
      block is always open.`,
  },
  adapters: {
    words: "adapters’ work saved",
    shown: finePercent,
    why: () => `In a block that is not open, the adapter computes nothing. ${COUNTED}`,
  },
  backward: {
    words: "backward passes saved",
    shown: finePercent,
    why: () => `The backward pass stops at the lowest open block: no block below it needs a gradient. ${COUNTED}`,
  },
};
const RAMP = { start: 0, end: 1, ramp: 0.75 };

const options = Object.entries(SHAPES).map(([kind, words]) => `<option value="${kind}">${words} (${kind})</option>`);
const presets = Object.keys(PRESETS).map((name) => `<button type="button" class="preset">${name}</button>`);
const fields = Object.entries(FIELDS).map(([name, words]) => `<div class="field" data-field="${name}">
<label for="schedule-${name}">${words}</label><input type="range" id="schedule-${name}" min="0" max="1" step="0.05">
<output for="schedule-${name}"></output></div>`);
const facts = Object.entries(FACTS).map(([name, { words }]) =>
  `<div class="${name}"><dt>${words}</dt><dd class="number"></dd><dd class="fine"></dd></div>`);

const MARKUP = `<div class="buttons" role="group" aria-label="Schedules to begin with">${presets.join("")}</div>
<div class="planner"><div><div class="field"><label for="kind">The probability p</label>
<select id="kind">${options.join("")}</select></div>${fields.join("")}
<div class="field"><span>Seed of the draws: <b class="seed"></b></span>
<button type="button" class="again">Next seed</button></div></div>
<div><div class="plan"></div><div class="under"><label for="step">Step</label>
<input id="step" type="range" min="1" max="${STEPS}" value="1"><output for="step"></output></div>
<p class="fine said" aria-live="polite"></p>
<div class="buttons"><button type="button" class="use">Set the switches to this step</button></div></div></div>
<dl class="facts">${facts.join("")}</dl>`;

/** The schedule after one of its arguments was moved: start is never above end, so the other one goes along.
 * @param {import("./store.js").ScheduleChoice} schedule @param {string} name @param {number} value */
export function moved(schedule, name, value) {
  const next = { ...schedule, [name]: value };
  if (name === "start") next.end = Math.max(next.end, value);
  if (name === "end") next.start = Math.min(next.start, value);
  return next;
}

/** The masks of a training with this schedule, and the numbers that describe them.
 * @param {import("./store.js").ScheduleChoice} choice @param {number} seed */
export function planOf(choice, seed) {
  const { kind, ...options } = choice;
  const schedule = SCHEDULES[kind](options);
  const masks = trainingMasks(BLOCKS, schedule, { totalSteps: STEPS, seed });
  const p = Array.from({ length: STEPS }, (_, step) => schedule(step / STEPS));
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return {
    masks,
    p,
    share: mean(masks.flat().map(Number)),
    shares: Array.from({ length: BLOCKS }, (_, i) => mean(masks.map((mask) => Number(mask[i])))),
    alone: mean(p),
    expected: mean(p.map((value) => expectedOpen(BLOCKS, value))) / BLOCKS,
    ...spared(masks),
  };
}

/** @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store */
export function mount(element, store) {
  element.innerHTML = MARKUP;
  const find = (name) => element.querySelector(name);
  const [step, map] = [find("#step"), find(".plan")];
  let plan;

  function showStep() {
    const at = Number(step.value) - 1;
    const open = openBlocks(plan.masks[at]);
    step.nextElementSibling.textContent = at + 1;
    const which = open.length > 1 ? `blocks ${open.join(", ")}` : `block ${open[0]} (at least one always is)`;
    find(".said").textContent = `Step ${at + 1} of ${STEPS}: p = ${plan.p[at].toFixed(2)}; open: ${which}`;
    map.querySelector(".at").setAttribute("transform", `translate(${at} 0)`);
  }
  function show({ schedule, draw }) {
    plan = planOf(schedule, draw);
    find("#kind").value = schedule.kind;
    for (const button of element.querySelectorAll(".preset")) {
      button.setAttribute("aria-pressed", same(PRESETS[button.textContent], schedule));
    }
    for (const name of Object.keys(FIELDS)) {
      const field = find(`[data-field=${name}]`);
      field.hidden = !(name in schedule);
      if (field.hidden) continue;
      field.querySelector("input").value = schedule[name];
      field.querySelector("output").textContent = schedule[name].toFixed(2);
    }
    find(".seed").textContent = draw;
    for (const [name, { shown, why }] of Object.entries(FACTS)) {
      const [number, reason] = element.querySelectorAll(`.facts .${name} dd`);
      number.textContent = shown(plan[name]);
      reason.textContent = why(plan);
    }
    map.replaceChildren(drawPlan(plan, (block) => store.set({ marked: block })));
    mark(store.get());
    showStep();
  }
  function chooseStep({ clientX }) {
    const box = map.querySelector("svg").getBoundingClientRect();
    const share = (clientX - box.left) / box.width;
    if (share < 0 || share > 1) return; // beside the map
    step.value = 1 + Math.floor(share * STEPS);
    showStep();
  }
  function mark({ marked }) {
    for (const row of element.querySelectorAll(".plan [data-block]")) {
      row.classList.toggle("marked", Number(row.dataset.block) === marked);
    }
  }

  element.querySelectorAll(".preset").forEach((button) =>
    button.addEventListener("click", () => store.set({ schedule: PRESETS[button.textContent] })));
  find("#kind").addEventListener("change", ({ target: { value: kind } }) => {
    const { kind: old, ...kept } = store.get().schedule;
    if (kind === "Constant") store.set({ schedule: { kind, p: 0.5 } });
    else store.set({ schedule: { kind, ...(old === "Constant" ? RAMP : kept) } });
  });
  for (const name of Object.keys(FIELDS)) {
    find(`#schedule-${name}`).addEventListener("input", ({ target }) =>
      store.set({ schedule: moved(store.get().schedule, name, Number(target.value)) }));
  }
  const next = () => (store.get().draw + 1) % 10_000; // an address can name four digits
  find(".again").addEventListener("click", () => store.set({ draw: next() }));
  step.addEventListener("input", showStep);
  map.addEventListener("click", chooseStep);
  map.addEventListener("pointermove", (event) => event.buttons === 1 && chooseStep(event));
  find(".use").addEventListener("click", () => store.set({ open: [...plan.masks[Number(step.value) - 1]] }));
  store.subscribe(["schedule", "draw"], show);
  store.subscribe(["marked"], mark);
  show(store.get());
}
