// Accuracy when only some of the adapters are kept, over a picture of what each pattern keeps.

import { chart, interval, shown, spread, svg, ticks } from "./chart.js";
import { addFigure } from "./frame.js";
import { addBars, addLevel } from "./marks.js";

const CELL = 11; // pixels: the height of a block in the picture of a pattern
const LINES = 2; // of a pattern's name

/** @param {HTMLElement} element @param {object} numbers what figures.json has @param {object} store */
export function addPruning(element, { pruning, claims, methods, blocks, seeds, base }, store) {
  const { patterns, examples } = pruning;
  const everyOther = patterns.find(({ name }) => name === "every other");
  const redraw = addFigure(element, {
    title: "Adapters taken away",
    lead: "Only some adapters are kept after training, and nothing is trained again. What is left of the accuracy?",
    ask: {
      id: "pruning-guess",
      question: `The base model reads ${shown(base)}% of the ${examples} test images. And with every other block’s adapter?`,
      truth: Object.fromEntries(methods.map((method) => [method, everyOther.accuracy[method].mean / 100])),
    },
    note: `Bars: mean over ${seeds} seeds, from the accuracy of the base model upwards; whiskers: ±1 standard deviation. ` +
      `${examples} test images. Below each pair of bars: the ${blocks} blocks, block 0 lowest; what is kept is filled ` +
      "(from left: query, key, value). The low third of the blocks is next to the image. “Only query” keeps, in each block, " +
      "one of the three matrices of the attention that the adapter changes. Point at a block to mark it, click it to keep " +
      "the mark; patterns without this block turn pale.",
    claim: claims.pruning,
    table: {
      caption: "Test accuracy in %: mean ± standard deviation over seeds; difference with its 95% interval",
      head: ["what is kept", ...methods, "CoTo − LoRA"],
      rows: patterns.map(({ name, accuracy, difference }) => (
        [named(name), ...methods.map((method) => spread(accuracy[method])), interval(difference)]
      )),
    },
    draw: (width) => draw(width, store.get().marked),
    say: () => sentence(store.get().marked),
  }, store);
  store.subscribe(["marked"], redraw);

  function draw(width, marked) {
    const picture = blocks * CELL + 8;
    const plot = chart({
      width, height: 330 + picture, bottom: 12 + picture + 15 * LINES,
      title: "Test accuracy by what is kept, LoRA and CoTo", description: sentence(marked),
      x: { low: -0.5, high: patterns.length - 0.5, ticks: [], label: "" },
      y: { low: 41, high: 100, ticks: ticks(50, 100, 10), label: `test accuracy, % of ${examples} images` },
    });
    addBars(plot, patterns.map((pattern) => ({
      name: pattern.name, pale: marked !== null && !pattern.blocks.includes(marked), scores: scoresOf(pattern),
    })), base);
    addLevel(plot, base, `base model ${shown(base)}%`);
    if (marked !== null) plot.behind.append(row(plot, marked, { class: "chart-marked" }));
    patterns.forEach((pattern, i) => addPicture(plot, pattern, i));
    for (let block = 0; block < blocks; block++) {
      const touched = row(plot, block, { class: "chart-touch", "data-block": block });
      touched.append(svg("title", {}, `block ${block}`));
      plot.touch.append(touched);
    }
    return plot.root;
  }

  const top = (plot, block) => plot.bottom + 8 + (blocks - 1 - block) * CELL;

  function row(plot, block, attributes) {
    const place = { x: plot.left - 20, width: plot.right - plot.left + 20, y: top(plot, block), height: CELL };
    return svg("rect", { ...place, ...attributes });
  }

  function addPicture(plot, { name, blocks: kept, kinds }, i) {
    const width = Math.min(24, 0.7 * (plot.x(1) - plot.x(0)));
    const left = plot.x(i) - width / 2;
    const narrow = plot.x(1) - plot.x(0) < 36 ? " narrow" : "";
    const group = svg("g", { class: `chart-pattern${narrow}`, "data-pattern": name, "aria-hidden": "true" });
    for (let block = 0; block < blocks; block++) {
      ["q_proj", "k_proj", "v_proj"].forEach((kind, k) => group.append(svg("rect", {
        x: left + (k * width) / 3 + 0.5, width: width / 3 - 1, y: top(plot, block) + 1, height: CELL - 2,
        class: kept.includes(block) && kinds.includes(kind) ? "kept" : "dropped",
      })));
    }
    named(name).replace("all adapters", "all").split(" ").forEach((word, line) => group.append(svg(
      "text", { x: plot.x(i), y: plot.bottom + 22 + blocks * CELL + 14 * line, "text-anchor": "middle" }, word,
    )));
    plot.layer.append(group);
  }

  function scoresOf({ name, accuracy }) {
    return Object.fromEntries(methods.map((method) => (
      [method, { ...accuracy[method], words: `${method}, ${named(name)}: ${spread(accuracy[method])}%` }]
    )));
  }

  function sentence(marked) {
    const words = methods.map((method) => `${method} ${spread(everyOther.accuracy[method])}%`).join(", ");
    const whole = `With every other block’s adapter kept: ${words}.`;
    if (marked === null) return whole;
    const keeping = patterns.filter((pattern) => pattern.blocks.includes(marked) && pattern.blocks.length < blocks);
    const kept = keeping.map(({ name }) => `“${named(name)}”`).join(" and ");
    return `${whole} Of the patterns of whole blocks, ${kept} ${keeping.length > 1 ? "keep" : "keeps"} block ${marked}.`;
  }
}

/** A pattern's name in the figure. */
const named = (name) => ({ "only q_proj": "only query", "only k_proj": "only key", "only v_proj": "only value" })[name] ?? name;
