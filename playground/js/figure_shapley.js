// The Shapley value of every block: its fair share of what the whole adapter adds to the base model.

import { chart, spread, svg, ticks } from "./chart.js";
import { addFigure } from "./frame.js";
import { addBars } from "./marks.js";

/** @param {HTMLElement} element @param {object} numbers what figures.json has @param {object} store */
export function addShapley(element, { shapley, claims, methods, blocks, seeds }, store) {
  const numbered = Array.from({ length: blocks }, (_, block) => block);
  const redraw = addFigure(element, {
    title: "What each block is worth",
    lead: "A block's Shapley value is what it adds to the accuracy, on average over all orders in which blocks can be opened.",
    note: `Bars: mean over ${seeds} seeds; whiskers: ±1 standard deviation. Exact values over all ${2 ** blocks} choices of ` +
      `blocks, on ${shapley.examples} test images. Point at a bar, and its block is marked in all figures; click it, and it ` +
      "stays marked. The buttons above the figures do the same, also by keyboard.",
    claim: claims.shapley,
    terms: "Coefficient of variation: the standard deviation of the eight values, divided by their mean.",
    table: {
      caption: "Shapley value of every block, in points of test accuracy: mean ± standard deviation over seeds",
      head: ["block", ...methods],
      rows: numbered.map((block) => [String(block), ...methods.map((method) => spread(shapley.values[method][block]))]),
    },
    draw: (width) => draw(width, store.get().marked),
    say: () => sentence(store.get().marked),
  }, store);
  store.subscribe(["marked"], redraw);

  function draw(width, marked) {
    const names = ticks(0, blocks - 1, 1).map((tick) => ({ ...tick, marked: tick.at === marked }));
    const plot = chart({
      width, height: 300, title: "Shapley value of every block, LoRA and CoTo", description: sentence(marked),
      x: { low: -0.5, high: blocks - 0.5, ticks: names, label: "block (0 is next to the image)" },
      y: { low: 0, high: 17, ticks: ticks(0, 15, 5), label: `points of accuracy, ${shapley.examples} images` },
    });
    const groups = numbered.map((block) => ({ name: String(block), scores: scoresOf(block) }));
    if (marked !== null) plot.behind.append(column(plot, marked, { class: "chart-marked" }));
    addBars(plot, groups, 0);
    for (const block of numbered) {
      const touched = column(plot, block, { class: "chart-touch", "data-block": block });
      touched.append(svg("title", {}, methods.map((method) => scoresOf(block)[method].words).join("; ")));
      plot.touch.append(touched);
    }
    return plot.root;
  }

  function scoresOf(block) {
    return Object.fromEntries(methods.map((method) => {
      const score = shapley.values[method][block];
      return [method, { ...score, words: `${method}, block ${block}: ${spread(score)} points` }];
    }));
  }

  function sentence(marked) {
    const uneven = methods.map((method) => `${method} ${spread(shapley.spread[method], 2)}`).join(", ");
    if (marked === null) return `How unevenly the values are spread (coefficient of variation): ${uneven}.`;
    const own = methods.map((method) => `${method} ${spread(shapley.values[method][marked])}`).join(", ");
    return `Block ${marked} is worth, in points of accuracy: ${own}.`;
  }
}

function column(plot, block, attributes) {
  const [left, right] = [plot.x(block - 0.5), plot.x(block + 0.5)];
  return svg("rect", { x: left, width: right - left, y: plot.top, height: plot.bottom - plot.top + 24, ...attributes });
}
