// The marks on a chart: a method's line over its band, and groups of bars with whiskers. Every mark carries its numbers as
// data attributes, and as a tooltip.

import { LOOKS, filling, marker, shown, svg } from "./chart.js";

/**
 * @typedef {object} Point
 * @property {number} x
 * @property {number} mean
 * @property {number} [low] lower edge of the band
 * @property {number} [high] upper edge of the band
 * @property {string} [words] the tooltip
 */

/** Add a method's line, over a band where the points have one.
 * @param {ReturnType<import("./chart.js").chart>} chart
 * @param {string} method
 * @param {Point[]} points
 * @param {{ thin?: boolean, name?: string, dash?: string }} [look] a thin line has no markers */
export function addLine(chart, method, points, { thin = false, name = method, dash } = {}) {
  const { color, dash: usual, width } = LOOKS[method];
  const group = svg("g", { class: `chart-line${thin ? " thin" : ""}`, "data-series": name });
  const place = ({ x }, value) => `${chart.x(x).toFixed(2)} ${chart.y(value).toFixed(2)}`;
  if (points.every(({ low, high }) => low !== undefined && high !== undefined)) {
    const [above, below] = ["high", "low"].map((edge) => points.map((point) => place(point, point[edge])));
    group.append(svg("path", { class: "chart-band", d: `M${[...above, ...below.reverse()].join("L")}Z`, fill: color }));
  }
  const line = points.map((point) => place(point, point.mean)).join("L");
  group.append(svg("path", {
    d: `M${line}`, fill: "none", stroke: color, "stroke-width": thin ? 1.5 : width, "stroke-dasharray": dash ?? usual,
  }));
  for (const point of thin ? [] : points) {
    const mark = marker(method, chart.x(point.x), chart.y(point.mean));
    mark.append(svg("title", {}, point.words));
    setNumbers(mark, { x: point.x, mean: point.mean, low: point.low, high: point.high });
    group.append(mark);
  }
  chart.layer.append(group);
}

/** Add groups of bars, one bar for each method, with whiskers of one standard deviation.
 * @param {ReturnType<import("./chart.js").chart>} chart
 * @param {{ name: string, pale?: boolean, scores: Record<string, { mean: number, sd: number, words: string }> }[]} groups
 *   group i lies around i on the x axis; a pale one is drawn weaker
 * @param {number} floor the value at which bars begin */
export function addBars(chart, groups, floor) {
  const room = chart.x(1) - chart.x(0);
  groups.forEach(({ name, pale = false, scores }, i) => {
    const group = svg("g", { class: `chart-bars${pale ? " pale" : ""}`, "data-group": name });
    const methods = Object.keys(scores);
    const width = Math.min(26, (room * 0.76) / methods.length);
    methods.forEach((method, k) => {
      const { mean, sd, words } = scores[method];
      const middle = chart.x(i) + (k - (methods.length - 1) / 2) * width;
      const bar = svg("rect", {
        x: middle - width / 2 + 0.5, width: width - 1, ...between(chart.y(mean), chart.y(floor)),
        fill: filling(method, chart.id), stroke: LOOKS[method].color, "stroke-width": 1,
      }, svg("title", {}, words));
      setNumbers(bar, { series: method, mean, sd });
      group.append(bar, whisker(middle, chart.y(mean - sd), chart.y(mean + sd)));
    });
    chart.layer.append(group);
  });
}

const between = (one, other) => ({ y: Math.min(one, other), height: Math.abs(one - other) });

function whisker(x, low, high) {
  return svg("path", { class: "chart-whisker", d: `M${x - 3} ${low}h6M${x - 3} ${high}h6M${x} ${low}V${high}` });
}

/** A dashed line across the chart with words below it, such as the base model's accuracy.
 * @param {ReturnType<import("./chart.js").chart>} chart @param {number} value @param {string} words */
export function addLevel(chart, value, words) {
  const y = chart.y(value);
  const line = svg("line", { class: "chart-level", x1: chart.left, x2: chart.right, y1: y, y2: y });
  const text = svg("text", { class: "chart-level", x: chart.left + 4, y: y + 14 }, words);
  chart.layer.append(setNumbers(svg("g", {}, line, text), { level: value }));
}

/** Write numbers into an element's data attributes; undefined ones are left out. @param {Element} element */
export function setNumbers(element, numbers) {
  for (const [name, value] of Object.entries(numbers)) {
    if (value !== undefined) element.setAttribute(`data-${name}`, value);
  }
  return element;
}
