// What the base model, LoRA and CoTo read in the image: the best digit, and the certainty of each of the ten.

import { percent } from "./percent.js";
import { DIGITS, METHODS, NAMES, SURE, loadReaders } from "./read.js";
import { breath } from "./slices.js";
import { shown } from "./waiting.js";

const QUIET = 700; // ms without a change, after which a screen reader is told
const KINDS = { base: "no adapter", lora: "all blocks trained at once", coto: "blocks came together" };

function card(method) {
  const columns = Array.from({ length: DIGITS }, (_, digit) => `<li><span class="tube"><i></i></span><b>${digit}</b></li>`);
  return `<article class="card reading ${method}" aria-hidden="true"><h3>${NAMES[method]}</h3>
    <p class="kind">${KINDS[method]}</p><p class="best"><output></output><span class="how"></span></p>
    <ol>${columns.join("")}</ol></article>`;
}

/** One line with the three readings.
 * @param {Record<string, import("./read.js").Reading>} readings @returns {string} */
export function spoken(readings) {
  const parts = METHODS.map((method) => {
    const { best, certainty, sure } = readings[method];
    return `${NAMES[method]} reads ${best}, ${percent(certainty)} certain${sure ? "" : ", not sure"}`;
  });
  return `${parts.join("; ")}.`;
}

function sentence({ counts, hidden, readings, truth }) {
  if (!counts) return "Draw a digit, or take a test image.";
  if (hidden) return "Guess first: the readings wait for you.";
  if (readings?.image !== counts) return "Reading …";
  const sure = METHODS.filter((method) => readings[method].sure);
  if (!sure.length) return `No reading is sure: the best certainty of each is below ${percent(SURE)}. Is it a digit?`;
  if (truth === null) return "Each bar is a certainty; the ten certainties of a model sum to 100%.";
  const right = METHODS.filter((method) => readings[method].best === truth).map((method) => NAMES[method]);
  if (!right.length) return `It is a ${truth}. None is right.`;
  if (right.length === METHODS.length) return `It is a ${truth}. All are right.`;
  return `It is a ${truth}. ${right.join(" and ")} ${right.length > 1 ? "are" : "is"} right.`;
}

function drawCard(article, reading, { truth, hidden, counts, readings }) {
  const [best, how] = article.querySelectorAll("output, .how");
  best.textContent = reading?.best ?? (hidden ? "?" : "–");
  how.textContent = reading ? `${percent(reading.certainty)}${reading.sure ? "" : ", not sure"}` : "";
  article.classList.toggle("empty", !reading);
  article.classList.toggle("unsure", Boolean(reading && !reading.sure));
  const judged = reading && truth !== null && readings.image === counts;
  article.dataset.verdict = judged ? (reading.best === truth ? "right" : "wrong") : "";
  article.querySelectorAll("li").forEach((item, digit) => {
    item.classList.toggle("chosen", reading?.best === digit);
    item.querySelector("i").style.height = reading ? `${(100 * reading.certainties[digit]).toFixed(1)}%` : "0";
  });
}

/** @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store
 * @param {import("./resources.js").Resources} resources */
export function mount(element, store, resources) {
  element.innerHTML = `<div class="fetching"></div><div class="cards">${METHODS.map(card).join("")}</div>
    <p class="verdict" aria-hidden="true"></p><p class="unseen" aria-live="polite"></p>`;
  const [fetching, verdict, voice] = [".fetching", ".verdict", ".unseen"].map((name) => element.querySelector(name));
  let timer;

  function draw(state) {
    const seen = state.hidden || !state.counts ? null : state.readings;
    METHODS.forEach((method, i) => drawCard(element.querySelectorAll("article")[i], seen?.[method], state));
    verdict.textContent = sentence(state);
    clearTimeout(timer);
    timer = setTimeout(() => {
      voice.textContent = seen ? `${spoken(seen)} ${sentence(state)}` : sentence(state);
    }, QUIET);
  }
  store.subscribe(["counts", "readings", "hidden", "truth"], draw);
  draw(store.get());
  keepReading(store, (seeds, t) => shown(fetching, "the models", () => loadReaders(resources, seeds, t)));
}

/** Read again after every change, and write the result into the state. Changes that come meanwhile are read together. */
function keepReading(store, load) {
  let [busy, again] = [false, false];

  async function read() {
    const { seeds, t } = store.get();
    const reader = await load(seeds, t); // without an image, too, so that the models are there when the reader draws
    const now = store.get();
    const fits = now.seeds === seeds && (t > 0 || now.t === 0); // otherwise another adapter is needed
    if (fits) store.set({ readings: now.counts && { image: now.counts, ...reader(now.counts, now.open, now.t) } });
    return fits;
  }
  async function request() {
    again = true;
    if (busy) return;
    busy = true;
    try {
      while (again) {
        await breath();
        again = false;
        again = !(await read()) || again;
      }
    } finally {
      busy = false;
    }
  }
  store.subscribe(["counts", "open", "seeds", "t"], request);
  request();
}

/** The three best digits in one line at the foot of the window, while the cards are out of sight.
 * @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store */
export function mountStrip(element, store) {
  element.className = "strip";
  element.setAttribute("aria-hidden", "true"); // a screen reader has heard the line of the cards
  const figure = document.querySelector("[data-part=readings] .cards");
  let away = false;
  function draw({ readings, hidden }) {
    element.hidden = !away || !readings || hidden;
    if (element.hidden) return;
    element.innerHTML = METHODS.map((method) =>
      `<a href="#draw" tabindex="-1" class="${method}">${NAMES[method]} <b>${readings[method].best}</b>
      <span>${percent(readings[method].certainty)}</span></a>`).join("");
  }
  new IntersectionObserver(([entry]) => {
    away = !entry.isIntersecting;
    draw(store.get());
  }).observe(figure);
  store.subscribe(["readings", "hidden"], draw);
  draw(store.get());
}
