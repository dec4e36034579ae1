"use strict";
// Values sort as numbers and come first; words sort with their digits as numbers; what is empty stays last.
function key(row, column) {
  const cell = row.cells[column];
  const value = cell.dataset.value;
  return value === undefined ? { text: cell.textContent.trim() } : { value: Number(value) };
}

function compare(a, b, sign) {
  if (a.value !== undefined && b.value !== undefined) return sign * (a.value - b.value);
  if (a.value !== undefined) return -1;
  if (b.value !== undefined) return 1;
  const empty = (text) => text === "" || text.startsWith("-");
  if (empty(a.text) !== empty(b.text)) return empty(a.text) ? 1 : -1;
  return sign * a.text.localeCompare(b.text, undefined, { numeric: true });
}

for (const head of document.querySelectorAll("th")) {
  head.querySelector("button").addEventListener("click", () => {
    const table = head.closest("table");
    // The best number is what a reader looks for: numbers begin with the largest.
    const first = head.classList.contains("number") ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    for (const each of table.querySelectorAll("th")) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const body = table.tBodies[0];
    const keyed = Array.from(body.rows, (row) => [key(row, head.cellIndex), row]);
    keyed.sort((a, b) => compare(a[0], b[0], order === "ascending" ? 1 : -1));
    body.append(...keyed.map((pair) => pair[1]));
  });
}

for (const link of document.querySelectorAll("a[data-runs]")) {
  link.addEventListener("click", () => {
    for (const row of document.querySelectorAll("tr.marked")) row.classList.remove("marked");
    for (const run of link.dataset.runs.split(" ")) {
      const row = document.getElementById("run-" + run);
      if (row) row.classList.add("marked");
    }
  });
}
