// Which block the reader points at, and which one an event is about: elements that stand for a block have `data-block`.

/** Call back with the block under the pointer, and with null where there is none. A finger does not point: it would only make
 * the mark flash.
 * @param {Element} element @param {(block: number | null) => void} point */
export function followPointer(element, point) {
  for (const [name, read] of [["pointerover", blockOf], ["pointerleave", () => null]]) {
    element.addEventListener(name, (event) => event.pointerType !== "touch" && point(read(event)));
  }
}

/** The block that an event is about, or null. @param {Event} event @returns {number | null} */
export function blockOf({ target }) {
  const place = target.closest("[data-block]");
  return place && Number(place.dataset.block);
}
