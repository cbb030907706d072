// The frame of a figure: its title, the question that it answers, the chart, what it shows now in words, and its numbers.

import { LOOKS, html, interval, marker, svg } from "./chart.js";

/**
 * @typedef {object} Table
 * @property {string} caption
 * @property {string[]} head
 * @property {string[][]} rows the first cell of each is its name
 */

/** Add a figure to an element. Its chart is drawn anew when the width changes.
 * @param {HTMLElement} element
 * @param {{ title: string, lead: string, note: string, verdict: string, table: Table, draw: (width: number) => SVGSVGElement,
 *   say: () => string }} parts `lead` is read before the chart, `note` says what the chart's marks are, `say` gives the sentence
 *   for the present choice
 * @returns {() => void} draws chart and sentence anew */
export function addFigure(element, { title, lead, note, verdict, table, draw, say }) {
  const plot = html("div", { class: "figure-plot" });
  const sentence = html("p", { class: "figure-now" });
  element.append(
    html("h3", {}, title),
    html("p", { class: "figure-lead" }, lead),
    legend(),
    plot,
    sentence,
    html("p", { class: "figure-note" }, note),
    html("p", { class: "figure-verdict" }, verdict),
    html("details", { class: "figure-numbers" }, html("summary", {}, "The numbers as a table"), tableOf(table)),
  );
  let width = 0;
  const redraw = () => {
    if (width > 0) plot.replaceChildren(draw(width));
    sentence.textContent = say();
  };
  new ResizeObserver(([{ contentRect }]) => {
    const now = Math.floor(contentRect.width);
    if (now === width) return;
    width = now;
    redraw();
  }).observe(plot);
  redraw();
  return redraw;
}

/** A claim's verdict on every leg in one sentence. @param {{ text: string, unit: string, decimals: number, legs: object }} claim */
export function verdictOf({ text, unit, decimals, legs }) {
  const words = { holds: "holds", "does not hold": "does not hold", inconclusive: "is inconclusive" };
  const units = unit === "points" ? " points" : "";
  const parts = Object.entries(legs).map(
    ([leg, own]) => `on the ${leg} this ${words[own.verdict]}: ${interval(own, decimals)}${units}`,
  );
  return `Claim: “${text}.” Over five seeds, with 95% intervals of the difference, ${parts.join("; ")}.`;
}

function legend() {
  const entries = Object.entries(LOOKS).map(([method, { color, dash, width }]) => {
    const line = svg("line", { x1: 0, x2: 34, y1: 8, y2: 8, stroke: color, "stroke-width": width, "stroke-dasharray": dash });
    return html("span", {}, svg("svg", { width: 34, height: 16, "aria-hidden": "true" }, line, marker(method, 17, 8)), ` ${method}`);
  });
  return html("p", { class: "figure-legend" }, ...entries);
}

function tableOf({ caption, head, rows }) {
  const cells = (row) => row.map((cell, i) => (i === 0 ? html("th", { scope: "row" }, cell) : html("td", {}, cell)));
  const table = html(
    "table",
    {},
    html("caption", {}, caption),
    html("thead", {}, html("tr", {}, ...head.map((cell) => html("th", { scope: "col" }, cell)))),
    html("tbody", {}, ...rows.map((row) => html("tr", {}, ...cells(row)))),
  );
  return html("div", { class: "figure-table", tabindex: "0", role: "region", "aria-label": caption }, table);
}
