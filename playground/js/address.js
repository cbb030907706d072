// The state in the page's address, after the "#", so that a link shows another reader what this one sees:
// #image=0005…&open=11110000&seeds=01&t=0.5&schedule=Linear,0,1,0.75&draw=3
//
// Anybody can write an address. What cannot be read is left at its first value, and named in a sentence.

import { countsOf } from "./images.js";
import { BLOCKS, FIRST, SEEDS } from "./store.js";

const LATER = 300; // ms after the last change; browsers refuse a page that changes its address a hundred times in a row
const KEYS = ["counts", "open", "seeds", "t", "schedule", "draw"];
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
    write: (counts) => counts && Array.from(counts, (count) => count.toString(17)).join(""),
    read(text) {
      check(/^[0-9a-g]{64}$/i.test(text));
      return countsOf(text);
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
  const parts = Object.entries(PARTS).map(([name, part]) => [name, part.write(state[part.key]), part.write(FIRST[part.key])]);
  const shown = parts.filter(([, now, first]) => now !== first && now !== null);
  return shown.map(([name, now]) => `${name}=${now}`).join("&");
}

/** The state that an address names.
 * @param {string} hash with or without "#"
 * @returns {{ state: Partial<import("./store.js").State>, problem: string }} every part that an address can name, those that it
 *   does not name or that cannot be read at their first values; and a sentence about the latter, or "" */
export function fromHash(hash) {
  const state = Object.fromEntries(KEYS.map((key) => [key, FIRST[key]]));
  const damaged = [];
  for (const piece of hash.replace(/^#/, "").split("&").filter(Boolean)) {
    const [name, ...rest] = piece.split("=");
    if (!Object.hasOwn(PARTS, name)) {
      if (rest.length) damaged.push(name); // a name alone is the name of a section
      continue;
    }
    try {
      state[PARTS[name].key] = PARTS[name].read(decodeURIComponent(rest.join("=")));
    } catch {
      damaged.push(name);
    }
  }
  const names = damaged.map((name) => `“${name.slice(0, 20)}”`).join(", ");
  const problem = names && `The address of this page is damaged: ${names} could not be read and stands at its first value.`;
  return { state, problem };
}

/** Keep the address and the state equal from now on.
 * @param {ReturnType<typeof import("./store.js").makeStore>} store
 * @param {(problem: string) => void} say is called with a sentence about a damaged address, or "" */
export function followAddress(store, say) {
  function take() {
    const { state, problem } = fromHash(location.hash);
    store.set({ ...state, truth: null, hidden: false });
    say(problem);
  }
  let timer;
  store.subscribe(KEYS, () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const hash = toHash(store.get());
      history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
    }, LATER);
  });
  addEventListener("hashchange", () => location.hash.includes("=") && take());
  if (location.hash.includes("=")) take();
}
