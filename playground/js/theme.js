// Light or dark, or what the system says.

const KEY = "coto-lab-theme";
const WORDS = { auto: "auto", light: "light", dark: "dark" };

function kept() {
  try {
    const value = localStorage.getItem(KEY);
    return Object.hasOwn(WORDS, value) ? value : "auto";
  } catch {
    return "auto"; // storage is switched off
  }
}

/** @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store */
export function mount(element, store) {
  const options = Object.entries(WORDS).map(([value, words]) => `<option value="${value}">${words}</option>`);
  element.innerHTML = `<label class="theme"><span class="unseen">Colours</span><select>${options.join("")}</select></label>`;
  const select = element.querySelector("select");
  function show({ theme }) {
    select.value = theme;
    document.documentElement.dataset.theme = theme;
  }
  select.addEventListener("change", () => {
    store.set({ theme: select.value });
    try {
      localStorage.setItem(KEY, select.value);
    } catch {
      // It holds until the page is closed.
    }
  });
  store.subscribe(["theme"], show);
  store.set({ theme: kept() });
  show(store.get());
}
