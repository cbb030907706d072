// The page asks before it shows, as the notebooks do, and keeps the score.

import { keep, recall } from "./kept.js";
import { finePercent, percent } from "./percent.js";
import { METHODS, NAMES, namesOf, withArticle } from "./read.js";

const NEAR = 5; // percentage points within which a guessed number counts as right
const BUTTONS = `<div class="buttons"><button class="primary">Show</button>
  <button type="button" class="skip-it">Show without a guess</button></div>`;

function addScore(store, asked, right) {
  const { score } = store.get();
  store.set({ score: { asked: score.asked + asked, right: score.right + right } });
}

const KEY = "coto-lab-score";

/** The score that an earlier visit left, if it is one. */
function keptScore() {
  const [right, asked] = (recall(KEY)?.match(/^(\d{1,6}) of (\d{1,6})$/)?.slice(1) ?? [0, 0]).map(Number);
  return right <= asked ? { asked, right } : { asked: 0, right: 0 };
}

/** The score, in the bar at the top. It stays from visit to visit, until the reader starts again.
 * @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store */
export function mountScore(element, store) {
  element.innerHTML = `<span tabindex="-1" aria-live="polite"></span>
    <button type="button" class="again" title="Start counting again" aria-label="Start counting again" hidden>↺</button>`;
  const [said, again] = element.children;
  function show({ score: { asked, right } }) {
    said.textContent = asked ? `Right guesses: ${right} of ${asked}` : "";
    again.hidden = !asked;
  }
  again.addEventListener("click", () => {
    store.set({ score: { asked: 0, right: 0 } });
    said.textContent = "Counting starts anew.";
    said.focus(); // the button is gone
  });
  addEventListener("storage", ({ key }) => key === KEY && store.set({ score: keptScore() })); // another tab has counted
  store.subscribe(["score"], (state) => {
    keep(KEY, `${state.score.right} of ${state.score.asked}`);
    show(state);
  });
  store.set({ score: keptScore() });
  show(store.get());
}

/** Who reads this test image correctly? Shown while the readings are hidden.
 * @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store */
export function mount(element, store) {
  const boxes = METHODS.map((method) =>
    `<label class="chip ${method}"><input type="checkbox" value="${method}"> ${NAMES[method]}</label>`);
  element.innerHTML = `<form class="question card" hidden>
    <fieldset><legend></legend><div class="chips">${boxes.join("")}</div>
    <p class="fine hint">Nothing ticked means: none of them.</p></fieldset>${BUTTONS}</form>
    <p class="told" tabindex="-1" aria-live="polite"></p>`;
  const [form, legend, told] = ["form", "legend", ".told"].map((name) => element.querySelector(name));

  function say(sentence) {
    told.textContent = sentence;
    told.focus({ preventScroll: true }); // the form that had the keyboard's focus is gone
  }
  function show({ hidden, truth }) {
    form.hidden = !hidden;
    if (!hidden) return;
    told.textContent = "";
    form.reset();
    legend.textContent = `This is ${withArticle(truth)}. Who reads it correctly?`;
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { readings, truth, counts } = store.get();
    if (readings?.image !== counts) return void (told.textContent = "The models are not ready yet. Try again in a moment.");
    const ticked = METHODS.filter((method) => form.querySelector(`[value=${method}]`).checked);
    const right = METHODS.filter((method) => ticked.includes(method) === (readings[method].best === truth)).length;
    store.set({ hidden: false });
    addScore(store, METHODS.length, right);
    say(`You said ${namesOf(ticked)}; right about ${right} of ${METHODS.length}.`);
  });
  form.querySelector(".skip-it").addEventListener("click", () => {
    store.set({ hidden: false });
    say("Shown without a guess.");
  });
  store.subscribe(["counts", "truth", "open", "seeds", "t"], () => (told.textContent = "")); // it is true of these alone
  store.subscribe(["hidden", "truth", "counts"], show);
  show(store.get());
}

/** Bring the question about a test image into view: on a phone it is below the pad. */
export function scrollToQuestion() {
  document.querySelector("[data-part=guess] form:not([hidden])")?.scrollIntoView({ block: "nearest" });
}

/** Ask for one number in percent for each method, and go on when the reader has answered, skips the question, or wants no more
 * of them.
 * @param {HTMLElement} element where the question stands; afterwards, what the guess was and what is right
 * @param {ReturnType<typeof import("./store.js").makeStore>} store
 * @param {{ id: string, question: string, truth: Record<string, number> }} about `id` is one word, another one for each
 *   question; `truth` has a share from 0 to 1 for each method's name
 * @returns {Promise<Record<string, number>>} the guessed shares; empty if the question was skipped */
export function askPercent(element, store, { id, question, truth }) {
  const names = Object.keys(truth);
  const fields = names.map((name, i) => `<div class="field">
    <label for="${id}-${i}" class="${name.toLowerCase()}">${name}</label>
    <input type="range" id="${id}-${i}" min="0" max="100" value="50"><output for="${id}-${i}">50%</output></div>`);
  element.innerHTML = `<form class="question card"><fieldset><legend></legend>${fields.join("")}
    <p class="fine hint" id="${id}-hint" aria-live="polite">Move a slider to guess.</p></fieldset>${BUTTONS}</form>`;
  const [form, primary, hint] = ["form", ".primary", ".hint"].map((name) => element.querySelector(name));
  primary.setAttribute("aria-disabled", "true"); // where the sliders stand at first is no guess
  primary.setAttribute("aria-describedby", hint.id);
  form.querySelector("legend").textContent = question;
  form.addEventListener("input", ({ target }) => {
    target.nextElementSibling.textContent = `${target.value}%`;
    primary.removeAttribute("aria-disabled");
    hint.textContent = "A slider that you leave counts where it stands.";
  });

  return new Promise((resolve) => {
    const unheard = store.subscribe(["ask"], ({ ask }) => !ask && form.isConnected && skip(false)); // another may stand there
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (primary.ariaDisabled) return;
      const inputs = [...form.querySelectorAll("input")];
      const guesses = Object.fromEntries(names.map((name, i) => [name, Number(inputs[i].value) / 100]));
      const near = names.filter((name) => Math.round(1000 * Math.abs(guesses[name] - truth[name])) <= 10 * NEAR).length;
      addScore(store, names.length, near);
      const parts = names.map((name) => `${name}: you ${percent(guesses[name])}, measured ${finePercent(truth[name])}`);
      unheard();
      tell(element, `${parts.join("; ")}. ${near} of ${names.length} within ${NEAR} points.`);
      resolve(guesses);
    });
    form.querySelector(".skip-it").addEventListener("click", () => skip(true));
    function skip(byHand) {
      unheard();
      tell(element, `${names.map((name) => `${name}: ${finePercent(truth[name])}`).join("; ")}.`, byHand);
      resolve({});
    }
  });
}

/** The sentence takes the form's place, and the keyboard's focus if that was in it, which would otherwise be lost. */
function tell(element, sentence, focus = true) {
  const told = document.createElement("p");
  told.className = "told";
  told.tabIndex = -1;
  told.textContent = sentence;
  element.replaceChildren(told);
  if (focus) told.focus({ preventScroll: true });
}
