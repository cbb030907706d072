// Which blocks train at a step: CoTo's draws, which depend on the seed and the step alone.

import { uniform } from "./philox.js";

/**
 * The blocks that train at a step. They are drawn as independent blocks with probability p, redrawn until at least one is open,
 * but without redrawing: as long as none is open, block i opens with the probability p / (1 - (1-p)^(n-i)), and every block
 * after the first open one opens with p. In the limit p -> 0, exactly one block opens.
 * @param {number} n how many blocks there are
 * @param {number} p
 * @param {number} seed
 * @param {number} step
 * @returns {boolean[]} [n], true = open
 */
export function drawMask(n, p, seed, step) {
  const numbers = uniform(n, seed, step);
  const mask = Array.from(numbers, (number) => number < p);
  const first = numbers.findIndex((number, i) => number < opensFirst(n - i, p));
  mask[first] = true;
  return mask;
}

/** The probability that a block opens if none before it is open, and `left` blocks are left with it. */
function opensFirst(left, p) {
  if (left === 1) return 1;
  return p === 0 ? 1 / left : p / someOpen(left, p);
}

/** The probability that at least one of n independent blocks is open: 1 - (1-p)^n. */
function someOpen(n, p) {
  return -Math.expm1(n * Math.log1p(-p));
}

/**
 * The masks of all steps of a training.
 * @param {number} n how many blocks there are
 * @param {import("./schedules.js").Schedule} schedule
 * @param {{totalSteps: number, seed: number}} training
 * @returns {boolean[][]} [totalSteps][n]
 */
export function trainingMasks(n, schedule, { totalSteps, seed }) {
  return Array.from({ length: totalSteps }, (_, step) => drawMask(n, schedule(step / totalSteps), seed, step));
}

/**
 * The mean of the number of open blocks, n·p / (1 - (1-p)^n); in the limit p -> 0 it is 1.
 * @param {number} n how many blocks there are
 * @param {number} p
 * @returns {number}
 */
export function expectedOpen(n, p) {
  return p === 0 ? 1 : (n * p) / someOpen(n, p);
}
