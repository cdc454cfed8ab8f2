// Around the networks: what was searched and found, what must be said first, what failed, where it comes from.

function bestOf(index, name) {
  const good = direction(name);
  let best = NaN;
  for (let row = 0; row < size; row += 1) {
    if (table.run[row] !== index || !isOnFront(row)) continue;
    const value = valueOf(name, row);
    if (!Number.isNaN(value) && (Number.isNaN(best) || good * value > good * best)) best = value;
  }
  return best;
}

const frontSize = (index) => table.front.reduce((sum, on, row) => sum + (on && table.run[row] === index ? 1 : 0), 0);
const phaseMark = (run) => element("span", { class: `phase ${run.phase}`, title: run.writer ?? "" }, run.phase);
const extremes = (run) => run.objectives.map((each) => each.name).filter((name) => columns[name] && direction(name));
const superlative = (name) => `${direction(name) > 0 ? "highest" : "lowest"} ${name === "step_ms" ? "step time (ms)" : quantityOf[name].label}`;

function referenceText(run) {
  if (!run.reference) return "nothing was measured";
  return `against ${Object.entries(run.reference).map(([name, value]) => `${name} ${significant(value)}`).join(", ")} (${run.rule})`;
}

const volume = (value) => (Math.abs(value) >= 1e6 ? value.toExponential(3) : significant(value));

function drawOverview() {
  const made = `Made ${content.made_at} by nas ${content.version}; ${content.runs.length === 1 ? content.runs[0].name : `${content.runs.length} runs`}, ${grouped.format(size)} candidates`;
  byId("made").replaceChildren(made, hasSeveralRuns ? "" : " ", hasSeveralRuns ? "" : phaseMark(content.runs[0]));
  byId("overview").replaceChildren(hasSeveralRuns ? runsTable() : tiles(content.runs[0]));
}

function tiles(run) {
  const tile = (value, name, more) => element("div", { class: "card tile" },
    element("div", { class: "value" }, value), element("div", { class: "name" }, name), more ? element("div", { class: "more" }, more) : null);
  return element("div", { class: "tiles" },
    tile(grouped.format(run.evaluated), "evaluated", run.target ? `of ${grouped.format(run.target)} asked for` : null),
    tile(grouped.format(run.failed), "failed", run.failed ? "see below" : null),
    tile(grouped.format(frontSize(0)), "on the front"),
    ...extremes(run).map((name) => tile(written(quantityOf[name], bestOf(0, name)), superlative(name), "on the front")),
    tile(run.hypervolume === null ? NONE : volume(run.hypervolume), "hypervolume", "of all objectives; reference: see Provenance"),
    tile(duration(run.wall_seconds), "wall time"));
}

function runsTable() {
  const names = [...new Set(content.runs.flatMap(extremes))];
  const titles = ["run", "state", "evaluated", "failed", "on the front", "on the joint front", ...names.map(superlative), "wall time"];
  const line = (run, index) => element("tr", {},
    element("td", {}, swatch(index), ` ${run.name}`), element("td", {}, phaseMark(run)),
    ...[run.evaluated, run.failed, frontSize(index)].map((count) => element("td", { class: "number" }, grouped.format(count))),
    element("td", { class: "number" }, grouped.format(table.joint.reduce((sum, on, row) => sum + (on && table.run[row] === index ? 1 : 0), 0))),
    ...names.map((name) => element("td", { class: "number" }, written(quantityOf[name], bestOf(index, name)))),
    element("td", { class: "number" }, duration(run.wall_seconds)));
  return element("div", { class: "card scroll" }, element("table", { id: "runs" },
    element("thead", {}, element("tr", {}, ...titles.map((title, place) => element("th", { class: place > 1 ? "number" : null }, title)))),
    element("tbody", {}, ...content.runs.map(line))));
}

function drawNotices() {
  const notices = [];
  const going = content.runs.filter((run) => run.phase === "running" || run.phase === "unknown");
  if (going.length) {
    notices.push(element("p", { class: "notice" }, `${going.map((run) => run.name).join(", ")}: ${going.length === 1 ? "this search was" : "these searches were"} still going on when the report was made. Make it again for what came since.`));
  }
  const estimated = content.runs.filter((run) => run.estimated);
  if (estimated.length) {
    notices.push(element("p", { class: "notice" }, `${estimated.map((run) => run.name).join(", ")}: step times are estimates for hardware that was not there, not measurements.`));
  }
  if (content.groups.length > 1) {
    const choice = element("select", { id: "group", on: { change: (event) => { state.group = Number(event.target.value); state.zoom = null; state.chosen = firstChoice(); update(); drawProgress(); drawPublished(); } } },
      ...content.groups.map((text, place) => element("option", { value: place }, text)));
    notices.push(element("p", { class: "notice" }, "These runs were not measured alike, and step times or accuracies of different conditions do not compare; so they are shown one condition at a time. To compare them, search or measure again under one of the conditions. ", choice));
  }
  byId("notices").replaceChildren(...notices);
}

// --- progress

