// anywidget gives a model two seconds to initialize. If a page takes longer, as on a slow or busy machine, its model throws all
// later messages of the kernel away: the widget is shown and never changes again. Code of the model that uses this file comes
// after it, in one text.

const MAY_TAKE = 10000; // ms that a late model waits for its present state; a kernel that runs a long cell answers after it

/** Let a model that initialized too late hear the kernel again, and ask for its present state. Call it in `initialize`.
 * @param {string} part a part of the state, by whose arrival the state has arrived
 * @returns {Promise<void>} fulfilled when the model is up to date, or has waited too long */
async function catchUp(model, part) {
  let own; // ipywidgets' model itself, which a change tells; `model` is a view of it
  const told = (changed) => (own = changed);
  model.on("change:_caught_up", told);
  model.set("_caught_up", true);
  model.off("change:_caught_up", told);

  const nothing = { content: { data: { method: "none" } } };
  const heard = await own._handle_comm_msg(nothing).then(() => true, () => false); // it fails where anywidget has given up
  if (heard || !own.comm) return;
  const ofBase = Object.getPrototypeOf(Object.getPrototypeOf(own))._handle_comm_msg; // anywidget's own method waits for ever
  own.comm.on_msg((message) => ofBase.call(own, message));
  await new Promise((resolve) => {
    model.on(`change:${part}`, resolve);
    setTimeout(resolve, MAY_TAKE);
    model.send("late");
  });
}
