// Putting it together: what the reader does changes `state`, and `update` draws what follows.

let filterTest = () => true;

function update() {
  const parsed = parseFilter(state.filter);
  const problem = byId("filter-problem");
  problem.hidden = !parsed.problem;
  problem.textContent = parsed.problem ?? "";
  byId("filter").setAttribute("aria-invalid", parsed.problem ? "true" : "false");
  if (!parsed.problem) filterTest = parsed.test;
  const rows = passing(filterTest);
  const total = countShown();
  byId("count").textContent = `${grouped.format(rows.length)} of ${grouped.format(total)} networks`;
  for (const button of byId("presets").children) button.setAttribute("aria-pressed", String(button.dataset.preset === state.preset));
  byId("unzoom").hidden = state.zoom === null;
  drawPlot(rows);
  fillList(rows);
  drawDetail();
}

function countShown() {
  let count = 0;
  for (let row = 0; row < size; row += 1) if (isShown(row)) count += 1;
  return count;
}

/** Choose a network; one that the list does not show makes it show all, where it was chosen elsewhere. */
function choose(row, { isFromOutside = false } = {}) {
  state.chosen = row;
  if (isFromOutside && (!isShown(row) || !list.rows.includes(row))) {
    state.group = runOf(row).group;
    state.hidden.delete(table.run[row]);
    state.preset = "all";
    state.filter = "";
    byId("filter").value = "";
    const group = byId("group");
    if (group) group.value = String(state.group);
    update();
    drawLegend();
    drawProgress();
    drawPublished();
  } else {
    drawDetail();
    drawOver(null);
    list.first = -1;
    drawList();
  }
  reveal(row);
  if (isFromOutside) byId("explorer").scrollIntoView({ block: "start" });
}

/** The front's most accurate network, or the first of all: the page begins with one in sight. */
function firstChoice() {
  const rows = passing(() => true);
  return rows.length ? rows[0] : null;
}

function makeControls() {
  for (const [name, preset] of Object.entries(PRESETS)) {
    byId("presets").append(element("button", { type: "button", "data-preset": name, title: preset.help, on: { click: () => { state.preset = name; update(); } } }, preset.label));
  }
  let waiting = 0;
  byId("filter").addEventListener("input", (event) => {
    state.filter = event.target.value;
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(update);
  });
  for (const axis of ["x", "y"]) {
    const select = byId(`${axis}-axis`);
    select.append(...quantities.filter((each) => !/_(low|high)$/.test(each.name)).map((each) => element("option", { value: each.name, selected: each.name === state[axis] }, titled(each))));
    select.addEventListener("change", () => { state[axis] = select.value; state.zoom = null; update(); });
    const log = byId(`${axis}-log`);
    log.addEventListener("change", () => { state[axis === "x" ? "logX" : "logY"] = log.checked; state.zoom = null; update(); });
  }
  byId("unzoom").addEventListener("click", () => { state.zoom = null; update(); });
}

function drawLegend() {
  const runs = content.runs.map((run, index) => {
    if (!hasSeveralRuns) return element("span", {}, swatch(0), "on the front");
    const toggle = () => { state.hidden.has(index) ? state.hidden.delete(index) : state.hidden.add(index); update(); drawLegend(); };
    return element("button", { type: "button", "aria-pressed": String(!state.hidden.has(index)), on: { click: toggle }, title: "Show or hide this run" }, swatch(index), run.name);
  });
  byId("legend").replaceChildren(...runs,
    element("span", {}, swatch(0, { isHollow: true }), "hollow: provisional"),
    element("span", {}, drawing("svg", { viewBox: "0 0 14 14" }, drawing("rect", { x: 4.5, y: 4.5, width: 5, height: 5, fill: "var(--faint)" })), "faint: not in the list below"),
    element("span", {}, "bars: 95 % interval; steps: the front in these two; drag to zoom"));
}

