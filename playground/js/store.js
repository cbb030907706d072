// The page's state: what the reader has chosen. Parts subscribe to the keys that they show, and none knows the others.

export const BLOCKS = 8;
export const SEEDS = 5; // the gallery's seeds of each method are 0 to 4

/** @typedef {{ kind: string, start?: number, end?: number, ramp?: number, p?: number }} ScheduleChoice */
/**
 * @typedef {object} State
 * @property {Uint8Array | null} counts the image, 64 numbers from 0 to 16; null if there is none
 * @property {{ number: number, counts: Uint8Array | null } | null} test a test image, by its number from 1 (see images.js)
 * @property {number | null} truth the digit that the image shows, where the data set says so
 * @property {readonly boolean[]} open which of the 8 blocks have their adapter switched on
 * @property {readonly number[]} seeds the two seeds at the ends of the line
 * @property {number} t the place on the line: 0 is the first seed, 1 the second
 * @property {number | null} marked the block that is shown as marked: the one that is pointed at, or else the chosen one. To
 *   set it is to point at a block, or with null at none
 * @property {number | null} chosen the block that was clicked in a figure
 * @property {ScheduleChoice} schedule the arguments of a schedule
 * @property {number} draw the seed of the schedule's draws
 * @property {(Record<string, import("./read.js").Reading> & { image: Uint8Array, seeds: readonly number[] }) | null} readings
 *   what base, lora and coto read, in which image and with which seeds: for a moment after a change, those before
 * @property {boolean} ask whether the page asks the reader before it shows: a test image, a measurement, a figure
 * @property {boolean} hidden whether the readings wait for the reader's guess
 * @property {{ asked: number, right: number }} score guesses so far
 * @property {"auto" | "light" | "dark"} theme
 */

/** @type {State} */
export const FIRST = Object.freeze({
  counts: null,
  test: null,
  truth: null,
  open: Object.freeze(Array(BLOCKS).fill(true)),
  seeds: Object.freeze([0, 1]),
  t: 0,
  marked: null,
  chosen: null,
  schedule: Object.freeze({ kind: "Linear", start: 0, end: 1, ramp: 0.75 }),
  draw: 0,
  readings: null,
  ask: true,
  hidden: false,
  score: Object.freeze({ asked: 0, right: 0 }),
  theme: "auto",
});

/** The state with a way to change it.
 * @param {State} first
 * @returns {{ get: () => Readonly<State>, set: (changes: Partial<State>) => void,
 *   subscribe: (keys: (keyof State)[], callback: (state: Readonly<State>) => void) => () => void }}
 *   `subscribe` calls back after a change of one of the keys, and returns a function that ends this. */
export function makeStore(first = FIRST) {
  let pointed = first.marked;
  let state = Object.freeze({ ...first, marked: pointed ?? first.chosen });
  const listeners = new Set();

  function set(changes) {
    const unknown = Object.keys(changes).filter((key) => !(key in state));
    if (unknown.length) throw new Error(`The state has no ${unknown.join(", ")}; it has ${Object.keys(state).join(", ")}.`);
    if ("marked" in changes) pointed = changes.marked;
    const next = { ...state, ...changes };
    next.marked = pointed ?? next.chosen;
    const changed = Object.keys(next).filter((key) => !same(state[key], next[key]));
    if (!changed.length) return; // so two parts that follow each other come to rest
    const news = Object.fromEntries(changed.map((key) => [key, next[key]]));
    state = Object.freeze({ ...state, ...news }); // what is equal stays the same object: some parts compare by that
    for (const { keys, callback } of [...listeners]) {
      if (keys.some((key) => changed.includes(key))) callback(state);
    }
  }

  function subscribe(keys, callback) {
    const listener = { keys, callback };
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  return { get: () => state, set, subscribe };
}

/** Whether two values of the state are equal, element by element where they are lists or objects. */
export function same(one, other) {
  if (one === other) return true;
  if (!one || !other || typeof one !== "object" || typeof other !== "object") return false;
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}
