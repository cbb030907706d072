// The page's side of a LiveFigure: plotly's own, which is loaded once for all figures of the page.
//
// To load plotly takes a browser about a second. anywidget gives a figure two seconds to `initialize`; one that takes longer gets
// no message from then on. When a page is reloaded all its figures initialize at once: they must not wait for plotly, and
// plotly must not be loaded before all have done so. Views, which are made later, wait.

const LATEST = 3000; // ms after which plotly is loaded, also where no view asks for it

const MESSAGES = [
  "addTraces", "deleteTraces", "moveTraces", "restyle", "relayout", "update", "animate", "removeLayoutProps", "removeTraceProps",
].map((name) => `_py2js_${name}`);

const imported = (globalThis.cotoLabPlotly ??= new Map()); // source -> module; two kernels may bring two versions

async function importPlotly(model) {
  const library = await model.widget_manager.get_model(model.get("_library").slice("IPY_MODEL_".length));
  const source = library.get("source");
  if (!imported.has(source)) {
    imported.set(source, import(URL.createObjectURL(new Blob([source], { type: "text/javascript" }))));
  }
  return imported.get(source);
}

export default () => {
  let load, figure;

  return {
    initialize({ model }) {
      const early = []; // what the kernel says before plotly can hear it
      const listeners = MESSAGES.map((name) => [
        `change:${name}`,
        () => model.get(name) && early.push([name, model.get(name)]),
      ]);
      listeners.push(["change:_widget_data", () => early.splice(0)]); // the whole figure was sent
      listeners.forEach(([event, listener]) => model.on(event, listener));
      const called = new Promise((resolve) => (load = resolve));
      setTimeout(load, LATEST);
      figure = called.then(() => importPlotly(model)).then((plotly) => {
        listeners.forEach(([event, listener]) => model.off(event, listener));
        const figure = plotly.default();
        figure.initialize({ model });
        for (const [name, message] of early) {
          model.set(name, message);
          model.set(name, null);
        }
        return figure;
      });
    },

    async render({ model, el }) {
      load();
      return (await figure).render({ model, el });
    },
  };
};
