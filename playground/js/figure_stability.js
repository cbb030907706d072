// Accuracy against the number of open blocks: over all 256 choices, for the marked block, and for the page's own switches.

import { chart, marker, shown, spread, svg, ticks } from "./chart.js";
import { openAt, placeOf, profile, scoreAt } from "./coalitions.js";
import { addFigure } from "./frame.js";
import { addLine, setNumbers } from "./marks.js";

/** @param {HTMLElement} element @param {object} numbers what figures.json has @param {object} store */
export function addStability(element, { stability, claims, methods, blocks, seeds, base, pruning }, store) {
  const whole = Object.fromEntries(methods.map((method) => [method, profile(stability, method)]));
  const redraw = addFigure(element, {
    title: "Blocks switched off",
    lead: "How much is left when only some blocks have their adapter? Every choice of open blocks was scored.",
    note: "Lines: mean over all choices with so many open blocks. Bands: from the worst choice to the best. Both are means " +
      `over ${seeds} seeds, on every fourth test image. Of these ${stability.examples} images the base model, with no block ` +
      `open, reads ${shown(whole[methods[0]][0].mean)}%; of all ${pruning.examples} it reads ${shown(base)}%. The large ` +
      "markers are the switches above, as they are now.",
    claim: claims.stability,
    terms: "A mask is a choice of open blocks. A training is dropout stable if little is lost when blocks are dropped.",
    table: {
      caption: "Test accuracy in % by number of open blocks: mean ± standard deviation over seeds (worst to best choice)",
      head: ["open blocks", ...methods],
      rows: whole[methods[0]].map(({ open }, i) => [String(open), ...methods.map((method) => cell(whole[method][i]))]),
    },
    draw: (width) => draw(width, store.get()),
    say: () => sentence(store.get()),
  }, store);
  store.subscribe(["marked", "open"], redraw);

  function draw(width, { marked, open }) {
    const axis = { low: 40, high: 100, ticks: ticks(40, 100, 10), label: `test accuracy, % of ${stability.examples} images` };
    const plot = chart({
      width, height: 330, title: "Test accuracy against the number of open blocks, LoRA and CoTo",
      description: sentence({ marked, open }),
      x: { low: -0.3, high: blocks + 0.3, ticks: ticks(0, blocks, 1), label: "number of open blocks" }, y: axis,
    });
    for (const method of methods) {
      addLine(plot, method, whole[method].map(({ open: x, mean, worst, best }) => {
        const words = `${method}, ${x} open: ${shown(mean)}%, from ${shown(worst)} to ${shown(best)}%`;
        return { x, mean, low: worst, high: best, words };
      }));
      if (marked !== null) addMarked(plot, method, marked);
      addSwitches(plot, method, open);
    }
    return plot.root;
  }

  function addMarked(plot, method, block) {
    for (const [state, bit, dash] of [["open", 1, "1 4"], ["shut", 0, "1 0"]]) {
      const points = profile(stability, method, (place) => ((place >> block) & 1) === bit);
      const name = `${method}, block ${block} ${state}`;
      addLine(plot, method, points.map(({ open, mean }) => ({ x: open, mean })), { thin: true, name, dash });
    }
  }

  function addSwitches(plot, method, open) {
    const place = placeOf(open);
    const { mean, sd } = scoreAt(stability, method, place);
    const mark = marker(method, plot.x(openAt(place)), plot.y(mean), 8);
    mark.classList.add("chart-here");
    mark.append(svg("title", {}, `${method} with these switches: ${spread({ mean, sd })}%`));
    plot.layer.append(setNumbers(mark, { here: method, mean, sd }));
  }

  function sentence({ marked, open }) {
    const place = placeOf(open);
    const here = methods.map((method) => `${method} ${spread(scoreAt(stability, method, place))}%`).join(", ");
    const words = `With the switches as they are (${openAt(place)} of ${blocks} blocks open): ${here}.`;
    return marked === null ? words : `${words} ${ofBlock(marked)}`;
  }

  function ofBlock(block) {
    const half = blocks / 2;
    const parts = methods.map((method) => {
      const [on, off] = [1, 0].map((bit) => profile(stability, method, (place) => ((place >> block) & 1) === bit));
      const at = (points) => points.find(({ open }) => open === half).mean;
      return `${method} ${shown(at(on))}% if block ${block} is one of them, ${shown(at(off))}% if not`;
    });
    return `Thin lines, dotted with block ${block} open and solid with it shut; at ${half} open blocks: ${parts.join("; ")}.`;
  }
}

const cell = ({ mean, sd, worst, best }) => `${spread({ mean, sd })} (${shown(worst)} to ${shown(best)})`;
