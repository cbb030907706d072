// Accuracy on the straight line between two seeds, by fusion of the factors.

import { chart, interval, shown, spread, svg, ticks } from "./chart.js";
import { addFigure, verdictOf } from "./frame.js";
import { addLine, setNumbers } from "./marks.js";

const NAMES = ["alone", "2:1", "1:1", "1:2", "alone"]; // the five places on the line

/** @param {HTMLElement} element @param {object} numbers what figures.json has @param {object} store */
export function addInterpolation(element, { interpolation, claims, methods, seeds }, store) {
  const { accuracy, shares, difference, examples } = interpolation;
  const middle = NAMES.indexOf("1:1");
  const redraw = addFigure(element, {
    title: "Between two seeds",
    lead: "Two trainings of one method, with different seeds, end at different weights. How good are the mixtures between them?",
    note: `Lines: mean test accuracy at five places; bands: ±1 standard deviation. At the ends stand the ${seeds} seeds alone, ` +
      `between them all ten pairs, fused; a pair has no order, so both halves are the same. ${examples} test images. The axis ` +
      "does not begin at 0.",
    verdict: verdictOf(claims.interpolation),
    table: {
      caption: "Test accuracy in %: mean ± standard deviation; difference with its 95% interval over seeds",
      head: ["mixture", ...methods, "CoTo − LoRA"],
      rows: NAMES.slice(0, middle + 1).map((name, i) => (
        [name, ...methods.map((method) => spread(accuracy[method][i])), interval(difference[i])]
      )),
    },
    draw: (width) => draw(width, store.get()),
    say: () => sentence(store.get()),
  });
  store.subscribe(["t"], redraw);

  function draw(width, { t }) {
    const plot = chart({
      width, height: 330, title: "Test accuracy on the line between two seeds, LoRA and CoTo", description: sentence({ t }),
      x: { low: 0, high: 1, ticks: shares.map((at, i) => ({ at, text: NAMES[i] })), label: "share of the second seed: 0 to 1" },
      y: { low: 82, high: 96, ticks: ticks(82, 96, 2), label: "test accuracy, %" },
    });
    const here = { x1: plot.x(t), x2: plot.x(t), y1: plot.top, y2: plot.bottom };
    plot.layer.append(setNumbers(svg("line", { class: "chart-place", ...here }, svg("title", {}, place(t))), { t }));
    for (const method of methods) {
      addLine(plot, method, accuracy[method].map(({ mean, sd }, i) => (
        { x: shares[i], mean, low: mean - sd, high: mean + sd, words: `${method}, ${NAMES[i]}: ${spread({ mean, sd })} %` }
      )));
    }
    return plot.root;
  }

  function sentence({ t }) {
    const dips = methods.map((method) => {
      const [alone, mixed] = [accuracy[method][0].mean, accuracy[method][middle].mean];
      return `${method} falls from ${shown(alone)} to ${shown(mixed)} %`;
    });
    return `In the middle, ${dips.join(", ")}. ${place(t)}`;
  }
}

const place = (t) => `The grey upright line is your place on the line between two seeds, ${shown(t, 2)}.`;
