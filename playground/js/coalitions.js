// Scores of every choice of open blocks, as figures.json has them: method -> seed -> 256 numbers of right answers. Bit i of a
// choice's place says whether block i is open.

/** @typedef {{ examples: number, right: Record<string, number[][]> }} Coalitions */

/** The place of a choice of blocks among the 256. @param {readonly boolean[]} open @returns {number} */
export const placeOf = (open) => open.reduce((place, isOpen, block) => place + (isOpen ? 2 ** block : 0), 0);

/** How many blocks are open at a place. @param {number} place @returns {number} */
export function openAt(place) {
  let count = 0;
  for (let rest = place; rest > 0; rest >>= 1) count += rest & 1;
  return count;
}

/** Accuracy of one choice in %, mean and standard deviation over the seeds.
 * @param {Coalitions} coalitions @param {string} method @param {number} place @returns {{ mean: number, sd: number }} */
export function scoreAt({ examples, right }, method, place) {
  return summary(right[method].map((own) => (100 * own[place]) / examples));
}

/** Accuracy in % against the number of open blocks, over the choices that `chosen` takes.
 * @param {Coalitions} coalitions @param {string} method @param {(place: number) => boolean} [chosen]
 * @returns {{ open: number, mean: number, sd: number, worst: number, best: number }[]} `mean` and `sd` are those of the seeds'
 *   means over choices, `worst` and `best` the seeds' means of their worst and best choice; numbers of open blocks without a
 *   choice are left out */
export function profile({ examples, right }, method, chosen = () => true) {
  const groups = new Map();
  right[method][0].forEach((_, place) => {
    if (chosen(place)) groups.set(openAt(place), [...(groups.get(openAt(place)) ?? []), place]);
  });
  return [...groups].sort(([one], [other]) => one - other).map(([open, places]) => {
    const seeds = right[method].map((own) => places.map((place) => (100 * own[place]) / examples));
    const worst = mean(seeds.map((scores) => Math.min(...scores)));
    const best = mean(seeds.map((scores) => Math.max(...scores)));
    return { open, ...summary(seeds.map(mean)), worst, best };
  });
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function summary(values) {
  const middle = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  return { mean: middle, sd: Math.sqrt(squares / (values.length - 1)) };
}
