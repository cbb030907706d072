// The state in the page's address, after the "#", so that a link shows another reader what this one sees:
// #image=0005…&open=11110000&seeds=01&t=0.5&schedule=Linear,0,1,0.75&draw=3&measure
//
// A test image is named by its number, test=407, so that the page can ask before it shows. A name without a value is that of
// the section to which the page scrolls.
//
// Anybody can write an address. What cannot be read is left at its first value, and named in a sentence.

import { countsOf, testNumber } from "./images.js";
import { BLOCKS, FIRST, SEEDS } from "./store.js";

const LATER = 300; // ms after the last change; browsers refuse a page that changes its address a hundred times in a row
const NAMED = 3; // how many damaged parts are named, at most
export const KEYS = ["counts", "test", "open", "seeds", "t", "schedule", "draw"];
const ARGUMENTS = {
  Linear: ["start", "end", "ramp"],
  Sine: ["start", "end", "ramp"],
  Exponential: ["start", "end", "ramp"],
  Constant: ["p"],
};

function check(right) {
  if (!right) throw new Error("not a value of this part");
}

function share(text) {
  const number = Number(text);
  check(/^[\d.]+$/.test(text) && number >= 0 && number <= 1);
  return number;
}

// For each part of an address: its key in the state, how it is written, and how it is read.
const PARTS = {
  image: {
    key: "counts",
    write: (counts, state) => counts && !testNumber(state) && Array.from(counts, (count) => count.toString(17)).join(""),
    read(text) {
      check(/^[0-9a-g]{64}$/i.test(text) && /[^0]/.test(text));
      return countsOf(text);
    },
  },
  test: {
    key: "test",
    write: (_, state) => testNumber(state),
    read(text) {
      check(/^[1-9]\d{0,4}$/.test(text));
      return { number: Number(text), counts: null }; // the numbers of the image are fetched
    },
  },
  open: {
    key: "open",
    write: (open) => open.map(Number).join(""),
    read(text) {
      check(text.length === BLOCKS && /^[01]+$/.test(text));
      return Array.from(text, (letter) => letter === "1");
    },
  },
  seeds: {
    key: "seeds",
    write: (seeds) => seeds.join(""),
    read(text) {
      const seeds = Array.from(text, Number);
      check(/^\d\d$/.test(text) && seeds.every((seed) => seed < SEEDS));
      return seeds;
    },
  },
  t: { key: "t", write: String, read: share },
  schedule: {
    key: "schedule",
    write: (schedule) => [schedule.kind, ...ARGUMENTS[schedule.kind].map((name) => schedule[name])].join(),
    read(text) {
      const [kind, ...values] = text.split(",");
      check(Object.hasOwn(ARGUMENTS, kind) && values.length === ARGUMENTS[kind].length);
      const read = Object.fromEntries(ARGUMENTS[kind].map((name, i) => [name, share(values[i])]));
      check(kind === "Constant" || read.start <= read.end);
      return { kind, ...read };
    },
  },
  draw: {
    key: "draw",
    write: String,
    read(text) {
      check(/^\d{1,4}$/.test(text));
      return Number(text);
    },
  },
};

/** The part of the address after "#" for a state; parts at their first values are left out.
 * @param {import("./store.js").State} state @returns {string} */
export function toHash(state) {
  const written = (part, of) => part.write(of[part.key], of) || null;
  const parts = Object.entries(PARTS).map(([name, part]) => [name, written(part, state), written(part, FIRST)]);
  const shown = parts.filter(([, now, first]) => now !== first && now !== null);
  return shown.map(([name, now]) => `${name}=${now}`).join("&");
}

/** The state that an address names.
 * @param {string} hash with or without "#"
 * @returns {{ state: Partial<import("./store.js").State>, section: string, problem: string }} every part that an address can
 *   name, those that it does not name or that cannot be read at their first values; a section, or ""; and a sentence about the
 *   parts that cannot be read, or "" */
export function fromHash(hash) {
  const state = Object.fromEntries(KEYS.map((key) => [key, FIRST[key]]));
  let section = "";
  const [damaged, seen] = [[], new Set()];
  for (const piece of hash.replace(/^#/, "").split("&").filter(Boolean)) {
    const [name, ...rest] = piece.split("=");
    if (/^[a-z]+$/.test(piece)) {
      section = piece;
      continue;
    }
    const known = Object.hasOwn(PARTS, name);
    try {
      check(known && !seen.has(name));
      state[PARTS[name].key] = PARTS[name].read(decodeURIComponent(rest.join("=")));
    } catch {
      damaged.push(name);
      if (known) state[PARTS[name].key] = FIRST[PARTS[name].key]; // of two values, none holds
    }
    seen.add(name);
  }
  if (state.test) state.counts = null; // as long as they have not arrived
  return { state, section, problem: damaged.length ? lament(damaged) : "" };
}

function lament(names) {
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : "";
  const quoted = names.slice(0, NAMED).map((name) => `“${name.slice(0, 20)}”`).join(", ") + more;
  const stand = names.length > 1 ? "stand at their first values" : "stands at its first value";
  return `The address of this page is damaged: ${quoted} could not be read and ${stand}.`;
}

/** Keep the address and the state equal from now on, and scroll to the section that the address names.
 * @param {ReturnType<typeof import("./store.js").makeStore>} store
 * @param {(problem: string) => void} say is called with a sentence about a damaged address, or "" */
export function followAddress(store, say) {
  let section = "";
  function write() {
    const hash = [toHash(store.get()), section].filter(Boolean).join("&");
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }
  function take() {
    const found = fromHash(location.hash);
    section = found.section;
    const unknown = section && !document.getElementById(section);
    if (unknown) section = "";
    else if (location.hash === (section && `#${section}`)) return write(); // a link within the page: the state stays
    store.set({ ...found.state, truth: null, hidden: false });
    const none = `The address of this page names a section “${found.section.slice(0, 20)}”, and there is none.`;
    say(found.problem || (unknown ? none : ""));
  }
  let timer;
  store.subscribe(KEYS, () => {
    clearTimeout(timer);
    timer = setTimeout(write, LATER);
  });
  addEventListener("hashchange", take);
  take();
  // Once the parts of the page are there; before that, its sections lie elsewhere.
  requestAnimationFrame(() => document.getElementById(section)?.scrollIntoView({ behavior: "instant" }));
}
