// anywidget gives a model two seconds to initialize. If a page takes longer, as on a slow or busy machine, its model throws all
// later messages of the kernel away: the widget is shown and never changes again. The code that calls `catchUp` comes after this
// file, in one text.

/** If the model initialized too late, let it hear the kernel again, and ask for its present state. Call it in `initialize`,
 * which must not wait for it.
 * @param {string} part a part of the state, by which the answer is known
 * @returns {Promise<boolean>} false if the model was in time; true once the answer has arrived, however long that takes */
async function catchUp(model, part) {
  const own = itself(model);
  const nothing = { content: { data: { method: "none" } } };
  const told = Promise.resolve().then(() => own._handle_comm_msg(nothing));
  const heard = await told.then(() => true, () => false); // anywidget's own method fails if the model is late
  if (heard || !own.comm) return false;
  const ofBase = Object.getPrototypeOf(Object.getPrototypeOf(own))._handle_comm_msg; // that of ipywidgets
  return new Promise((arrived) => {
    own.comm.on_msg((message) => {
      const done = Promise.resolve(ofBase.call(own, message));
      if (part in (message.content.data.state ?? {})) done.then(() => arrived(true));
      return done;
    });
    model.send("late");
  });
}

/** The model of ipywidgets, of which anywidget shows a part: a change tells it. */
function itself(model) {
  let own;
  const told = (changed) => (own = changed);
  model.on("change:_itself", told);
  model.set("_itself", true);
  model.off("change:_itself", told);
  own.unset("_itself");
  return own;
}
