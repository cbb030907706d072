// A pad on which a reader draws a digit, with a mouse, a pen, a finger or the keyboard.
//
// Two places use this file: the page of the playground, and a notebook's widget, which joins it with its own code. So it
// imports nothing, and it brings its own style.
//
// What the model gets looks like its data set (Alpaydin & Kaynak, UCI 1998). There a digit was cropped, scaled to 32x32 cells
// that are either ink or paper, and thickened or thinned; then the inked cells of each block of 4x4 were counted: 8x8 numbers
// from 0 to 16. The pad keeps a drawing as lines, so it can do the same, and the width of the reader's pen does not matter.

const CELLS = 32; // the pad's side in cells
const WIDTH = 22; // the largest width of a cropped digit; its height is all of the 32 cells, as in the data set
const INK = 312; // inked cells of a digit: the data set's mean, which hardly depends on the digit
const PEN = 2.6; // the width of the lines on the pad, in cells
const FLATTEST = 3; // how much more a flat drawing is stretched in its height than in its width, at most

/** Lines cropped, centred and counted.
 * @param {number[][][]} lines lines of points [x, y], in cells
 * @returns {Uint8Array | null} 64 numbers from 0 to 16, row by row; null if nothing is drawn */
export function countInk(lines) {
  if (lines.length === 0) return null;
  let [thin, thick] = [0.7, 6];
  for (let i = 0; i < 7; i++) { // halve the range in which the half width of the pen lies
    const middle = (thin + thick) / 2;
    const inked = inkedCells(cropped(lines, middle), middle).reduce((sum, cell) => sum + cell, 0);
    if (inked < INK) thin = middle;
    else thick = middle;
  }
  const cells = inkedCells(cropped(lines, thin), thin);
  const counts = new Uint8Array(64);
  cells.forEach((cell, i) => (counts[8 * (i >> 7) + ((i & 31) >> 2)] += cell));
  return counts;
}

