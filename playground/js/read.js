// What the base model, LoRA and CoTo read in an image. As in the notebooks, only the scores of the ten digits are compared.

import { mixed } from "./adapters.js";
import { enlarged } from "./images.js";
import { softmax } from "./layers.js";

export const METHODS = ["base", "lora", "coto"];
export const NAMES = { base: "Base", lora: "LoRA", coto: "CoTo" };
export const DIGITS = 10; // the first ten of the model's 36 classes
export const SURE = 0.5; // a reading whose best class has less certainty is shown as not sure

/** @typedef {{ certainties: Float64Array, best: number, certainty: number, sure: boolean }} Reading */
/** @typedef {(counts: Uint8Array, open: readonly boolean[], t: number, methods?: string[]) => Record<string, Reading>} Reader
 *   reads an image of 64 numbers with these blocks open, at the place t of the line */

/** "a 7", but "an 8". @param {number} digit @returns {string} */
export const withArticle = (digit) => `${digit === 8 ? "an" : "a"} ${digit}`;

/** "LoRA and CoTo", or "none of them". @param {string[]} methods @returns {string} */
export const namesOf = (methods) =>
  new Intl.ListFormat("en-GB").format(methods.map((method) => NAMES[method])) || "none of them";

/** From the model's scores to a reading: the softmax over the ten digits.
 * @param {Float32Array} logits at least 10 numbers, the digits first @returns {Reading} */
export function readingOf(logits) {
  const certainties = Float64Array.from(logits.subarray(0, DIGITS));
  softmax(certainties);
  const best = certainties.indexOf(Math.max(...certainties));
  return { certainties, best, certainty: certainties[best], sure: certainties[best] >= SURE };
}

/** Whatever has to be fetched before the readers of these seeds can read.
 * @param {import("./resources.js").Resources} resources @param {readonly number[]} seeds two seeds of the gallery
 * @param {number} t the second one is fetched only if it has a part, t > 0
 * @returns {Promise<Reader>}
 *   a function that reads one image */
export async function loadReaders(resources, seeds, t) {
  const wanted = t === 0 ? [seeds[0]] : seeds;
  const fetched = ["lora", "coto"].map(async (method) => [
    method,
    await Promise.all(wanted.map((seed) => resources.adapter(method, seed))),
  ]);
  const [vit, ...adapters] = await Promise.all([resources.vit(), ...fetched]);
  const ends = Object.fromEntries(adapters);
  const mixtures = new Map(); // one for each place on the line that was asked for

  function adapterAt(method, place) {
    if (method === "base") return null;
    const [from, to = from] = ends[method];
    if (place === 0) return from;
    const key = `${method} ${place}`;
    if (!mixtures.has(key)) mixtures.set(key, mixed(from, to, place));
    return mixtures.get(key);
  }

  return (counts, open, place, methods = METHODS) => {
    const image = enlarged(counts);
    return Object.fromEntries(methods.map((method) => [
      method,
      readingOf(vit.logits(image, adapterAt(method, place), [...open])),
    ]));
  };
}
