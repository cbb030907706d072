// Images as the data set's numbers: from them to the model's image, and what the numbers say about an image.

import { same } from "./store.js";

const SMALL = 8; // the data set's images have 8x8 numbers
const LARGE = 16; // the model reads 16x16 pixels
const MOST = 16; // each number counts the pixels with ink among 4x4
const FULLEST = 433; // the most ink that a test image has, as the sum of its numbers

/**
 * The image that the model reads: the numbers are enlarged bilinearly, so that ink is 1 and paper is -1.
 *
 * A pixel's centre lies at (i + 0.5) / 2 - 0.5 of the small image; beyond the edge, the edge counts. This is what PyTorch's
 * `interpolate(mode="bilinear", align_corners=False)` does.
 * @param {ArrayLike<number>} counts [64], row by row, each from 0 to 16
 * @returns {Float32Array} [256], row by row, each from -1 to 1
 */
export function enlarged(counts) {
  if (counts.length !== SMALL * SMALL) {
    throw new Error(`An image has ${SMALL * SMALL} numbers, but ${counts.length} were given.`);
  }
  const image = new Float32Array(LARGE * LARGE);
  for (let row = 0; row < LARGE; row++) {
    const [top, bottom, down] = neighbours(row);
    for (let column = 0; column < LARGE; column++) {
      const [left, right, across] = neighbours(column);
      const above = between(counts[top * SMALL + left], counts[top * SMALL + right], across);
      const below = between(counts[bottom * SMALL + left], counts[bottom * SMALL + right], across);
      image[row * LARGE + column] = (between(above, below, down) / MOST) * 2 - 1;
    }
  }
  return image;
}

function neighbours(position) {
  const source = Math.max((position + 0.5) * (SMALL / LARGE) - 0.5, 0);
  const first = Math.floor(source);
  return [first, Math.min(first + 1, SMALL - 1), source - first];
}

function between(first, second, share) {
  return (1 - share) * first + share * second;
}

/**
 * The numbers of an image of `images.json`, where each number is one digit of base 17: 0 to 9, then A (10) to G (16).
 * @param {string} digits of length 64
 * @returns {Uint8Array} [64]
 */
export function countsOf(digits) {
  return Uint8Array.from(digits, (digit) => Number.parseInt(digit, MOST + 1));
}

/** The number of the test image that a state shows, or whose numbers have not arrived yet; null for another image, which the
 * reader has drawn since.
 * @param {Pick<import("./store.js").State, "counts" | "test">} state @returns {number | null} */
export function testNumber({ counts, test }) {
  return test && same(test.counts, counts) ? test.number : null;
}

/** Why an image is hardly one of a digit, in words; "" if nothing tells. The test images have ink in every row.
 * @param {Uint8Array} counts [64] @returns {string} */
export function oddity(counts) {
  const rows = Array.from({ length: SMALL }, (_, row) => counts.subarray(SMALL * row, SMALL * (row + 1)));
  if (!rows.every((row) => row.some(Boolean))) return "This is hardly a digit: it has almost no height.";
  const ink = counts.reduce((sum, count) => sum + count, 0);
  return ink > FULLEST ? "This is hardly a digit: it has more ink than any of the test images." : "";
}
