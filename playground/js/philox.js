// Philox, a counter-based generator (Salmon et al. 2011): its numbers depend on a key and a counter alone. This is Philox 4x64
// with 10 rounds, as in NumPy, and it gives the same numbers.

const ROUNDS = 10;
const MULTIPLIERS = [0xd2e7470ee14c6c93n, 0xca5a826395121157n];
const STEPS = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn]; // which the key takes from round to round
const BITS = 64n;
const MASK = (1n << BITS) - 1n;

/**
 * Random numbers in [0, 1): those of `Generator(Philox(key=key, counter=[0, position, 0, 0])).random(n)` in NumPy.
 * @param {number} n how many
 * @param {number} key the seed, a whole number
 * @param {number} position a whole number
 * @returns {Float64Array} [n]
 */
export function uniform(n, key, position) {
  for (const [name, value] of Object.entries({ key, position })) {
    if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${name}=${value} must be a whole number, 0 or above.`);
  }
  const numbers = new Float64Array(n);
  for (let i = 0; i < n; i += 4) {
    // NumPy raises the counter before it uses it, so the first block of four has the counter 1.
    const block = philox([BigInt(i / 4 + 1), BigInt(position), 0n, 0n], [BigInt(key), 0n]);
    // The upper 53 bits: a double holds no more.
    block.slice(0, n - i).forEach((bits, j) => (numbers[i + j] = Number(bits >> 11n) / 2 ** 53));
  }
  return numbers;
}

/** Four numbers of 64 bits for a counter of four and a key of two such numbers. */
function philox([a, b, c, d], [key0, key1]) {
  for (let round = 0; round < ROUNDS; round++) {
    const product0 = a * MULTIPLIERS[0];
    const product1 = c * MULTIPLIERS[1];
    [a, b, c, d] = [(product1 >> BITS) ^ b ^ key0, product1 & MASK, (product0 >> BITS) ^ d ^ key1, product0 & MASK];
    key0 = (key0 + STEPS[0]) & MASK;
    key1 = (key1 + STEPS[1]) & MASK;
  }
  return [a, b, c, d];
}
