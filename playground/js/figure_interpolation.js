// Accuracy on the straight line between two seeds, by fusion of the factors.

import { chart, interval, shown, spread, svg, ticks } from "./chart.js";
import { addFigure } from "./frame.js";
import { addLine, setNumbers } from "./marks.js";

const NAMES = ["alone", "2:1", "1:1", "1:2", "alone"]; // the five places on the line

/** @param {HTMLElement} element @param {object} numbers what figures.json has @param {object} store */
export function addInterpolation(element, { interpolation, claims, methods, seeds }, store) {
  const { accuracy, shares, difference, examples, shut } = interpolation;
  const middle = NAMES.indexOf("1:1");
  const redraw = addFigure(element, {
    title: "Between two seeds",
    lead: "Two trainings of one method, with different seeds, end at different weights. Fused 1:1, each weight of the " +
      "adapter is the mean of the two; 2:1 takes two parts of the one and one of the other. How good are such mixtures?",
    ask: {
      id: "interpolation-guess",
      question: `Alone, ${methods.map((method) => `${method} reads ${shown(accuracy[method][0].mean)}%`).join(" and ")} ` +
        `of the ${examples} test images. And two seeds fused 1:1?`,
      truth: Object.fromEntries(methods.map((method) => [method, accuracy[method][middle].mean / 100])),
    },
    note: "Lines: mean test accuracy at five places; bands: ±1 standard deviation. At the ends stand the " +
      `${seeds} seeds alone, between them all ten pairs, fused; a pair has no order, so both halves are the same. ` +
      `${examples} test images. The axis does not begin at 0.`,
    claim: claims.interpolation,
    table: {
      caption: "Test accuracy in %: mean ± standard deviation; difference with its 95% interval over seeds",
      head: ["mixture", ...methods, "CoTo − LoRA"],
      rows: NAMES.slice(0, middle + 1).map((name, i) => (
        [name, ...methods.map((method) => spread(accuracy[method][i])), interval(difference[i])]
      )),
    },
    draw: (width) => draw(width, store.get()),
    say: () => sentence(store.get()),
  }, store);
  store.subscribe(["t", "marked"], redraw);

  function draw(width, { t, marked }) {
    const plot = chart({
      width, height: 330, title: "Test accuracy on the line between two seeds, LoRA and CoTo",
      description: sentence({ t, marked }),
      x: { low: 0, high: 1, ticks: shares.map((at, i) => ({ at, text: NAMES[i] })), label: "share of the second seed: 0 to 1" },
      y: { low: 76, high: 96, ticks: ticks(80, 95, 5), label: `test accuracy, % of ${examples} images` },
    });
    const here = { class: "chart-place", x1: plot.x(t), x2: plot.x(t), y1: plot.top, y2: plot.bottom };
    plot.layer.append(setNumbers(svg("line", here, svg("title", {}, `your place, ${shown(t, 2)}`)), { t }));
    for (const method of methods) {
      addLine(plot, method, accuracy[method].map(({ mean, sd }, i) => (
        { x: shares[i], mean, low: mean - sd, high: mean + sd, words: `${method}, ${NAMES[i]}: ${spread({ mean, sd })}%` }
      )));
      if (marked !== null) {
        const { alone, fused } = shut[method];
        const points = [alone, fused, alone].map((change, i) => (
          { x: i / 2, mean: accuracy[method][i * middle].mean + change[marked] }
        ));
        addLine(plot, method, points, { thin: true, name: `${method}, block ${marked} shut`, dash: "1 4" });
      }
    }
    return plot.root;
  }

  function sentence({ t, marked }) {
    const dips = methods.map((method) => {
      const [alone, mixed] = [accuracy[method][0].mean, accuracy[method][middle].mean];
      return `${method} falls from ${shown(alone)} to ${shown(mixed)}%`;
    });
    const words = `In the middle, ${dips.join(", ")}. The grey upright line is your place, ${shown(t, 2)}.`;
    return marked === null ? words : `${words} ${ofBlock(marked)}`;
  }

  function ofBlock(block) {
    const parts = methods.map((method) => {
      const { alone, fused } = shut[method];
      return `${method} ${shown(alone[block])} points alone and ${shown(fused[block])} fused 1:1`;
    });
    return `Dotted: the lines, moved by the change that shutting block ${block} makes, measured on ${shut.examples} of the ` +
      `images: ${parts.join("; ")}.`;
  }
}
