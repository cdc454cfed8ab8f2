// The list: only the rows in sight are in the page, so ten thousand scroll like ten.

const ROW_HEIGHT = 30;
const MOST_IN_SIGHT = 460; // pixels: before the first rows are there, the list has no height
const MAX_PRINTED = 500;

const numbers = (name, title, width = 9) => ({
  key: name, title: title ?? titled(quantityOf[name]), width, isNumber: true,
  cell: (row) => [written(quantityOf[name], valueOf(name, row))],
});

function listColumns() {
  const usual = ["accuracy", "step_ms", "step_ratio", "params", "macs", "peak_memory_bytes"];
  const objectives = [...new Set(content.runs.flatMap((run) => run.objectives.map((each) => each.name)))];
  const metrics = [...new Set([...objectives, ...usual])].filter((name) => columns[name]);
  return [
    { key: "front", title: "", width: 3, cell: (row) => [isOnFront(row) ? swatch(table.run[row], { isHollow: isProvisional(row) }) : ""], label: "on the front" },
    { key: "id", title: "#", width: 5, isNumber: true, cell: (row) => [table.id[row]] },
    hasSeveralRuns ? { key: "run", title: "run", width: 11, cell: (row) => [runOf(row).name] } : null,
    ...metrics.map((name) => (columns[`${name}_low`] ? interval(name) : numbers(name, SHORT[name]))),
    { key: "status", title: "status", width: 9, cell: (row) => [statusOf(row)] },
    { key: "origin", title: "proposed by", width: 10, cell: (row) => [originOf(row) ?? NONE] },
  ].filter(Boolean);
}

const SHORT = { accuracy: "accuracy", step_ratio: "ratio to reference", params: "parameters", macs: "MACs", peak_memory_bytes: "peak memory" };

function interval(name) {
  const known = quantityOf[name];
  return {
    key: name, title: `${name === "step_ms" ? "step ms" : titled(known)} [95 %]`, width: 14, isNumber: true,
    cell: (row) => {
      const [low, high] = intervalOf(name, row);
      const value = written(known, valueOf(name, row));
      return Number.isNaN(low) ? [value] : [value, element("i", {}, ` [${written(known, low)}, ${written(known, high)}]`)];
    },
  };
}

const list = { rows: [], body: null, first: -1, columns: [] };

function makeList() {
  list.columns = listColumns();
  const total = list.columns.reduce((sum, each) => sum + each.width, 0);
  list.body = element("tbody");
  byId("rows").replaceChildren(
    element("table", {},
      element("colgroup", {}, ...list.columns.map((each) => element("col", { css: { width: `${(100 * each.width) / total}%` } }))),
      element("thead", {}, element("tr", {}, ...list.columns.map(heading))),
      list.body),
  );
  byId("rows").addEventListener("scroll", () => drawList(), { passive: true });
}

function heading(column) {
  const sort = () => {
    const isSame = state.sort.key === column.key;
    state.sort = { key: column.key, descending: isSame ? !state.sort.descending : direction0(column.key) > 0 };
    update();
  };
  return element("th", { class: column.isNumber ? "number" : null, "data-key": column.key },
    element("button", { type: "button", on: { click: sort }, "aria-label": column.label ? `sort by ${column.label}` : null }, column.title || "●"));
}

/** The first click on a heading puts the better end on top. */
const direction0 = (key) => (key === "front" ? 1 : quantityOf[key] ? direction(key) : -1);

function fillList(rows) {
  list.rows = rows;
  list.first = -1;
  for (const head of byId("rows").querySelectorAll("th")) {
    const isKey = head.dataset.key === state.sort.key;
    head.setAttribute("aria-sort", isKey ? (state.sort.descending ? "descending" : "ascending") : "none");
    const button = head.querySelector("button");
    button.textContent = button.textContent.replace(/ [▲▼]$/, "") + (isKey ? (state.sort.descending ? " ▼" : " ▲") : "");
  }
  drawList();
}

function drawList({ isPrinted = false } = {}) {
  const view = byId("rows");
  const count = isPrinted ? MAX_PRINTED : Math.ceil(Math.max(view.clientHeight, MOST_IN_SIGHT) / ROW_HEIGHT) + 12;
  const wanted = isPrinted ? 0 : Math.max(0, Math.floor(view.scrollTop / ROW_HEIGHT) - 6);
  const first = Math.min(wanted, Math.max(0, list.rows.length - count));
  if (first === list.first && !isPrinted) return;
  list.first = isPrinted ? -1 : first;
  const shown = list.rows.slice(first, first + count);
  const after = list.rows.length - first - shown.length;
  list.body.replaceChildren(
    pad(first),
    ...shown.map((row, place) => listRow(row, first + place)),
    isPrinted && after > 0 ? element("tr", {}, element("td", { colspan: list.columns.length }, `${grouped.format(after)} more are not printed`)) : pad(isPrinted ? 0 : after),
    list.rows.length ? "" : element("tr", {}, element("td", { colspan: list.columns.length, class: "none quiet" }, "no network passes the filter")),
  );
}

const pad = (count) => element("tr", { class: "pad", "aria-hidden": "true" },
  element("td", { colspan: list.columns.length, css: { height: `${count * ROW_HEIGHT}px` } }));

function listRow(row, place) {
  return element("tr", { class: row === state.chosen ? "row chosen" : "row", "data-row": row, "aria-rowindex": place + 2, on: { click: () => choose(row) } },
    ...list.columns.map((column) => element("td", { class: column.isNumber ? "number" : null }, ...column.cell(row))));
}

/** Bring a row into sight. */
function reveal(row) {
  const place = list.rows.indexOf(row);
  const view = byId("rows");
  if (place < 0) return;
  const head = view.querySelector("thead").offsetHeight;
  const top = place * ROW_HEIGHT;
  if (top < view.scrollTop) view.scrollTop = top;
  else if (top + ROW_HEIGHT + head > view.scrollTop + view.clientHeight) view.scrollTop = top + ROW_HEIGHT + head - view.clientHeight;
}
