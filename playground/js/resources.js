// What the page fetches, all of it from its own folder: the base model, the adapters, the test images, the figures' numbers.
// Each thing is fetched when it is first asked for, and once; after a failure it is fetched again when it is asked for again.

import { loraOf } from "./adapters.js";
import { countsOf } from "./images.js";
import { readSafetensors } from "./safetensors.js";
import { Vit } from "./vit.js";

/** @typedef {ReturnType<typeof makeResources>} Resources */

let arrived = 0;

/** How many bytes have arrived so far. */
export const bytesArrived = () => arrived;

/** @param {string | URL} folder the address of the page's folder */
export function makeResources(folder) {
  const kept = new Map();

  function once(key, load) {
    if (!kept.has(key)) {
      const promise = load();
      kept.set(key, promise);
      promise.catch(() => kept.delete(key));
    }
    return kept.get(key);
  }

  const failed = new Set(); // paths whose answer a browser may have kept, though it is of no use

  async function answer(path) {
    try {
      return await bytesOf(await fetch(new URL(path, folder), { cache: failed.has(path) ? "reload" : "default" }));
    } catch (error) {
      failed.add(path);
      // A browser says for every failure of the network that it is a TypeError.
      throw error instanceof TypeError ? new Error(`${path} did not arrive. Is the network on?`) : error;
    }
  }
  async function bytesOf(response) {
    if (!response.ok) throw new Error(`the server answers ${response.status} for ${response.url}.`);
    const chunks = [];
    for (const reader = response.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) return new Blob(chunks).arrayBuffer();
      chunks.push(value);
      arrived += value.length;
    }
  }
  /** A file as `read` understands it. A server may send a page of its own instead, or half of the file. */
  async function file(path, read) {
    const bytes = await answer(path);
    try {
      return read(bytes);
    } catch (error) {
      failed.add(path);
      throw new Error(`${path} is damaged: ${error.message}`);
    }
  }
  const tensors = (path) => file(path, readSafetensors);
  const json = (path) => file(path, (bytes) => JSON.parse(new TextDecoder().decode(bytes)));

  return {
    /** The base model. @returns {Promise<Vit>} */
    vit: () => once("vit", async () => new Vit(await tensors("model/model.safetensors"))),

    /** A finished adapter of the gallery. @param {"lora" | "coto"} method @param {number} seed 0 to 4 */
    adapter: (method, seed) => once(`${method} ${seed}`, async () => {
      const place = `adapters/${method}-seed${seed}`;
      const [factors, config] = await Promise.all([
        tensors(`${place}/adapter_model.safetensors`),
        json(`${place}/adapter_config.json`),
      ]);
      return loraOf(factors, config);
    }),

    /** The test images with their labels. @returns {Promise<{ counts: Uint8Array[], labels: number[] }>} */
    images: () => once("images", async () => {
      const { images, labels } = await json("images.json");
      return { counts: images.map(countsOf), labels: Array.from(labels, Number) };
    }),

    /** The numbers of the figures. @returns {Promise<object>} */
    figures: () => once("figures", () => json("figures.json")),
  };
}
