"use strict";

/* Tables: sort by a column, filter over all cells, show the rows and columns that are folded away. */
for (const grid of document.querySelectorAll(".grid")) {
  const body = grid.querySelector("tbody");
  const rows = Array.from(body.rows);
  const tools = grid.querySelector(".tools");
  const input = grid.querySelector("input");
  const count = grid.querySelector("output");
  const all = grid.querySelector("button.all");
  const columns = grid.querySelector("button.columns");
  const first = "visible" in grid.dataset ? Number(grid.dataset.visible) : rows.length;
  const texts = rows.map((row) => Array.from(row.cells, (cell) => cell.textContent).join("\n").toLowerCase());
  let order = rows.map((_, index) => index);
  let folded = first < rows.length;

  const show = () => {
    const wanted = input.value.trim().toLowerCase();
    const found = order.filter((index) => texts[index].includes(wanted));
    const shown = new Set(folded ? found.slice(0, first) : found);
    rows.forEach((row, index) => { row.hidden = !shown.has(index); });
    const matching = wanted ? ` of ${found.length} matching` : "";
    count.textContent = `${shown.size}${matching} of ${rows.length} rows shown`;
    if (all) {
      all.hidden = first >= rows.length;
      all.textContent = folded ? `Show all ${rows.length} rows` : `Show the first ${first} rows`;
    }
  };

  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.textContent;
    if (text === "") return null;
    if (!cell.classList.contains("n")) return text;
    const value = parseFloat(cell.title || text);
    return Number.isNaN(value) ? null : value;
  };

  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number"
      ? a - b
      : String(a).localeCompare(String(b), "en", { numeric: true });

  const heads = Array.from(grid.querySelectorAll("thead th"));
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const keys = rows.map((row) => key(row, column));
      order.sort((a, b) => {
        if (keys[a] === null || keys[b] === null) return (keys[a] === null) - (keys[b] === null) || a - b;
        return (up ? 1 : -1) * compare(keys[a], keys[b]) || a - b;
      });
      body.append(...order.map((index) => rows[index]));
      show();
    });
  });

  input.addEventListener("input", show);
  if (all) all.addEventListener("click", () => { folded = !folded; show(); });
  if (columns) {
    columns.addEventListener("click", () => {
      const brief = grid.classList.toggle("brief");
      columns.setAttribute("aria-pressed", String(!brief));
    });
  }
  tools.hidden = false;
  show();
}

/* The command: copied where the browser allows it, selected where it does not. */
for (const button of document.querySelectorAll("button.copy")) {
  const code = document.getElementById(button.dataset.from);
  const said = button.parentElement.querySelector("output");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      said.textContent = "Copied.";
    } catch {
      window.getSelection().selectAllChildren(code);
      said.textContent = "Selected; copy it with the keyboard.";
    }
  });
}

/* Light or dark: as the system has it until the button is pressed. */
{
  const button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const name = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    name();
  });
  system.addEventListener("change", name);
  button.setAttribute("aria-label", "Change between light and dark");
  button.hidden = false;
  name();
}

/* Charts: drawn where plotly is on the page; on paper as wide as paper. */
if (window.Plotly) {
  const touch = window.matchMedia("(pointer: coarse)").matches;
  const plots = Array.from(document.querySelectorAll(".plot"));
  for (const plot of plots) {
    const figure = JSON.parse(document.getElementById(plot.dataset.figure).textContent);
    plot.replaceChildren();
    figure.layout.dragmode = touch ? false : "zoom";
    if (plot.clientWidth < 480) {
      for (const axis of [figure.layout.xaxis, figure.layout.yaxis]) axis.labelalias = figure.layout.meta;
    }
    window.Plotly.newPlot(plot, figure.data, figure.layout, { displayModeBar: false, responsive: true, showTips: false });
  }
  window.addEventListener("beforeprint", () => {
    for (const plot of plots) {
      window.Plotly.relayout(plot, { width: 560, height: plot.dataset.kind === "lines" ? 440 : 560 });
    }
  });
  window.addEventListener("afterprint", () => {
    for (const plot of plots) window.Plotly.relayout(plot, { width: null, height: null, autosize: true });
  });
}

/* What is folded is on paper too. */
window.addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details:not([open])")) {
    part.open = true;
    part.dataset.printed = "";
  }
});
window.addEventListener("afterprint", () => {
  for (const part of document.querySelectorAll("details[data-printed]")) {
    part.open = false;
    delete part.dataset.printed;
  }
});
