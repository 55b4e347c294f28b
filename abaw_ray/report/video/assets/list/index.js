// The list of videos: only one page of rows exists in the document, so the list may be long. Sorting and search cover all rows.
const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const total = data.title.length, classes = data.expressions.length, shareBytes = decodeBase64(data.shares);
const searchText = data.title.map((title, i) => `${title} ${topExpression(i) ?? ""} ${data.failure[i] ?? ""}`.toLowerCase());
const state = { query: "", failed: false, sort: "order", descending: false, page: 0 };
const SORT_VALUES = {
  order: (i) => i, title: (i) => data.title[i].toLowerCase(), duration: (i) => data.duration[i], people: (i) => data.people[i], seen: (i) => data.seen[i],
  expression: (i) => topExpression(i), failure: (i) => data.failure[i],
};
let rows = [];

// Share of each expression; null where there is none.
function sharesOf(i) {
  const bytes = shareBytes.subarray(classes * i, classes * (i + 1));
  return bytes[0] === MISSING_BYTE ? null : Array.from(bytes, (byte) => byte / MAX_BYTE);
}

// Name of the expression with the largest share; null without a scored frame.
function topExpression(i) {
  const shares = sharesOf(i);
  if (!shares) return null;
  const best = shares.indexOf(Math.max(...shares));
  return shares[best] > 0 ? data.expressions[best] : null;
}

function select() {
  const words = state.query.toLowerCase().split(/\s+/).filter(Boolean), valueOf = SORT_VALUES[state.sort], sign = state.descending ? -1 : 1;
  rows = [];
  for (let i = 0; i < total; i++) if ((!state.failed || data.failure[i] !== null) && words.every((word) => searchText[i].includes(word))) rows.push(i);
  if (state.sort !== "order") {
    const keys = new Map(rows.map((i) => [i, valueOf(i)]));
    rows.sort((a, b) => compare(keys.get(a), keys.get(b), sign) || a - b);
  }
}
// Missing values are last in both directions.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (a < b ? -1 : a > b ? 1 : 0);
}

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
function cell(label, className, ...children) {
  const node = make("td", { className }, ...children);
  node.dataset.label = label; // shown on phones, where the head is hidden
  return node;
}

function makeRow(i) {
  const title = data.page[i] === null ? make("span", { textContent: data.title[i] }) : make("a", { href: data.page[i], textContent: data.title[i] });
  const source = data.thumbnail[i], image = source === null ? "" : make("img", { src: source, alt: "", loading: "lazy", decoding: "async" });
  const name = make("th", { scope: "row" }, make("div", { className: "title" }, make("span", { className: "thumbnail" }, image), make("div", {}, title)));
  if (data.failure[i] !== null) name.querySelector(".title > div").append(make("p", { className: "reason", textContent: data.failure[i] }));
  const line = make("tr", {}, name);
  line.append(
    cell("Duration", "num", data.duration[i] === null ? "–" : formatClock(data.duration[i], 0)), cell("People", "num", data.people[i] ?? "–"),
    cell("Face seen", "num", data.seen[i] === null ? "–" : formatPercent(data.seen[i])), cell("Expressions", "mix", ...makeShares(i)),
  );
  if (data.failure[i] !== null) line.className = "failed";
  return line;
}

function makeShares(i) {
  if (topExpression(i) === null) return ["–"];
  const shares = sharesOf(i), order = shares.map((share, e) => [share, data.expressions[e]]).filter(([share]) => share > 0).sort((a, b) => b[0] - a[0]);
  const text = order.slice(0, 2).map(([share, name]) => `${name} ${formatPercent(share)}`).join(", ");
  const bar = make("span", { className: "bar stack" });
  shares.forEach((share, e) => { if (share > 0) bar.append(make("i", { style: `width:${100 * share}%;background:${data.colors[e]}` })); });
  bar.setAttribute("aria-hidden", "true");
  return [bar, make("span", { className: "top", textContent: text })];
}

function show({ announce = true } = {}) {
  select();
  const pages = Math.max(1, Math.ceil(rows.length / data.rowsPerPage));
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  const from = state.page * data.rowsPerPage, shown = rows.slice(from, from + data.rowsPerPage);
  element("rows").replaceChildren(...shown.map(makeRow));
  const range = shown.length ? `${(from + 1).toLocaleString("en")} to ${(from + shown.length).toLocaleString("en")} of ${rows.length.toLocaleString("en")}` : "no video matches";
  element("range").textContent = range;
  if (announce) element("status").textContent = range;
  for (const id of ["first", "previous"]) element(id).disabled = state.page === 0;
  for (const id of ["next", "last"]) element(id).disabled = state.page >= pages - 1;
  element("pages").hidden = pages === 1;
  document.querySelectorAll("th[data-sort]").forEach((head) => {
    if (head.dataset.sort === state.sort) head.setAttribute("aria-sort", state.descending ? "descending" : "ascending"); else head.removeAttribute("aria-sort");
  });
  element("sort").value = state.sort;
  element("direction").textContent = state.descending ? "↓" : "↑";
  saveState();
}

// The address keeps search, order and page, so that "back" from a video returns to the same rows.
function saveState() {
  const words = new URLSearchParams(Object.entries({ q: state.query, failed: state.failed ? 1 : "", sort: state.sort === "order" ? "" : state.sort, desc: state.descending ? 1 : "", page: state.page || "" }).filter(([, value]) => value !== ""));
  history.replaceState(null, "", words.size ? `#${words}` : location.pathname + location.search);
}
function restoreState() {
  const words = new URLSearchParams(location.hash.slice(1));
  Object.assign(state, { query: words.get("q") ?? "", failed: words.has("failed"), sort: words.get("sort") in SORT_VALUES ? words.get("sort") : "order", descending: words.has("desc"), page: Number(words.get("page")) || 0 });
  element("search").value = state.query;
  if (element("failed")) element("failed").checked = state.failed;
}

function sortBy(key, descending) { Object.assign(state, { sort: key, descending, page: 0 }); show(); }
function goTo(page) { state.page = page; show(); element("table").scrollIntoView({ block: "start" }); }

function connect() {
  let timer = 0;
  element("search").addEventListener("input", (event) => { clearTimeout(timer); timer = setTimeout(() => { state.query = event.target.value; state.page = 0; show(); }, 120); });
  element("failed")?.addEventListener("change", (event) => { state.failed = event.target.checked; state.page = 0; show(); });
  document.querySelectorAll("th[data-sort] button").forEach((button) => {
    const key = button.closest("th").dataset.sort, numeric = ["duration", "people", "seen"].includes(key);
    button.addEventListener("click", () => sortBy(key, state.sort === key ? !state.descending : numeric)); // numbers: the largest first
  });
  element("sort").addEventListener("change", (event) => sortBy(event.target.value, state.descending));
  element("direction").addEventListener("click", () => sortBy(state.sort, !state.descending));
  element("first").addEventListener("click", () => goTo(0));
  element("previous").addEventListener("click", () => goTo(state.page - 1));
  element("next").addEventListener("click", () => goTo(state.page + 1));
  element("last").addEventListener("click", () => goTo(Infinity));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, select")) { event.preventDefault(); element("search").focus(); }
  });
}

restoreState();
connect();
show({ announce: false });
