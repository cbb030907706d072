/** Different numbers below n, in random order, every choice with the same probability.
 * @param {number} n @param {number} size how many, at most n @returns {number[]} */
export function sampleOf(n, size) {
  const places = Array.from({ length: n }, (_, i) => i);
  for (let i = 0; i < size; i++) { // Fisher and Yates
    const j = i + Math.floor(Math.random() * (n - i));
    [places[i], places[j]] = [places[j], places[i]];
  }
  return places.slice(0, size);
}