/** How the front grew: its hypervolume against evaluations and against time, over one reference for all runs of a condition. */
function drawProgress() {
  const shown = content.runs.map((run, index) => ({ run, index })).filter(({ run }) => run.group === state.group && run.progress.length > 1);
  if (!shown.length) { byId("progress").replaceChildren(); return; }
  const hasTime = shown.every(({ run }) => run.progress.every((each) => each[1] !== null));
  byId("progress").replaceChildren(element("h2", {}, "Progress"),
    element("div", { class: "two" },
      growth(shown, (each) => each[0], "candidates evaluated"),
      hasTime ? growth(shown, (each) => each[1] / 60, "minutes searched, pauses left out") : null),
    element("p", { class: "quiet small" }, `Hypervolume of the front after each evaluation, as a share of the largest shown${shown.length > 1 ? "; one reference for all runs" : ""}. More is better.`));
}

function growth(shown, across, title) {
  const [width, height, left, right, bottom] = [560, 230, 48, 14, 40];
  const last = Math.max(...shown.map(({ run }) => across(run.progress.at(-1))));
  const most = Math.max(...shown.map(({ run }) => run.progress.at(-1)[2])) || 1;
  const x = makeScale(0, last || 1, left, width - right, false);
  const y = makeScale(0, 1.05, height - bottom, 10, false);
  const grid = [
    ...y.ticks.map((tick) => drawing("g", {}, drawing("line", { x1: left, x2: width - right, y1: y.at(tick), y2: y.at(tick), stroke: "var(--soft)" }), drawing("text", { x: left - 7, y: y.at(tick) + 4, "text-anchor": "end" }, trimmed(tick)))),
    ...x.ticks.map((tick) => drawing("text", { x: x.at(tick), y: height - bottom + 16, "text-anchor": "middle" }, trimmed(tick)))];
  const lines = shown.map(({ run, index }) => {
    let path = `M${x.at(0)},${y.at(0)}`;
    for (const each of run.progress) path += `H${x.at(across(each)).toFixed(1)}V${y.at(each[2] / most).toFixed(1)}`;
    return drawing("path", { d: path, fill: "none", stroke: `var(--run-${index % 8})`, "stroke-width": 2, "stroke-dasharray": index % 2 ? "6 4" : null }, drawing("title", {}, run.name));
  });
  return element("figure", { class: "card growth" }, drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Hypervolume against ${title}` },
    ...grid, ...lines,
    drawing("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle", class: "title" }, title),
    drawing("text", { transform: `translate(12 ${(height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "title" }, "hypervolume (share)")));
}

function drawFailures() {
  const kinds = new Map();
  for (let row = 0; row < size; row += 1) {
    const status = statusOf(row);
    if (!FAILED.has(status) && !TURNED_AWAY.has(status)) continue;
    const key = `${status}\n${reasonOf(row) ?? ""}`;
    if (!kinds.has(key)) kinds.set(key, []);
    kinds.get(key).push(row);
  }
  const ordered = [...kinds.values()].sort((a, b) => FAILED.has(statusOf(b[0])) - FAILED.has(statusOf(a[0])) || b.length - a.length);
  byId("failures").replaceChildren(element("h2", {}, "Failures, and networks turned away"),
    ordered.length ? failuresTable(ordered) : element("p", { class: "quiet" }, "None: every network that was proposed was evaluated, or still is to be."));
}

function failuresTable(kinds) {
  const most = 12;
  const chip = (row) => element("button", { type: "button", on: { click: () => { choose(row, { isFromOutside: true }); } } }, hasSeveralRuns ? `${runOf(row).name} #${table.id[row]}` : `#${table.id[row]}`);
  const line = (rows) => element("tr", {},
    element("td", {}, statusOf(rows[0])), element("td", { class: "number" }, grouped.format(rows.length)),
    element("td", { class: "why" }, reasonOf(rows[0]) ?? NONE),
    element("td", {}, ...rows.slice(0, most).map(chip), rows.length > most ? ` and ${grouped.format(rows.length - most)} more` : ""));
  return element("div", { class: "card scroll" }, element("table", { class: "failure" },
    element("thead", {}, element("tr", {}, element("th", {}, "status"), element("th", { class: "number" }, "networks"), element("th", {}, "reason"), element("th", {}, "which"))),
    element("tbody", {}, ...kinds.slice(0, 100).map(line))));
}

function drawProvenance() {
  byId("provenance").replaceChildren(element("h2", {}, "Provenance"),
    ...content.runs.map((run) => element("div", { class: "card tile" },
      element("h3", {}, run.name),
      element("p", { class: "small" }, `Measured on ${content.groups[run.group]}`),
      element("p", { class: "small" }, `Objectives: ${run.objectives.map((each) => `${each.name} (${each.direction})`).join(", ")}; hypervolume ${run.hypervolume === null ? NONE : significant(run.hypervolume)} ${referenceText(run)}`),
      ...Object.entries(run.provenance).map(([key, text]) => (text.includes("\n") ? element("details", {}, element("summary", {}, key), element("pre", {}, text)) : element("p", { class: "small" }, `${key}: ${text}`))))));
}
