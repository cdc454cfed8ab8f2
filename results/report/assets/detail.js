// One network: what it is, what it costs, what was measured of it, and its YAML to take away.

function drawDetail() {
  const row = state.chosen;
  if (row === null) {
    byId("detail").replaceChildren(element("p", { class: "quiet" }, "Choose a network in the chart or in the list."));
    return;
  }
  const parts = partsOf(row);
  byId("detail").replaceChildren(...[
    element("div", { class: "head" },
      element("h2", {}, `#${table.id[row]}`, hasSeveralRuns ? ` of ${runOf(row).name}` : ""),
      element("span", { class: "mono quiet", title: table.digest[row] }, table.digest[row].slice(0, 12))),
    element("p", {}, ...badges(row)),
    reasonOf(row) ? element("p", { class: "problem small" }, reasonOf(row)) : null,
    facts(row),
    ...(parts ? anatomy(parts, row) : [element("p", { class: "quiet" }, "Its blocks are of a plug-in that was not loaded when this report was made, so its parts are not shown.")]),
    ...measured(row),
    ...yamlSection(row),
  ].filter(Boolean));
  byId("detail").scrollTop = 0;
}

function badges(row) {
  const badge = (text, kind, title) => element("span", { class: `badge ${kind}`, title }, text);
  return [
    isOnFront(row) ? badge("on the front", "strong") : null,
    isOnJoint(row) && hasSeveralRuns ? badge("on the joint front", "strong", "no network of any run here dominates it") : null,
    isProvisional(row) ? badge("provisional", "warn", "its step time missed the tolerance, so its place is not certain") : null,
    badge(statusOf(row), FAILED.has(statusOf(row)) ? "warn" : "", "status"),
    originOf(row) ? badge(`proposed by ${originOf(row)}`, "") : null,
  ].filter(Boolean);
}

function facts(row) {
  const objectives = runOf(row).objectives.map((each) => each.name);
  const usual = ["step_ms", "step_ratio", "accuracy", "params", "macs", "activation_bytes", "peak_memory_bytes"];
  const names = [...new Set([...objectives, ...usual])].filter((name) => columns[name] && !Number.isNaN(valueOf(name, row)));
  return element("div", { class: "facts" }, ...names.map((name) => {
    const known = quantityOf[name];
    const [low, high] = intervalOf(name, row);
    const unit = known.unit && known.form === "number" ? element("i", {}, ` ${known.unit}`) : null;
    const range = Number.isNaN(low) ? null : element("i", {}, ` [${written(known, low)}, ${written(known, high)}]`);
    return element("div", {}, element("span", { title: titled(known) }, known.label), element("b", {}, written(known, valueOf(name, row))), unit, range);
  }));
}

// --- parts

const opColours = new Map();
function opColour(op) {
  if (op === "stem" || op === "head") return "var(--faint)";
  if (!opColours.has(op)) opColours.set(op, `var(--run-${opColours.size % 8})`);
  return opColours.get(op);
}

function anatomy(parts, row) {
  const sum = (field) => parts.reduce((total, part) => total + part[field], 0);
  const [params, macs] = [sum("params"), sum("macs")];
  const count = quantityOf.params;
  const share = (value, total, kind) => element("span", { class: `share ${kind}`, css: { width: `${(4.2 * value) / total}em` }, title: `${((100 * value) / total).toFixed(1)} %` });
  const line = (part, place) => element("tr", {},
    element("td", {}, partName(part, place, parts)),
    element("td", {}, part.op === "stem" || part.op === "head" ? "conv" : part.op),
    element("td", { class: "number" }, part.depth), element("td", { class: "number" }, part.width),
    element("td", { class: "number" }, part.stride), element("td", { class: "number" }, part.side),
    element("td", { class: "number" }, written(count, part.params), share(part.params, params, "")),
    element("td", { class: "number" }, written(count, part.macs), share(part.macs, macs, "other")),
    element("td", { class: "quiet" }, part.settings));
  const titles = ["part", "op", "depth", "width", "stride", "px", "parameters", "MACs", "settings"];
  return [
    element("h3", {}, "Stages"),
    silhouette(parts, macs),
    element("div", { class: "scroll" }, element("table", { id: "parts" },
      element("thead", {}, element("tr", {}, ...titles.map((title, place) => element("th", { class: place > 1 && place < 8 ? "number" : null }, title)))),
      element("tbody", {}, ...parts.map(line)))),
    element("p", { class: "quiet small" }, `For one image of ${table.resolution[row]} px and 1,000 classes. MACs: multiply-adds of convolutions and linear layers, once each. px: side of the part's output. Bars: share of the sum.`),
  ];
}

