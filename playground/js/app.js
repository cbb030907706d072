// Puts the parts of the page together: one state, one place that fetches, and a part for each element with `data-part`.

import { followAddress } from "./address.js";
import { mount as blocks } from "./blocks.js";
import { mount as drawing } from "./drawing.js";
import { mount as guess, mountScore as score } from "./guess.js";
import { mount as line } from "./line.js";
import { addLinks } from "./links.js";
import { mount as measure } from "./measure.js";
import { mount as readings, mountStrip as strip } from "./readings.js";
import { makeResources } from "./resources.js";
import { mount as samples } from "./samples.js";
import { mount as schedule } from "./schedule.js";
import { mount as share } from "./share.js";
import { makeStore } from "./store.js";
import { mount as theme } from "./theme.js";

const PARTS = { theme, score, share, drawing, samples, guess, readings, strip, blocks, line, measure, schedule };

const problem = document.querySelector("[data-part=problem]");

function say(sentence) {
  problem.textContent = sentence;
  problem.hidden = !sentence;
}

function start() {
  const store = makeStore();
  const resources = makeResources(new URL("../", import.meta.url));
  followAddress(store, say);
  for (const [name, mount] of Object.entries(PARTS)) {
    mount(document.querySelector(`[data-part=${name}]`), store, resources);
  }
  addLinks(document);
  whenNear(document.querySelector("[data-part=figures]"), async (element) => {
    (await import("./figures.js")).mount(element, store, resources);
  });
}

/** The figures are fetched only when the reader comes near them. */
function whenNear(element, load) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    load(element).catch(() => {
      // A browser does not fetch a module a second time.
      element.innerHTML = `<p class="problem" role="alert">The code of the figures did not arrive. Is the network on? Reload the
        page: its address keeps what you have set.</p>`;
    });
  }, { rootMargin: "600px" });
  observer.observe(element);
}

// An event without an error is a notice of the browser, as of a resize that it shows one frame later.
addEventListener("error", (event) => event.error && say(`Something went wrong: ${event.message}`));
addEventListener("unhandledrejection", (event) => say(`Something went wrong: ${event.reason?.message ?? event.reason}`));
start();
document.documentElement.dataset.started = "yes";
