// Links from the page to the notebook of the same matter: on Colab, and in one's own JupyterLab.

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

function command(repository, name) {
  const folder = repository.split("/").at(-1);
  return `<details><summary>Open in JupyterLab</summary>
    <pre tabindex="0"><code>git clone ${repository}\ncd ${folder}
make lab LAB_ARGS=--LabApp.default_url=/lab/tree/notebooks/${name}.ipynb</code></pre></details>`;
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
      ${command(repository, notebook)}`;
    place.replaceWith(box);
  }
  for (const link of page.querySelectorAll("[data-place]")) link.href = repository + link.dataset.place;
  page.querySelector("[data-part=notebooks]").innerHTML = Object.entries(NOTEBOOKS).map(([name, title]) =>
    `<li><span class="number">${name.slice(0, 2)}</span> <span>${title}</span> ${colab(repository, name)}</li>`).join("");
}
