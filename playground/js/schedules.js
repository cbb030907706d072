// Schedules: the probability p that a block's adapter is switched on, over the progress of a training (0 at its start, 1 at its
// end). A ramp rises from `start` to `end` during the first `ramp` share of the training, and then stays at `end`.

/** @typedef {(progress: number) => number} Schedule */

/**
 * Every schedule by its name: a function from its arguments to the schedule. Each argument may be left out.
 * @type {Record<string, (options?: {start?: number, end?: number, ramp?: number, p?: number}) => Schedule>}
 */
export const SCHEDULES = {
  /** The paper's schedule: p rises evenly. */
  Linear: (options) => rising(options, (x) => x),
  /** Fast at first: the first quarter of a sine wave. */
  Sine: (options) => rising(options, (x) => Math.sin((Math.PI / 2) * x)),
  /** Slowly at first: (e^4x - 1) / (e^4 - 1). */
  Exponential: (options) => rising(options, (x) => Math.expm1(4 * x) / Math.expm1(4)),
  /** The same p throughout: stochastic depth where p is below 1, and plain LoRA where it is 1. */
  Constant: ({ p = 1 } = {}) => {
    check({ p });
    return () => p;
  },
};

function rising({ start = 0, end = 1, ramp = 0.75 } = {}, shape) {
  check({ start, end, ramp });
  if (start > end) {
    throw new Error(`start=${start} is above end=${end}, but the probability must rise. Swap the two.`);
  }
  return (progress) => (progress >= ramp ? end : start + (end - start) * shape(progress / ramp));
}

function check(values) {
  for (const [name, value] of Object.entries(values)) {
    if (!(value >= 0 && value <= 1)) throw new Error(`${name}=${value} must be a number from 0 to 1.`);
  }
}
