// Reads files in the format of safetensors: eight bytes with the length of the header, the header as JSON, and the numbers.

const LENGTH = 8; // bytes of the header's length, an unsigned integer whose lowest byte is the first
const BYTES = 4; // of a number in float32

/**
 * @typedef {object} Tensor
 * @property {number[]} shape
 * @property {Float32Array} data [product of shape], row by row; it shares the memory of the file
 */

/**
 * The tensors of a file.
 * @param {ArrayBuffer} buffer the whole file
 * @returns {Map<string, Tensor>} by name
 */
export function readSafetensors(buffer) {
  const { header, start } = readHeader(buffer);
  const tensors = new Map();
  for (const [name, entry] of Object.entries(header)) {
    if (name !== "__metadata__") {
      tensors.set(name, readTensor(buffer, start, name, entry));
    }
  }
  return tensors;
}

function readHeader(buffer) {
  if (buffer.byteLength < LENGTH) {
    throw new Error(`The file of weights has ${buffer.byteLength} bytes only, so it is damaged.`);
  }
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  if (LENGTH + length > buffer.byteLength) {
    throw new Error("The file of weights ends within its header, or is no such file.");
  }
  const text = new TextDecoder().decode(new Uint8Array(buffer, LENGTH, length));
  try {
    return { header: JSON.parse(text), start: LENGTH + length };
  } catch {
    throw new Error("The header of the file of weights is no JSON, so the file is damaged.");
  }
}

function readTensor(buffer, start, name, { dtype, shape, data_offsets: [first, end] }) {
  if (dtype !== "F32") {
    throw new Error(`${name} has the type ${dtype}, but this page reads F32 only. Save the weights as float32.`);
  }
  const size = shape.reduce((product, length) => product * length, 1);
  if (end - first !== size * BYTES || start + end > buffer.byteLength) {
    throw new Error(`The file of weights ends before the numbers of ${name}, so it is damaged.`);
  }
  const from = start + first;
  // A view must begin at a multiple of four bytes. Files that the library writes do; others are copied.
  const data = from % BYTES ? new Float32Array(buffer.slice(from, start + end)) : new Float32Array(buffer, from, size);
  return { shape, data };
}

/**
 * A tensor's numbers, of which the shape is checked.
 * @param {Map<string, Tensor>} tensors
 * @param {string} name
 * @param {number[]} shape what it must be
 * @returns {Float32Array}
 */
export function numbersOf(tensors, name, shape) {
  const tensor = tensors.get(name);
  if (tensor === undefined) {
    throw new Error(`The file of weights lacks ${name}, so it is of another model.`);
  }
  if (tensor.shape.join() !== shape.join()) {
    throw new Error(`${name} has the shape [${tensor.shape}], but this model needs [${shape}].`);
  }
  return tensor.data;
}
