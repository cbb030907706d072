// The ground of a small chart in SVG: two axes, and the places of values on them. No library; a chart is drawn anew whenever
// its numbers, its width or the marked block change.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { top: 10, right: 14, bottom: 46, left: 46 };

/** How each method looks. Dash, marker and filling are a second cue beside the colour, as in the lab's figures. */
export const LOOKS = {
  LoRA: { color: "var(--lora, #0072B2)", dash: "6 4", width: 2, marker: "circle", hatched: true },
  CoTo: { color: "var(--coto, #D55E00)", dash: "", width: 3, marker: "diamond", hatched: false },
};

/** An SVG element. Attributes that are null or undefined are left out.
 * @param {string} name
 * @param {Record<string, string | number | null | undefined>} attributes
 * @param {...(Node | string)} inside */
export const svg = (name, attributes = {}, ...inside) => filled(document.createElementNS(SVG, name), attributes, inside);

/** An HTML element, in the same way. */
export const html = (name, attributes = {}, ...inside) => filled(document.createElement(name), attributes, inside);

function filled(element, attributes, inside) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...inside);
  return element;
}

/**
 * @typedef {object} Axis
 * @property {number} low
 * @property {number} high
 * @property {{ at: number, text: string, marked?: boolean }[]} ticks
 * @property {string} label what is measured, with its unit
 */

let made = 0; // charts so far, for the ids of titles and fillings

/** An empty chart with its axes.
 * @param {{ width: number, height: number, x: Axis, y: Axis, title: string, description: string, bottom?: number }} options
 *   sizes in pixels; title and description are read out by screen readers; `bottom` is the room below the plot
 * @returns {{ root: SVGSVGElement, layer: SVGGElement, x: (value: number) => number, y: (value: number) => number,
 *   behind: SVGGElement, touch: SVGGElement, left: number, right: number, top: number, bottom: number, id: string }} `layer`
 *   takes the marks, `behind` those that would cover the words of an axis, and `touch`, the last child of the root, the unseen
 *   places that the reader points at; x and y give pixels */
export function chart({ width, height, x, y, title, description, bottom = MARGIN.bottom }) {
  const id = `chart-${++made}`;
  const area = { left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top, bottom: height - bottom };
  const onX = (value) => area.left + ((value - x.low) / (x.high - x.low)) * (area.right - area.left);
  const onY = (value) => area.bottom - ((value - y.low) / (y.high - y.low)) * (area.bottom - area.top);
  const root = svg(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-labelledby": `${id}-title ${id}-words` },
    svg("title", { id: `${id}-title` }, title),
    svg("desc", { id: `${id}-words` }, description),
    hatching(id),
  );
  const grid = svg("g", { class: "chart-grid", "aria-hidden": "true" });
  for (const { at, text } of y.ticks) {
    grid.append(svg("line", { x1: area.left, x2: area.right, y1: onY(at), y2: onY(at) }));
    grid.append(svg("text", { x: area.left - 7, y: onY(at) + 4, "text-anchor": "end" }, text));
  }
  for (const { at, text, marked } of x.ticks) {
    const place = { x: onX(at), y: area.bottom + 17, "text-anchor": "middle", class: marked ? "on-mark" : null };
    grid.append(svg("text", place, text));
  }
  grid.append(svg("line", { class: "chart-axis", x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom }));
  const middle = (area.left + area.right) / 2;
  grid.append(svg("text", { class: "chart-label", x: middle, y: height - 6, "text-anchor": "middle" }, x.label));
  const [across, along] = [12, (area.top + area.bottom) / 2];
  grid.append(svg(
    "text",
    { class: "chart-label", x: across, y: along, "text-anchor": "middle", transform: `rotate(-90 ${across} ${along})` },
    y.label,
  ));
  const [behind, layer, touch] = [svg("g"), svg("g"), svg("g")];
  root.append(behind, grid, layer, touch);
  return { root, behind, layer, touch, x: onX, y: onY, ...area, id };
}

/** The filling of a method's bars and legend entry in the chart with this id. */
export const filling = (method, id) => (LOOKS[method].hatched ? `url(#${id}-hatching)` : LOOKS[method].color);

function hatching(id) {
  const { color } = LOOKS.LoRA;
  const ground = svg("rect", { width: 6, height: 6, fill: color });
  const line = svg("line", { x1: 0, x2: 0, y1: 0, y2: 6, stroke: "var(--card, white)", "stroke-width": 2.4 });
  const pattern = { id: `${id}-hatching`, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" };
  return svg("defs", {}, svg("pattern", pattern, ground, line));
}

/** A marker of a method's shape.
 * @param {string} method @param {number} x pixels @param {number} y pixels @param {number} size pixels from its middle */
export function marker(method, x, y, size = 4.5) {
  const half = 1.3 * size; // of a diamond's diagonal
  const shape = LOOKS[method].marker === "circle"
    ? svg("circle", { cx: x, cy: y, r: size })
    : svg("path", { d: `M${x} ${y - half}l${half} ${half}l${-half} ${half}l${-half} ${-half}z` });
  shape.setAttribute("fill", LOOKS[method].color);
  return shape;
}

/** Evenly spaced ticks.
 * @param {number} low @param {number} high @param {number} step @returns {{ at: number, text: string }[]} */
export function ticks(low, high, step) {
  const number = Math.round((high - low) / step);
  return Array.from({ length: number + 1 }, (_, i) => ({ at: low + i * step, text: String(low + i * step) }));
}

/** A number with digits after the point, and a true minus. @param {number} value @param {number} digits */
export const shown = (value, digits = 1) => value.toFixed(digits).replace("-", "−");

/** Mean and standard deviation in words, as in EVIDENCE.md. @param {{ mean: number, sd: number }} score */
export const spread = ({ mean, sd }, digits = 1) => `${shown(mean, digits)} ± ${shown(sd, digits)}`;

/** A difference with its interval, as in EVIDENCE.md. @param {{ mean: number, low: number, high: number }} difference */
export function interval({ mean, low, high }, digits = 1) {
  const signed = (value) => (value < 0 ? shown(value, digits) : `+${shown(value, digits)}`);
  return `${signed(mean)} [${signed(low)}, ${signed(high)}]`;
}
