// Sorts and filters the table of candidates.
(() => {
  const table = document.getElementById("candidates");
  if (!table) return;
  const element = (id) => document.getElementById(id);
  const body = table.tBodies[0], rows = [...body.rows], headers = [...table.tHead.rows[0].cells];
  const search = element("searchfilter"), state = element("statefilter"), text = element("textfilter"), count = element("candidatecount");

  // Numbers sort as numbers, other values as text after them, and missing values always last.
  function compare(a, b, descending) {
    if (a === "–" || b === "–") return (a === "–") - (b === "–");
    const x = parseFloat(a), y = parseFloat(b);
    const order = Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) || a.localeCompare(b) : x - y;
    return descending ? -order : order;
  }

  function sortBy(column) {
    const header = headers[column], numeric = header.classList.contains("num");
    const before = header.getAttribute("aria-sort");
    const descending = before ? before === "ascending" : numeric; // scores: the highest first
    for (const other of headers) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    rows.sort((a, b) => compare(a.cells[column].textContent.trim(), b.cells[column].textContent.trim(), descending));
    body.append(...rows);
  }

  function filter() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const cells = [...row.cells].map((cell) => cell.textContent), all = cells.join(" ").toLowerCase();
      row.hidden = Boolean((search.value && cells[0] !== search.value) || (state.value && !cells[3].startsWith(state.value)) || !words.every((word) => all.includes(word)));
      shown += !row.hidden;
    }
    count.textContent = shown === rows.length ? `${shown} candidates` : `${shown} of ${rows.length} candidates`;
  }

  headers.forEach((header, column) => header.querySelector("button").addEventListener("click", () => sortBy(column)));
  for (const control of [search, state, text]) control.addEventListener("input", filter);
})();