const partName = (part, place, parts) => (place === 0 ? "stem" : place === parts.length - 1 ? "head" : `stage ${place - 1}`);

const percent = (share) => (share < 0.005 ? "<1 %" : `${Math.round(100 * share)} %`);

/** Parts from left to right: as wide as they are deep, as high as their maps, with their share of the MACs. */
function silhouette(parts, macs) {
  const [width, middle, height] = [620, 62, 150];
  const weights = parts.map((part) => 0.9 + Math.sqrt(part.depth));
  const unit = (width - 4 * parts.length) / weights.reduce((a, b) => a + b, 0);
  const tallest = Math.max(...parts.map((part) => part.side));
  const marks = [];
  let x = 2;
  parts.forEach((part, place) => {
    const w = weights[place] * unit;
    const h = 14 + 100 * Math.sqrt(part.side / tallest);
    const centre = x + w / 2;
    const name = `${partName(part, place, parts)}: ${part.op}, depth ${part.depth}, width ${part.width}, ${part.side} px, ${((100 * part.macs) / macs).toFixed(1)} % of the MACs`;
    marks.push(drawing("rect", { x, y: middle - h / 2, width: w, height: h, rx: 4, fill: opColour(part.op), opacity: 0.85 }, drawing("title", {}, name)));
    const label = (y, text) => drawing("text", { x: centre, y, "text-anchor": "middle" }, text);
    if (w > 24) marks.push(label(middle + h / 2 + 12, `${part.depth > 1 ? `${part.depth}×` : ""}${part.width}`), label(height - 4, percent(part.macs / macs)));
    x += w + 4;
  });
  const ops = [...new Set(parts.map((part) => part.op))].filter((op) => op !== "stem" && op !== "head");
  return element("div", {},
    drawing("svg", { class: "silhouette", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "The network from stem to head: height is the side of the maps, labels are depth × width and share of the MACs" }, ...marks),
    element("p", { class: "quiet small" }, "Height: side of the maps. Labels: depth × width; share of the MACs.", ...ops.flatMap((op) => [" ", drawing("svg", { viewBox: "0 0 10 10", width: 10, height: 10 }, drawing("rect", { width: 10, height: 10, rx: 2, fill: opColour(op) })), ` ${op}`])));
}

// --- measurements

function measured(row) {
  const outcomes = table.outcomes[row];
  if (!outcomes.length) return [element("h3", {}, "Measurements"), element("p", { class: "quiet" }, "Nothing was measured of it.")];
  const isTimedAgain = outcomes.filter((found) => found.k === "time").length > 1;
  return [
    element("h3", {}, "Measurements"),
    isTimedAgain ? element("p", { class: "quiet small" }, "Timed more than once: the last timing within the tolerance counts.") : null,
    ...outcomes.map(outcome),
  ];
}

