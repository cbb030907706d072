// The frame of a figure: its title, the question that it answers, the chart, what it shows now in words, and its numbers.

import { LOOKS, html, interval, marker, svg } from "./chart.js";
import { askPercent } from "./guess.js";

const TASKS = { digits: "handwritten digits", strings: "character strings", docstrings: "Python docstrings" };

/**
 * @typedef {object} Table
 * @property {string} caption
 * @property {string[]} head
 * @property {string[][]} rows the first cell of each is its name
 */

/**
 * @typedef {object} Parts
 * @property {string} title
 * @property {string} lead what is read before the chart
 * @property {{ id: string, question: string, truth: Record<string, number> }} [ask] asked before the chart is shown
 * @property {string} note what the chart's marks are
 * @property {object} claim of figures.json
 * @property {string} [terms] what words of the claim mean
 * @property {Table} table
 * @property {(width: number) => SVGSVGElement} draw
 * @property {() => string} say what the chart shows for the present choice
 */

/** Add a figure to an element. Its chart is drawn anew when the width changes.
 * @param {HTMLElement} element @param {Parts} parts @param {object} store
 * @returns {() => void} draws chart and sentence anew */
export function addFigure(element, { title, lead, ask, note, claim, terms, table, draw, say }, store) {
  const plot = html("div", { class: "figure-plot" });
  const sentence = html("p", { class: "figure-now" });
  const body = html(
    "div", {}, legend(), plot, sentence, html("p", { class: "figure-note" }, note), verdict(claim, terms),
    html("details", { class: "figure-numbers" }, html("summary", {}, "The numbers as a table"), tableOf(table)),
  );
  element.append(html("h3", {}, title), html("p", { class: "figure-lead" }, lead));
  let width = 0;
  const redraw = () => {
    if (width > 0) renew(plot, draw(width));
    sentence.textContent = say();
  };
  new ResizeObserver(([{ contentRect }]) => {
    const now = Math.floor(contentRect.width);
    if (now === width) return; // a new chart may change the height alone
    width = now;
    requestAnimationFrame(redraw); // in here it would change a height that is being observed, which browsers report as an error
  }).observe(plot);
  redraw();
  showAfter(element, body, ask, store);
  return redraw;
}

/** Put a new chart in the place of the old one. Where both have one width, the places that the reader points at stay: the
 * reader may be about to click one, and the click would be lost with it. */
function renew(plot, chart) {
  const old = plot.firstElementChild;
  if (old?.getAttribute("width") !== chart.getAttribute("width")) return void plot.replaceChildren(chart);
  old.setAttribute("aria-labelledby", chart.getAttribute("aria-labelledby"));
  const [before, after] = [old, chart].map(({ children }) => [...children].slice(0, -1));
  before.forEach((child) => child.remove());
  old.prepend(...after);
}

/** Show the body at once, or where there is a question, after its answer. */
async function showAfter(element, body, ask, store) {
  if (ask && store.get().ask) {
    const question = html("div", { class: "figure-question" });
    element.append(question);
    await askPercent(question, store, ask);
  }
  element.append(body);
}

/** A claim and its verdict on every leg. */
function verdict({ text, unit, decimals, legs }, terms = "") {
  const units = unit === "points" ? " points" : "";
  const items = Object.entries(legs).map(([leg, own]) => html(
    "li", { "data-leg": leg, "data-verdict": own.verdict }, html("b", {}, TASKS[leg]), ` ${own.verdict}`,
    html("span", {}, `${interval(own, decimals)}${units}`),
  ));
  const words = "Three tasks judge this claim. Difference CoTo − LoRA over five seeds, with its 95% interval:";
  return html("div", { class: "figure-verdict" }, html("p", {}, `“${text}.” ${terms} ${words}`), html("ul", {}, ...items));
}

function legend() {
  const entries = Object.entries(LOOKS).map(([method, { color, dash, width }]) => {
    const line = svg("line", { x1: 0, x2: 34, y1: 8, y2: 8, stroke: color, "stroke-width": width, "stroke-dasharray": dash });
    const drawn = svg("svg", { width: 34, height: 16, "aria-hidden": "true" }, line, marker(method, 17, 8));
    return html("span", {}, drawn, ` ${method}`);
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
