// Sorting and filtering of tables. Everything can be read without it.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const value = (row, column) => {
    const cell = row.cells[column];
    const key = cell.dataset.sort;
    return key === undefined ? cell.textContent : key === "" ? null : Number(key);
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (!head.textContent || (column && body.rows[0].cells[column].dataset.sort === undefined)) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [value(one, column), value(other, column)];
        if (a === null || b === null) return (a === null) - (b === null);
        const order = typeof a === "number" ? a - b : a.localeCompare(b, "en");
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
  if (table.classList.contains("filterable")) {
    const field = document.createElement("input");
    field.type = "search";
    field.placeholder = "Filter …";
    field.setAttribute("aria-label", "Show only skills that contain");
    field.addEventListener("input", () => {
      const wanted = field.value.trim().toLowerCase();
      for (const row of body.rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    });
    table.parentElement.before(field);
  }
}
