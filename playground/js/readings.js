// What the base model, LoRA and CoTo read in the image: the best digit, and the certainty of each of the ten.

import { oddity } from "./images.js";
import { percent } from "./percent.js";
import { DIGITS, METHODS, NAMES, SURE, loadReaders, namesOf, withArticle } from "./read.js";
import { breath } from "./slices.js";
import { shown } from "./waiting.js";

const QUIET = 700; // ms without a change, after which a screen reader is told
const ALWAYS = "The models must name one of the ten digits, even for a scribble.";
const MARKS = { right: "✓", wrong: "✗", "": "" };
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
  const unsure = `No reading is sure: the best certainty of each is below ${percent(SURE)}.`;
  if (truth === null) return [oddity(counts), sure.length ? "" : unsure, ALWAYS].filter(Boolean).join(" ");
  if (!sure.length) return `It is ${withArticle(truth)}. ${unsure}`;
  const right = METHODS.filter((method) => readings[method].best === truth);
  if (!right.length) return `It is ${withArticle(truth)}. None is right.`;
  if (right.length === METHODS.length) return `It is ${withArticle(truth)}. All are right.`;
  return `It is ${withArticle(truth)}. ${namesOf(right)} ${right.length > 1 ? "are" : "is"} right.`;
}

/** "right" or "wrong" where the data set says what the image shows, else "". */
function verdictOf(reading, { truth, counts, readings }) {
  if (!reading || truth === null || readings.image !== counts) return "";
  return reading.best === truth ? "right" : "wrong";
}

const certainty = (reading) => `${percent(reading.certainty)}${reading.sure ? "" : ", not sure"}`;

function drawCard(article, reading, state) {
  const [best, how] = article.querySelectorAll("output, .how");
  best.textContent = reading?.best ?? (state.hidden ? "?" : "–");
  how.textContent = reading ? certainty(reading) : "";
  article.classList.toggle("empty", !reading);
  article.classList.toggle("unsure", Boolean(reading && !reading.sure));
  article.dataset.verdict = verdictOf(reading, state);
  article.querySelectorAll("li").forEach((item, digit) => {
    item.classList.toggle("chosen", reading?.best === digit);
    item.querySelector("i").style.height = reading ? `${(100 * reading.certainties[digit]).toFixed(1)}%` : "0";
  });
}

/** @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store
 * @param {import("./resources.js").Resources} resources */
export function mount(element, store, resources) {
  element.innerHTML = `<div class="cards">${METHODS.map(card).join("")}</div>
    <div class="fetching"></div><p class="verdict" aria-hidden="true"></p><p class="unseen" aria-live="polite"></p>
    <p class="fine">Each bar is a certainty; the ten certainties of a model sum to 100%. One drawing proves little: with all
    blocks on, LoRA and CoTo read about equally many test images. <a href="#blocks">Switch blocks off</a> to see the difference,
    and <a href="#measure">measure</a> it.</p>`;
  const [cards, fetching, verdict, voice] = [".cards", ".fetching", ".verdict", ".unseen"].map((name) =>
    element.querySelector(name));
  let timer;

  function draw(state) {
    const seen = state.hidden || !state.counts ? null : state.readings;
    cards.classList.toggle("stale", Boolean(seen) && !(seen.image === state.counts && seen.seeds === state.seeds));
    METHODS.forEach((method, i) => drawCard(element.querySelectorAll("article")[i], seen?.[method], state));
    verdict.textContent = sentence(state);
    clearTimeout(timer);
    timer = setTimeout(() => {
      voice.textContent = seen ? `${spoken(seen)} ${sentence(state)}` : sentence(state);
    }, QUIET);
  }
  store.subscribe(["counts", "readings", "hidden", "truth", "seeds"], draw);
  draw(store.get());
  const wanted = async () => {
    const { seeds, t } = store.get();
    return { seeds, t, reader: await loadReaders(resources, seeds, t) };
  };
  keepReading(store, async () => {
    verdict.hidden = true; // what is said about loading takes its place, so that nothing moves
    const loaded = await shown(fetching, "the models", wanted, (callback) => store.subscribe(["seeds", "t"], callback));
    verdict.hidden = false;
    return loaded;
  });
}

/** Read again after every change, and write the result into the state. Changes that come meanwhile are read together. */
function keepReading(store, load) {
  let [busy, again] = [false, false];

  async function read() {
    const { seeds, t, reader } = await load(); // without an image, too, so that the models are there when the reader draws
    const now = store.get();
    const fits = now.seeds === seeds && (t > 0 || now.t === 0); // otherwise another adapter is needed
    if (fits) store.set({ readings: now.counts && { image: now.counts, seeds, ...reader(now.counts, now.open, now.t) } });
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

/** The three best digits in one line at the foot of the window, while those of the cards are out of sight. It never lies above
 * the pad.
 * @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store */
export function mountStrip(element, store) {
  element.className = "strip";
  element.setAttribute("aria-hidden", "true"); // a screen reader has heard the line of the cards
  let [away, padBelow] = [false, false];
  function draw(state) {
    const { readings, hidden } = state;
    element.hidden = !away || padBelow || !readings || hidden;
    if (element.hidden) return;
    element.innerHTML = METHODS.map((method) =>
      `<a href="#draw" tabindex="-1" class="${method}">${NAMES[method]} <b>${readings[method].best}</b>
      <span>${certainty(readings[method])} ${MARKS[verdictOf(readings[method], state)]}</span></a>`).join("");
  }
  function observe(selector, rootMargin, see) {
    const observer = new IntersectionObserver((entries) => {
      see(entries.at(-1).isIntersecting);
      draw(store.get());
    }, { rootMargin });
    observer.observe(document.querySelector(selector));
  }
  // 116px are the bar at the top, which is highest on a tablet, and half a digit: what is left of one is not read.
  observe("[data-part=readings] output", "-116px 0px 0px", (seen) => (away = !seen));
  observe(".coto-pad-paper", "-88% 0px 0px", (seen) => (padBelow = seen)); // where the strip would lie
  store.subscribe(["readings", "hidden", "truth", "counts"], draw);
  draw(store.get());
}
