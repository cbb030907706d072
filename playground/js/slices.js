// Long work is done in slices, so that the page answers the reader meanwhile.

const LONGEST = 24; // ms of one slice

/** A clock for slices: `isOver()` is true once the slice has lasted long enough, and then begins the next one. */
export function slices() {
  let end = performance.now() + LONGEST;
  return {
    isOver() {
      if (performance.now() < end) return false;
      end = performance.now() + LONGEST;
      return true;
    },
  };
}

/** Let the browser draw and answer. Not an animation frame: in a tab that is not seen, there are none. */
export function breath() {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
