// The base model, a vision transformer (ViT), with an adapter whose blocks can be switched on and off.

import { addUpdate, LAYERS } from "./adapters.js";
import { attention, gelu, layerNorm, linear } from "./layers.js";
import { numbersOf } from "./safetensors.js";

const IMAGE = 16; // pixels on a side
const PATCH = 4; // pixels on a side of a patch; each patch becomes a token
const PATCHES = (IMAGE / PATCH) ** 2;
const TOKENS = PATCHES + 1; // the first token stands for the whole image: the class is read from it
const WIDTH = 64;
const HIDDEN = 256;
const HEADS = 4;
const BLOCKS = 8;
const EPSILON = 1e-12;
export const CLASSES = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** The model; its weights are read from the tensors of `model.safetensors`. */
export class Vit {
  /** @param {Map<string, import("./safetensors.js").Tensor>} tensors */
  constructor(tensors) {
    const embeddings = "vit.embeddings";
    const projection = `${embeddings}.patch_embeddings.projection`;
    this.patches = {
      weight: numbersOf(tensors, `${projection}.weight`, [WIDTH, 1, PATCH, PATCH]),
      bias: numbersOf(tensors, `${projection}.bias`, [WIDTH]),
    };
    this.first = numbersOf(tensors, `${embeddings}.cls_token`, [1, 1, WIDTH]);
    this.positions = numbersOf(tensors, `${embeddings}.position_embeddings`, [1, TOKENS, WIDTH]);
    this.blocks = Array.from({ length: BLOCKS }, (_, block) => blockOf(tensors, `vit.encoder.layer.${block}`));
    this.norm = normOf(tensors, "vit.layernorm");
    this.classifier = layerOf(tensors, "classifier", WIDTH, CLASSES.length);
  }

  /**
   * The model's score for each of its 36 classes.
   * @param {Float32Array} image [256], row by row, from -1 (paper) to 1 (ink)
   * @param {import("./adapters.js").Lora | null} adapter null: the base alone
   * @param {boolean[]} open [8], in which blocks the adapter is on; with null as adapter it changes nothing
   * @returns {Float32Array} [36]
   */
  logits(image, adapter, open) {
    check(image, adapter, open);
    let tokens = this.#embedded(image);
    this.blocks.forEach((block, i) => {
      const updates = adapter !== null && open[i] ? { ...adapter.blocks[i], scaling: adapter.scaling } : null;
      tokens = passed(block, tokens, updates);
    });
    const normed = new Float32Array(WIDTH);
    layerNorm(tokens.subarray(0, WIDTH), this.norm, EPSILON, normed);
    const scores = new Float32Array(CLASSES.length);
    linear(normed, this.classifier, scores, 1);
    return scores;
  }

  #embedded(image) {
    const pixels = new Float32Array(PATCHES * PATCH * PATCH); // one row for each patch
    for (let row = 0; row < IMAGE; row++) {
      for (let column = 0; column < IMAGE; column++) {
        const patch = Math.floor(row / PATCH) * (IMAGE / PATCH) + Math.floor(column / PATCH);
        const place = (row % PATCH) * PATCH + (column % PATCH);
        pixels[patch * PATCH * PATCH + place] = image[row * IMAGE + column];
      }
    }
    const tokens = new Float32Array(TOKENS * WIDTH);
    tokens.set(this.first);
    linear(pixels, this.patches, tokens.subarray(WIDTH), PATCHES);
    add(tokens, this.positions);
    return tokens;
  }
}

function check(image, adapter, open) {
  if (image.length !== IMAGE * IMAGE) {
    throw new Error(`The model reads ${IMAGE * IMAGE} pixels, but the image has ${image.length}.`);
  }
  if (adapter !== null && (adapter.blocks.length !== BLOCKS || open.length !== BLOCKS)) {
    const found = `the adapter has ${adapter.blocks.length} blocks and there are ${open.length} switches`;
    throw new Error(`The model has ${BLOCKS} blocks, but ${found}.`);
  }
}

function blockOf(tensors, name) {
  const inner = `${name}.attention.attention`;
  return {
    before: normOf(tensors, `${name}.layernorm_before`),
    q: layerOf(tensors, `${inner}.query`, WIDTH, WIDTH),
    k: layerOf(tensors, `${inner}.key`, WIDTH, WIDTH),
    v: layerOf(tensors, `${inner}.value`, WIDTH, WIDTH),
    joined: layerOf(tensors, `${name}.attention.output.dense`, WIDTH, WIDTH),
    after: normOf(tensors, `${name}.layernorm_after`),
    wide: layerOf(tensors, `${name}.intermediate.dense`, WIDTH, HIDDEN),
    narrow: layerOf(tensors, `${name}.output.dense`, HIDDEN, WIDTH),
  };
}

function layerOf(tensors, name, inputs, outputs) {
  return {
    weight: numbersOf(tensors, `${name}.weight`, [outputs, inputs]),
    bias: numbersOf(tensors, `${name}.bias`, [outputs]),
  };
}

function normOf(tensors, name) {
  return { weight: numbersOf(tensors, `${name}.weight`, [WIDTH]), bias: numbersOf(tensors, `${name}.bias`, [WIDTH]) };
}

/** What a block makes of the tokens [17, 64]; `updates` are the adapter's of this block, or null. */
function passed(block, tokens, updates) {
  const normed = new Float32Array(TOKENS * WIDTH);
  layerNorm(tokens, block.before, EPSILON, normed);
  const [query, key, value] = LAYERS.map((layer) => {
    const found = new Float32Array(TOKENS * WIDTH);
    linear(normed, block[layer], found, TOKENS);
    if (updates !== null) addUpdate(normed, updates[layer], updates.scaling, found, TOKENS);
    return found;
  });
  const seen = new Float32Array(TOKENS * WIDTH);
  attention(query, key, value, HEADS, TOKENS, seen);
  const attended = new Float32Array(TOKENS * WIDTH);
  linear(seen, block.joined, attended, TOKENS);
  add(attended, tokens);
  return perceived(block, attended, normed);
}

/** The second half of a block; `room` [17, 64] is overwritten. */
function perceived(block, tokens, room) {
  layerNorm(tokens, block.after, EPSILON, room);
  const hidden = new Float32Array(TOKENS * HIDDEN);
  linear(room, block.wide, hidden, TOKENS);
  gelu(hidden);
  const found = new Float32Array(TOKENS * WIDTH);
  linear(hidden, block.narrow, found, TOKENS);
  add(found, tokens);
  return found;
}

function add(x, y) {
  for (let i = 0; i < x.length; i++) x[i] += y[i];
}
