// The page's side of a LiveFigure. It uses plotly's own code, which is loaded once for all figures of the page.
//
// A browser needs about a second to load plotly, and anywidget gives a figure two seconds to `initialize`. When a page is
// reloaded, all its figures initialize at once. So they do not wait for plotly, and plotly is not loaded before all of them have
// initialized. Views are made later, and they do wait. A figure that is late all the same catches up (late.js).

const LATEST = 3000; // ms after which plotly is loaded, even if no view asks for it

const MESSAGES = [
  "addTraces", "deleteTraces", "moveTraces", "restyle", "relayout", "update", "animate", "removeLayoutProps", "removeTraceProps",
].map((name) => `_py2js_${name}`);

const imported = (globalThis.cotoLabPlotly ??= new Map()); // source -> module; two kernels may have two versions

async function importPlotly(model) {
  const library = await model.widget_manager.get_model(model.get("_library").slice("IPY_MODEL_".length));
  const source = library.get("source");
  if (!imported.has(source)) {
    imported.set(source, import(URL.createObjectURL(new Blob([source], { type: "text/javascript" }))));
  }
  return imported.get(source);
}

/** Plotly's figure of a model, and its views. */
class Drawn {
  #plotly;
  #model;
  #figure;
  #listeners = []; // plotly never takes one back
  #views = new Map(); // element -> plotly's function that ends its view

  constructor(plotly, model) {
    const on = (event, listener) => {
      this.#listeners.push([event, listener]);
      model.on(event, listener);
    };
    [this.#plotly, this.#model] = [plotly, { ...model, on }];
    this.#begin();
  }

  #begin() {
    this.#figure = this.#plotly.default();
    this.#figure.initialize({ model: this.#model });
  }

  show(el) {
    this.#views.set(el, this.#figure.render({ model: this.#model, el }));
  }

  end(el) {
    this.#views.get(el)?.();
    this.#views.delete(el);
  }

  /** Draw the model's present state; plotly's views do not follow a state that was sent whole. */
  again() {
    const elements = [...this.#views.keys()];
    elements.forEach((el) => this.end(el));
    this.#listeners.splice(0).forEach(([event, listener]) => this.#model.off(event, listener));
    this.#begin();
    elements.forEach((el) => this.show(el));
  }
}

export default () => {
  let load, drawn;

  return {
    initialize({ model }) {
      const early = []; // messages of the kernel that arrive before plotly is loaded
      const listeners = MESSAGES.map((name) => [
        `change:${name}`,
        () => model.get(name) && early.push([name, model.get(name)]),
      ]);
      listeners.push(["change:_widget_data", () => early.splice(0)]); // the whole figure was sent
      listeners.forEach(([event, listener]) => model.on(event, listener));
      const called = new Promise((resolve) => (load = resolve));
      setTimeout(load, LATEST);
      drawn = called.then(() => importPlotly(model)).then((plotly) => {
        listeners.forEach(([event, listener]) => model.off(event, listener));
        const drawn = new Drawn(plotly, model);
        for (const [name, message] of early) {
          model.set(name, message);
          model.set(name, null);
        }
        return drawn;
      });
      catchUp(model, "_widget_data").then(async (late) => late && (await drawn).again());
    },

    async render({ model, el }) {
      load();
      const shown = await drawn;
      shown.show(el);
      return () => shown.end(el);
    },
  };
};
