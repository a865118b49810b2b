// Tables that can be sorted by a column, and the choice of the IoU threshold.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const ascending = header.ariaSort === "none" ? column === 0 : header.ariaSort === "descending";
      headers.forEach((each) => (each.ariaSort = "none"));
      header.ariaSort = ascending ? "ascending" : "descending";
      sortRows(table.tBodies[0], column, ascending);
    });
  });
}

function sortRows(body, column, ascending) {
  const keyOf = (row) => row.cells[column].dataset.value;
  const compare = column === 0
    ? (a, b) => keyOf(a).localeCompare(keyOf(b))
    : (a, b) => Number(keyOf(a)) - Number(keyOf(b));
  const rows = [...body.rows].sort(ascending ? compare : (a, b) => compare(b, a));
  body.append(...rows);
}

const threshold = document.getElementById("threshold");
if (threshold) {
  const tables = [...document.getElementById("by-class").children];
  threshold.addEventListener("change", () => {
    tables.forEach((table, index) => (table.hidden = index !== Number(threshold.value)));
  });
  document.getElementById("threshold-choice").hidden = false;
}