function outcome(found) {
  const { texts, names, conditions } = content.measured;
  const values = Object.fromEntries(names[found.n].map((name, place) => [name, found.v[place]]));
  const rank = (name) => (quantities.findIndex((each) => each.name === name) + quantities.length + 1) % (quantities.length + 1);
  const shown = Object.keys(values).filter((name) => !/_(low|high)$/.test(name)).sort((a, b) => rank(a) - rank(b));
  const known = (name) => quantityOf[name] ?? { label: name, unit: "", form: "number" };
  const one = (name) => {
    const range = `${name}_low` in values ? ` [${written(known(name), values[`${name}_low`])}, ${written(known(name), values[`${name}_high`])}]` : "";
    return `${titled(known(name))} ${written(known(name), values[name])}${range}`;
  };
  const notes = [found.o !== undefined ? `measured in ${texts[found.o]}` : null, found.a ? `attempt ${found.a}` : null].filter(Boolean);
  return element("div", { class: "outcome" },
    element("p", {}, element("b", {}, ({ time: "Step time", estimate: "Estimated step time" })[found.k] || "Training"), ` · ${found.s} · ${duration(found.t)}${notes.length ? ` · ${notes.join(", ")}` : ""}`),
    found.r !== undefined ? element("p", { class: "problem small" }, texts[found.r]) : null,
    shown.length ? element("p", { class: "small" }, shown.map(one).join("; ")) : null,
    found.l ? curve(found.l) : null,
    found.e !== undefined ? element("details", {}, element("summary", {}, "what the process said"), element("pre", {}, texts[found.e])) : null,
    found.c !== undefined ? element("details", {}, element("summary", { class: "small" }, "conditions"), element("pre", {}, conditions[found.c])) : null);
}

/** A learning curve: accuracy on the validation set against steps. */
function curve({ x, y }) {
  const [width, height, left, bottom] = [420, 130, 46, 26];
  const across = makeScale(Math.min(...x), Math.max(...x), left, width - 12, false);
  const up = makeScale(0, Math.max(...y, 1e-9) * 1.08, height - bottom, 8, false);
  const ticks = linearTicks(up.low, up.high, 3).map((tick) => [
    drawing("line", { x1: left, x2: width - 12, y1: up.at(tick), y2: up.at(tick), stroke: "var(--soft)" }),
    drawing("text", { x: left - 5, y: up.at(tick) + 3.5, "text-anchor": "end" }, trimmed(tick))]);
  const points = x.map((step, place) => `${across.at(step).toFixed(1)},${up.at(y[place]).toFixed(1)}`).join(" ");
  return drawing("svg", { class: "curve", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Learning curve" },
    ...ticks.flat(),
    drawing("polyline", { points, fill: "none", stroke: "var(--run-0)", "stroke-width": 2 }),
    ...(x.length <= 30 ? x.map((step, place) => drawing("circle", { cx: across.at(step), cy: up.at(y[place]), r: 2.6, fill: "var(--run-0)" })) : []),
    drawing("text", { x: left, y: height - 12, "text-anchor": "middle" }, x[0]),
    drawing("text", { x: width - 12, y: height - 12, "text-anchor": "end" }, x.at(-1)),
    drawing("text", { x: (left + width) / 2, y: height - 1, "text-anchor": "middle" }, "step of the training; up: accuracy"));
}

// --- YAML

function yamlSection(row) {
  const text = yamlOf(row);
  const copyButton = element("button", { type: "button", id: "copy", on: { click: () => copy(text, copyButton) } }, "Copy YAML");
  const save = element("button", { type: "button", id: "save", on: { click: () => download(text, `${runOf(row).name}-${table.id[row]}.yaml`) } }, "Save");
  return [
    element("h3", {}, "Architecture"),
    element("div", { class: "actions" }, copyButton, save, element("span", { class: "quiet small" }, "for nas arch show, nas measure, nas.load_architecture")),
    element("pre", { id: "yaml", tabindex: 0 }, text),
  ];
}

async function copy(text, button) {
  let isCopied = false;
  try {
    await navigator.clipboard.writeText(text);
    isCopied = true;
  } catch {
    isCopied = copyBySelection(text);
  }
  button.textContent = isCopied ? "Copied" : "Select it below and copy";
  setTimeout(() => { button.textContent = "Copy YAML"; }, 1600);
}

function copyBySelection(text) {
  const field = element("textarea", { css: { position: "fixed", opacity: "0" } });
  field.value = text;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  return isCopied;
}

function download(text, name) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "application/yaml" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
