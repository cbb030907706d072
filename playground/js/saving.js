// What a training saves that drops blocks, compared with one in which all blocks train in every step.

/**
 * The exact shares of the work that these steps save. A block that is not open spares the work of its adapters. The backward
 * pass stops at the lowest open block, because nothing below it needs a gradient.
 * @param {boolean[][]} masks [steps][blocks], true = open; in every step at least one is
 * @returns {{adapters: number, backward: number}} 0.1 = 10%: of the adapters' work, and of the backward passes through blocks
 */
export function spared(masks) {
  let adapters = 0;
  let backward = 0;
  for (const mask of masks) {
    adapters += mask.filter((open) => !open).length;
    backward += mask.indexOf(true);
  }
  const all = masks.length * masks[0].length;
  return { adapters: adapters / all, backward: backward / all };
}
