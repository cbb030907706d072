// What the reader sees while something is fetched, and when it could not be: a sentence, and a button to try again.

import { bytesArrived } from "./resources.js";

const EVERY = 1000; // ms after which the sentence says anew how much has arrived
const SILENT = 8; // seconds without a byte, after which it says so
const ANOTHER = Symbol("what is wanted has changed");

/** Fetch something and say so meanwhile. If it fails, the reader can try again, as often as is needed.
 * @template T
 * @param {HTMLElement} element where the message is shown; it is emptied afterwards
 * @param {string} what the words for what is fetched, as in "the figures"
 * @param {() => Promise<T>} load
 * @param {(callback: () => void) => () => void} [changed] calls back when something else is wanted, which `load` then fetches;
 *   returns a function that ends this
 * @returns {Promise<T>} the value, after all tries */
export async function shown(element, what, load, changed = () => () => {}) {
  for (;;) {
    let renew;
    const another = new Promise((resolve) => (renew = () => resolve(ANOTHER)));
    const unheard = changed(renew);
    const line = paragraph("waiting", `Loading ${what} …`);
    if (element.contains(document.activeElement)) keepFocus(element); // the button goes
    element.replaceChildren(line);
    const timer = keepSaying(line, what);
    try {
      const value = await Promise.race([load(), another]);
      if (value === ANOTHER) continue;
      element.replaceChildren();
      return value;
    } catch (error) {
      await Promise.race([again(element, what, error), another]);
    } finally {
      clearInterval(timer);
      unheard();
    }
  }
}

/** A place of its own in an element for `shown`: what stood there before is gone, also where that still waits.
 * @param {HTMLElement} element @returns {HTMLElement} */
export function freshPlace(element) {
  const place = document.createElement("div");
  element.replaceChildren(place);
  return place;
}

function keepFocus(element) {
  element.tabIndex = -1;
  element.focus({ preventScroll: true });
}

/** Say every second how much has arrived. @returns {number} the timer */
function keepSaying(line, what) {
  let [last, silent] = [bytesArrived(), 0];
  return setInterval(() => {
    const now = bytesArrived();
    silent = now === last ? silent + EVERY / 1000 : 0;
    last = now;
    const size = `${(now / 1e6).toFixed(1)} MB have arrived.`;
    line.textContent = silent < SILENT
      ? `Loading ${what} … ${size}`
      : `Loading ${what} … ${size} For ${silent} seconds nothing has come: is the network on?`;
  }, EVERY);
}

function again(element, what, error) {
  const alert = paragraph("problem", `Loading ${what} did not work: ${error.message} `);
  alert.setAttribute("role", "alert");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Try again";
  alert.append(button);
  element.replaceChildren(alert);
  return new Promise((resolve) => button.addEventListener("click", resolve, { once: true }));
}

function paragraph(name, text) {
  const made = document.createElement("p");
  made.className = name;
  made.textContent = text;
  return made;
}
