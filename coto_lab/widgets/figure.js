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

export default () => {
  let load, figure;

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
      const upToDate = catchUp(model, "_widget_data");
      figure = called.then(() => importPlotly(model)).then(async (plotly) => {
        await upToDate;
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