function makePointer() {
  const over = byId("over");
  const tip = byId("tip");
  let start = null;
  const at = (event) => { const box = over.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const frameTo = (x, y) => ({ x: Math.min(start[0], x), y: Math.min(start[1], y), w: Math.abs(x - start[0]), h: Math.abs(y - start[1]) });
  over.addEventListener("pointerdown", (event) => { start = at(event); over.setPointerCapture(event.pointerId); });
  over.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (start && Math.hypot(x - start[0], y - start[1]) > 6) { tip.hidden = true; drawOver(null, frameTo(x, y)); return; }
    const row = nearest(x, y);
    drawOver(row);
    showTip(tip, row, x, y);
  });
  over.addEventListener("pointerup", (event) => {
    const [x, y] = at(event);
    const frame = start ? frameTo(x, y) : null;
    start = null;
    if (frame && frame.w > 8 && frame.h > 8 && chart.x) { zoomTo(frame); return; }
    const row = nearest(x, y);
    if (row !== null) choose(row);
  });
  over.addEventListener("pointerleave", () => { tip.hidden = true; if (!start) drawOver(null); });
  over.addEventListener("dblclick", () => { state.zoom = null; update(); });
}

function zoomTo(frame) {
  state.zoom = {
    x: [chart.x.invert(frame.x), chart.x.invert(frame.x + frame.w)],
    y: [chart.y.invert(frame.y + frame.h), chart.y.invert(frame.y)],
  };
  update();
}

function showTip(tip, row, x, y) {
  tip.hidden = row === null;
  if (row === null) return;
  const line = (name) => {
    const [low, high] = intervalOf(name, row);
    const known = quantityOf[name];
    return element("div", {}, `${known.label}: ${written(known, valueOf(name, row))}${known.unit && known.form !== "fraction" && known.form !== "bytes" ? ` ${known.unit}` : ""}${Number.isNaN(low) ? "" : ` [${written(known, low)}, ${written(known, high)}]`}`);
  };
  const names = [...new Set([state.x, state.y, "params"])].filter((name) => columns[name]);
  tip.replaceChildren(element("b", {}, `#${table.id[row]}${hasSeveralRuns ? ` of ${runOf(row).name}` : ""}`), ...names.map(line));
  const box = byId("canvas").getBoundingClientRect();
  tip.style.setProperty("left", `${Math.min(x + 16, box.width - tip.offsetWidth - 4)}px`);
  tip.style.setProperty("top", `${Math.max(0, y - tip.offsetHeight - 12)}px`);
}

function makeKeys() {
  byId("rows").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12, Home: -Infinity, End: Infinity }[event.key];
    if (!step || event.target.tagName === "BUTTON" || !list.rows.length) return;
    event.preventDefault();
    const place = Math.max(0, list.rows.indexOf(state.chosen));
    choose(list.rows[Math.max(0, Math.min(list.rows.length - 1, place + step))]);
  });
}

const THEMES = ["auto", "light", "dark"];
const system = matchMedia("(prefers-color-scheme: dark)");
let theme = "auto";
function applyTheme(chosen = theme) {
  palette.clear();
  document.documentElement.dataset.theme = chosen === "auto" ? (system.matches ? "dark" : "light") : chosen;
  byId("theme").textContent = `Theme: ${theme}`;
}

function makeTheme() {
  byId("theme").addEventListener("click", () => { theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]; applyTheme(); drawPlot(list.rows); });
  system.addEventListener("change", () => { applyTheme(); drawPlot(list.rows); });
  window.addEventListener("beforeprint", () => { applyTheme("light"); drawPlot(list.rows); drawList({ isPrinted: true }); });
  window.addEventListener("afterprint", () => { applyTheme(); drawPlot(list.rows); list.first = -1; drawList(); });
}

applyTheme();
makeControls();
makeTheme();
makePointer();
makeKeys();
makeList();
drawOverview();
drawNotices();
drawLegend();
if (!table.front.some(Boolean)) state.preset = "all";
state.chosen = firstChoice();
update();
drawProgress();
drawHonest();
drawPublished();
drawFailures();
drawProvenance();
new ResizeObserver(() => drawPlot(list.rows)).observe(byId("canvas"));
