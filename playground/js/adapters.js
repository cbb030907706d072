// LoRA: in each block, the layers q, k and v get an update of rank r, W + s·B·A.

import { numbersOf } from "./safetensors.js";

export const LAYERS = ["q", "k", "v"];

/**
 * @typedef {object} Factors of one layer
 * @property {Float32Array} a [r, width]
 * @property {Float32Array} b [width, r]
 *
 * @typedef {object} Lora
 * @property {number} scaling s = alpha / r
 * @property {Array<{q: Factors, k: Factors, v: Factors}>} blocks from the lowest block to the highest
 */

/**
 * An adapter of a file that PEFT wrote.
 * @param {Map<string, import("./safetensors.js").Tensor>} tensors of `adapter_model.safetensors`
 * @param {object} config of `adapter_config.json`
 * @returns {Lora}
 */
export function loraOf(tensors, config) {
  if (config.peft_type !== "LORA" || config.use_dora || config.use_rslora) {
    throw new Error(`This page computes plain LoRA only, and this adapter is another one (${config.peft_type}).`);
  }
  const nameOf = (block, layer, factor) =>
    `base_model.model.vit.layers.${block}.attention.${layer}_proj.lora_${factor}.weight`;
  const blocks = [];
  while (tensors.has(nameOf(blocks.length, "q", "A"))) {
    const block = blocks.length;
    const [, width] = tensors.get(nameOf(block, "q", "A")).shape;
    const factorsOf = (layer) => ({
      a: numbersOf(tensors, nameOf(block, layer, "A"), [config.r, width]),
      b: numbersOf(tensors, nameOf(block, layer, "B"), [width, config.r]),
    });
    blocks.push(Object.fromEntries(LAYERS.map((layer) => [layer, factorsOf(layer)])));
  }
  if (blocks.length === 0) {
    throw new Error("This adapter is of another model: it has no updates of the layers q, k and v.");
  }
  return { scaling: config.lora_alpha / config.r, blocks };
}

/**
 * The adapter on the straight line between two: each factor is (1 - t)·a + t·b. The update B·A of the mixture is in general not
 * the mixture of the updates.
 * @param {Lora} first at t = 0
 * @param {Lora} second at t = 1
 * @param {number} t
 * @returns {Lora}
 */
export function mixed(first, second, t) {
  if (first.scaling !== second.scaling || first.blocks.length !== second.blocks.length) {
    throw new Error("These two adapters have different settings, so there is no straight line between their factors.");
  }
  const between = (a, b) => a.map((number, i) => (1 - t) * number + t * b[i]);
  const blocks = first.blocks.map((block, i) => {
    const other = second.blocks[i];
    const mix = (layer) => ({ a: between(block[layer].a, other[layer].a), b: between(block[layer].b, other[layer].b) });
    return Object.fromEntries(LAYERS.map((layer) => [layer, mix(layer)]));
  });
  return { scaling: first.scaling, blocks };
}

/**
 * Add the update of one layer: y += s · x Aᵀ Bᵀ.
 * @param {Float32Array} x [tokens, width]
 * @param {Factors} factors
 * @param {number} scaling
 * @param {Float32Array} y [tokens, width], changed
 * @param {number} tokens
 */
export function addUpdate(x, { a, b }, scaling, y, tokens) {
  const width = x.length / tokens;
  const rank = a.length / width;
  const narrow = new Float64Array(rank);
  for (let token = 0; token < tokens; token++) {
    const row = token * width;
    for (let r = 0; r < rank; r++) {
      let sum = 0;
      for (let i = 0; i < width; i++) sum += x[row + i] * a[r * width + i];
      narrow[r] = sum * scaling;
    }
    for (let i = 0; i < width; i++) {
      let sum = 0;
      for (let r = 0; r < rank; r++) sum += narrow[r] * b[i * rank + r];
      y[row + i] += sum;
    }
  }
}