/** The lines, scaled so that a pen with the half width `pen` fills the height (or the width) of the cells. */
function cropped(lines, pen) {
  let [left, right, top, bottom] = [CELLS, 0, CELLS, 0];
  for (const [x, y] of lines.flat()) {
    [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
  }
  const across = Math.max(0.5, WIDTH - 2 * pen) / Math.max(right - left, 0.5);
  const along = Math.max(0.5, CELLS - 2 * pen) / Math.max(bottom - top, 0.5);
  const y = Math.min(along, FLATTEST * across);
  const x = Math.min(across, along);
  const middle = CELLS / 2;
  return lines.map((line) =>
    line.map((point) => [middle + (point[0] - (left + right) / 2) * x, middle + (point[1] - (top + bottom) / 2) * y]));
}

function inkedCells(lines, pen) {
  const cells = new Uint8Array(CELLS * CELLS);
  for (const line of lines) {
    for (let i = 0; i < line.length; i++) inkSegment(cells, line[Math.max(i - 1, 0)], line[i], pen);
  }
  return cells;
}

/** Ink the cells whose middle is not farther than `pen` from the segment. */
function inkSegment(cells, [x1, y1], [x2, y2], pen) {
  const [dx, dy] = [x2 - x1, y2 - y1];
  const length = dx * dx + dy * dy;
  const bound = (value) => Math.min(CELLS - 1, Math.max(0, Math.floor(value)));
  for (let row = bound(Math.min(y1, y2) - pen); row <= bound(Math.max(y1, y2) + pen); row++) {
    for (let column = bound(Math.min(x1, x2) - pen); column <= bound(Math.max(x1, x2) + pen); column++) {
      const [px, py] = [column + 0.5 - x1, row + 0.5 - y1];
      const share = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
      if ((px - share * dx) ** 2 + (py - share * dy) ** 2 <= pen * pen) cells[row * CELLS + column] = 1;
    }
  }
}

const STYLE = `
.coto-pad { display: grid; gap: 0.5rem; max-width: 22rem; color: var(--ink, currentColor); }
.coto-pad svg { display: block; background: var(--paper, transparent); border: 1px solid var(--line, #8888); }
.coto-pad-paper { width: 100%; aspect-ratio: 1; border-radius: 10px; touch-action: none; cursor: crosshair; }
.coto-pad-paper:focus { outline: none; }
.coto-pad-paper:focus-visible { outline: 3px solid var(--accent, Highlight); outline-offset: 2px; }
.coto-pad-paper polyline { fill: none; stroke: currentColor; stroke-width: ${PEN}; stroke-linecap: round;
  stroke-linejoin: round; }
.coto-pad-cursor { fill: none; stroke: var(--accent, Highlight); stroke-width: 0.4; visibility: hidden; }
.coto-pad-paper:focus-visible .coto-pad-cursor { visibility: visible; }
.coto-pad-cursor.down { fill: var(--accent, Highlight); }
.coto-pad-paper text { font-size: 2px; fill: var(--soft, currentColor); text-anchor: middle; visibility: hidden; }
.coto-pad-paper.empty text { visibility: visible; }
.coto-pad-paper .grid { stroke: var(--line, #8886); stroke-width: 0.08; pointer-events: none; }
.coto-pad-foot { display: flex; gap: 0.5rem; align-items: center; flex-wrap: wrap; }
.coto-pad-seen { width: 3rem; height: 3rem; border-radius: 4px; flex: none; }
.coto-pad-foot span { flex: 1 1 4rem; font-size: 0.8125rem; line-height: 1.3; color: var(--soft, currentColor); }
.coto-pad rect { fill: currentColor; shape-rendering: crispEdges; }
.coto-pad button { font: inherit; font-size: 0.875rem; min-height: 2.25rem; padding: 0.3rem 0.6rem; border-radius: 8px;
  color: var(--ink, currentColor); background: var(--card, transparent); border: 1px solid var(--line, #8888);
  cursor: pointer; }
.coto-pad button:hover { border-color: var(--accent, Highlight); }
.coto-pad button:focus-visible { outline: 3px solid var(--accent, Highlight); outline-offset: 2px; }
.coto-pad-help { display: none; margin: 0; font-size: 0.875rem; line-height: 1.4; }
.coto-pad-paper:focus-visible ~ .coto-pad-help { display: block; }
.coto-pad-said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`;

const KEYS = "With the keyboard: arrow keys move the pen, with Shift by four cells; Space puts it down and lifts it; " +
  "Backspace takes the last line back; Delete clears the pad.";
const HELP = `Draw with a mouse, a pen or a finger. ${KEYS}`;

const MARKUP = `<style>${STYLE}</style>
<svg class="coto-pad-paper" viewBox="0 0 32 32" tabindex="0" role="application" aria-roledescription="drawing pad"
  aria-label="Pad to draw a digit. ${HELP}"><title>${HELP}</title>
  <path class="grid" d="M8 0V32M16 0V32M24 0V32M0 8H32M0 16H32M0 24H32"/><g class="coto-pad-ink"></g>
  <text x="16" y="12.7">draw a digit here</text><circle class="coto-pad-cursor" cx="16" cy="16" r="1.3"/></svg>
<div class="coto-pad-foot"><svg class="coto-pad-seen" viewBox="0 0 32 32" role="img"></svg>
  <span>The model gets 8×8 numbers</span>
  <button type="button">Undo</button><button type="button">Clear</button></div>
<p class="coto-pad-help" aria-hidden="true">${KEYS}</p>
<div class="coto-pad-said" aria-live="polite"></div>`;

function blocksOf(counts) {
  return Array.from(counts ?? [], (count, i) =>
    `<rect x="${4 * (i & 7)}" y="${4 * (i >> 3)}" width="4" height="4" fill-opacity="${count / 16}"/>`).join("");
}

/** Put a pad into an element.
 * @param {HTMLElement} element
 * @param {(counts: Uint8Array | null) => void} changed is called with 64 numbers from 0 to 16 whenever the reader has changed
 *   the drawing, and with null when the pad is empty
 * @returns {{clear: () => void, undo: () => void, show: (counts: Uint8Array | null) => void}} `show` shows an image of the data
 *   set, or an empty pad, and does not call `changed`; the next line begins a new drawing */
export function mountPad(element, changed) {
  const root = document.createElement("div");
  root.className = "coto-pad";
  root.innerHTML = MARKUP;
  element.replaceChildren(root);
  const [paper, seen, ink, cursor, said] = ["paper", "seen", "ink", "cursor", "said"].map((part) =>
    root.querySelector(`.coto-pad-${part}`));
  let [lines, shown] = [[], null]; // the drawing; or, in its place, an image of the data set
  const pen = { x: CELLS / 2, y: CELLS / 2, down: false };
  let pointer = null; // the id of the pointer that draws; a second finger does not

  function draw() {
    const polylines = lines.map((line) => `<polyline points="${[...line, line.at(-1)].map((p) => p.join()).join(" ")}"/>`);
    const counts = shown ?? countInk(lines);
    ink.innerHTML = shown ? blocksOf(shown) : polylines.join("");
    seen.innerHTML = blocksOf(counts);
    seen.setAttribute("aria-label", counts ? `8 by 8 numbers of ink: ${counts.join(" ")}` : "nothing is drawn");
    paper.classList.toggle("empty", !counts);
    return counts;
  }
  function begin(x, y) {
    shown = null;
    lines.push([[x, y]]);
    changed(draw());
  }
  function extend(x, y) {
    const [lastX, lastY] = lines.at(-1).at(-1);
    if (Math.hypot(x - lastX, y - lastY) < 0.4) return; // a hand that rests sends hundreds of equal points
    lines.at(-1).push([x, y]);
    changed(draw());
  }
  function endLine() {
    pen.down = false;
    pointer = null;
    showPen();
  }
  function undo() {
    endLine();
    lines.pop();
    shown = null;
    changed(draw());
  }
  function show(counts) {
    endLine();
    lines = [];
    shown = counts;
    draw();
  }
  const clear = () => (show(null), changed(null));

  const place = (event) => {
    const box = paper.getBoundingClientRect();
    const within = (share) => Math.round(100 * CELLS * Math.min(1, Math.max(0, share))) / 100;
    return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
  };
  paper.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || pointer !== null) return;
    endLine();
    pointer = event.pointerId;
    paper.setPointerCapture(pointer);
    begin(...place(event));
  });
  paper.addEventListener("pointermove", (event) => event.pointerId === pointer && extend(...place(event)));
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    paper.addEventListener(end, (event) => event.pointerId === pointer && endLine());
  }

  const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const actions = { " ": togglePen, Enter: togglePen, Backspace: undo, Delete: clear };
  function togglePen() {
    pen.down = !pen.down;
    if (pen.down) begin(pen.x, pen.y);
  }
  paper.addEventListener("keydown", (event) => {
    if (!(event.key in keys || event.key in actions) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (event.key in actions) actions[event.key]();
    else movePen(keys[event.key], event.shiftKey ? 4 : 1);
    showPen();
    said.textContent = `Pen ${pen.down ? "down" : "up"}, column ${pen.x}, row ${pen.y}`;
  });
  function showPen() {
    cursor.setAttribute("cx", pen.x);
    cursor.setAttribute("cy", pen.y);
    cursor.classList.toggle("down", pen.down);
  }
  function movePen([dx, dy], cells) {
    pen.x = Math.min(CELLS - 1, Math.max(1, pen.x + dx * cells));
    pen.y = Math.min(CELLS - 1, Math.max(1, pen.y + dy * cells));
    if (pen.down) extend(pen.x, pen.y);
  }
  [undo, clear].forEach((act, i) => root.querySelectorAll("button")[i].addEventListener("click", act));
  draw();
  return { clear, undo, show };
}
