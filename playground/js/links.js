// Links from the page to the notebook of the same matter: on Colab, and in one's own JupyterLab.

import { copyText } from "./clipboard.js";

const NOTEBOOKS = {
  "00_tour": "The tour: LoRA against CoTo",
  "01_lora_and_gates": "LoRA and its gates, by hand",
  "02_schedules": "Schedules: who trains, and when",
  "03_training_live": "Two trainings, live",
  "04_interpolation": "Between two trainings",
  "05_pruning_and_stability": "Pruning and stability",
  "06_merging_tasks": "Merging the adapters of six tasks",
  "07_shapley": "What each block contributes",
  "08_variants": "Seventeen variants of LoRA",
  "09_cost": "What CoTo saves",
  "10_a_language_model": "The same on a language model",
  "11_your_model_on_a_gpu": "Your model, on a GPU",
};

function colab(repository, name) {
  const place = repository.replace("https://github.com/", "https://colab.research.google.com/github/");
  return `<a href="${place}/blob/main/notebooks/${name}.ipynb">Open in Colab</a>`;
}

/** The lines for a terminal that open JupyterLab, folded. @param {string} repository @param {string} lab the last line */
function commands(repository, lab) {
  const folder = repository.split("/").at(-1);
  return `<details><summary>In your own JupyterLab</summary>
    <p>You need git, make and Python 3.11 to 3.13. Type these lines into a terminal. The first time, they install the lab
    into the folder; <a href="${repository}/blob/main/README.md#two-commands">the README</a> says how it goes without make.</p>
    <pre tabindex="0"><code>git clone ${repository}\ncd ${folder}\n${lab}</code></pre>
    <button type="button" class="copy">Copy the lines</button> <span class="copied" aria-live="polite"></span></details>`;
}

function copy({ target }) {
  if (!target.matches(".copy")) return;
  const [lines, said] = ["code", ".copied"].map((name) => target.parentElement.querySelector(name));
  copyText(lines.textContent, said, () => {
    getSelection().selectAllChildren(lines);
    return "The lines are selected: copy them with the keyboard.";
  });
}

/** Fill the places that name a notebook, and the list of all notebooks.
 * @param {Document} page its meta "repository" is the address of the project's repository */
export function addLinks(page) {
  const repository = page.querySelector("meta[name=repository]").content;
  for (const place of page.querySelectorAll("[data-notebook]")) {
    const { notebook } = place.dataset;
    const box = page.createElement("div");
    box.className = "open-in";
    box.innerHTML = `<span>${NOTEBOOKS[notebook]}, as a notebook:</span> ${colab(repository, notebook)}
      ${commands(repository, `make lab NOTEBOOK=${notebook}`)}`;
    place.replaceWith(box);
  }
  for (const link of page.querySelectorAll("[data-place]")) link.href = repository + link.dataset.place;
  const list = page.querySelector("[data-part=notebooks]");
  list.innerHTML = Object.entries(NOTEBOOKS).map(([name, title]) =>
    `<li><span class="number">${name.slice(0, 2)}</span> <span>${title}</span> ${colab(repository, name)}</li>`).join("");
  const together = `<div class="open-in"><span>All twelve:</span> ${commands(repository, "make lab")}</div>`;
  list.insertAdjacentHTML("afterend", together);
  page.addEventListener("click", copy);
}
