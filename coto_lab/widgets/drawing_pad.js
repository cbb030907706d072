// The notebook's side of the pad: drawings go to the kernel, and images of the kernel to the pad. The kernel sends this code
// joined to that of late.js, which has `catchUp`, and of pad.js, which has `mountPad`.

export default {
  initialize({ model }) {
    void catchUp(model, "counts");
  },

  render({ model, el }) {
    el.classList.add("coto-drawing");
    let own = ""; // what this view sent; when it comes back, the drawing stays as it is

    const pad = mountPad(el, (counts) => {
      const sent = Array.from(counts ?? []);
      own = sent.join();
      model.set("counts", sent);
      model.save_changes();
    });
    const follow = () => {
      const counts = model.get("counts");
      if (counts.join() === own) return;
      own = counts.join();
      pad.show(counts.length ? Uint8Array.from(counts) : null);
    };
    model.on("change:counts", follow);
    follow();
    return () => model.off("change:counts", follow);
  },
};
