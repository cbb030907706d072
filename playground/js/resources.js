// What the page fetches, all of it from its own folder: the base model, the adapters, the test images, the figures' numbers.
// Each thing is fetched when it is first asked for, and once; after a failure it is fetched again when it is asked for again.

import { loraOf } from "./adapters.js";
import { countsOf } from "./images.js";
import { readSafetensors } from "./safetensors.js";
import { Vit } from "./vit.js";

/** @typedef {ReturnType<typeof makeResources>} Resources */

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

  async function answer(path) {
    let response;
    try {
      response = await fetch(new URL(path, folder));
    } catch {
      throw new Error(`${path} did not arrive. Is the network on?`);
    }
    if (!response.ok) throw new Error(`the server answers ${response.status} for ${path}.`);
    return response;
  }
  const tensors = async (path) => readSafetensors(await (await answer(path)).arrayBuffer());
  const json = async (path) => (await answer(path)).json();

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
