// The chart: every network by two quantities. What does not pass the filter stays as a faint dot.

const SHAPES = ["circle", "square", "triangle", "diamond", "down", "cross", "hexagon", "star"];
const MARGIN = { left: 74, right: 18, top: 12, bottom: 46 };
const NEAR = 14; // pixels from a mark within which the pointer means it

const palette = new Map();
/** A colour of the style, asked for once until the theme changes. */
function colour(name) {
  if (!palette.has(name)) palette.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return palette.get(name);
}
const runColour = (run) => colour(`--run-${run % 8}`);
const shapeOf = (run) => SHAPES[run % SHAPES.length];

function trace(path, shape, x, y, r) {
  if (shape === "circle") { path.moveTo(x + r, y); path.arc(x, y, r, 0, 7); return; }
  if (shape === "cross") {
    const w = r * 0.42;
    polygon(path, [[-w, -r], [w, -r], [w, -w], [r, -w], [r, w], [w, w], [w, r], [-w, r], [-w, w], [-r, w], [-r, -w], [-w, -w]], x, y);
    return;
  }
  if (shape === "star") {
    polygon(path, Array.from({ length: 10 }, (_, i) => spoke(-90 + 36 * i, i % 2 ? r * 0.5 : r * 1.2)), x, y);
    return;
  }
  const [corners, turn, factor] = { square: [4, 45, 1.2], triangle: [3, -90, 1.25], diamond: [4, 0, 1.2], down: [3, 90, 1.25], hexagon: [6, 0, 1.1] }[shape];
  polygon(path, Array.from({ length: corners }, (_, i) => spoke(turn + (360 / corners) * i, r * factor)), x, y);
}
const spoke = (degrees, r) => [Math.cos((degrees * Math.PI) / 180) * r, Math.sin((degrees * Math.PI) / 180) * r];
function polygon(path, points, x, y) {
  points.forEach(([dx, dy], index) => (index ? path.lineTo(x + dx, y + dy) : path.moveTo(x + dx, y + dy)));
  path.closePath();
}

const chart = { x: null, y: null, px: new Float32Array(size), py: new Float32Array(size), passed: new Uint8Array(size), rows: [] };

/** Draw everything; `rows` pass the filter. */
function drawPlot(rows) {
  chart.rows = rows;
  chart.passed.fill(0);
  for (const row of rows) chart.passed[row] = 1;
  const box = byId("canvas").getBoundingClientRect();
  if (box.width < 50) return;
  const pen = sharp(byId("plot"), box);
  if (!place(box)) {
    pen.fillStyle = colour("--quiet");
    pen.font = "14px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.fillText("no network has both quantities yet", box.width / 2, box.height / 2);
    drawOver(null);
    return;
  }
  drawAxes(pen, box);
  pen.save();
  pen.beginPath();
  pen.rect(MARGIN.left, 0, box.width - MARGIN.left - MARGIN.right + 8, box.height - MARGIN.bottom);
  pen.clip();
  drawFaint(pen);
  const members = rows.filter(isOnFront);
  drawIntervals(pen, members);
  drawFrontLines(pen);
  drawStamps(pen, rows.filter((row) => !isOnFront(row)));
  drawMarks(pen, members);
  pen.restore();
  drawOver(null);
}

function sharp(canvas, box) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(box.width * ratio);
  canvas.height = Math.round(box.height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return pen;
}

/** Scales and positions; false where there is nothing to place. */
function place(box) {
  const [xs, ys] = [columns[state.x], columns[state.y]];
  const [shownX, shownY] = [[], []];
  for (let row = 0; row < size; row += 1) {
    if (isShown(row) && !Number.isNaN(xs[row]) && !Number.isNaN(ys[row])) { shownX.push(xs[row]); shownY.push(ys[row]); }
  }
  const rangeX = state.zoom?.x ?? extent(shownX, state.logX);
  const rangeY = state.zoom?.y ?? extent(shownY, state.logY);
  chart.px.fill(NaN);
  if (!rangeX || !rangeY) return false;
  chart.x = makeScale(...rangeX, MARGIN.left, box.width - MARGIN.right, state.logX);
  chart.y = makeScale(...rangeY, box.height - MARGIN.bottom, MARGIN.top, state.logY);
  for (let row = 0; row < size; row += 1) {
    if (!isShown(row)) continue;
    chart.px[row] = chart.x.at(xs[row]);
    chart.py[row] = chart.y.at(ys[row]);
  }
  return true;
}

function drawAxes(pen, box) {
  const [right, bottom] = [box.width - MARGIN.right, box.height - MARGIN.bottom];
  pen.font = "12px system-ui, sans-serif";
  pen.lineWidth = 1;
  pen.strokeStyle = colour("--soft");
  pen.fillStyle = colour("--quiet");
  pen.textAlign = "center";
  let last = -Infinity;
  for (const tick of chart.x.ticks) {
    const x = Math.round(chart.x.at(tick)) + 0.5;
    line(pen, x, MARGIN.top, x, bottom);
    if (x - last > 44) { pen.fillText(brief(quantityOf[state.x], tick), x, bottom + 17); last = x; }
  }
  pen.textAlign = "right";
  for (const tick of chart.y.ticks) {
    const y = Math.round(chart.y.at(tick)) + 0.5;
    line(pen, MARGIN.left, y, right, y);
    pen.fillText(brief(quantityOf[state.y], tick), MARGIN.left - 8, y + 4);
  }
  pen.strokeStyle = colour("--line");
  line(pen, MARGIN.left, bottom + 0.5, right, bottom + 0.5);
  line(pen, MARGIN.left + 0.5, MARGIN.top, MARGIN.left + 0.5, bottom);
  pen.fillStyle = colour("--ink");
  pen.font = "13px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.fillText(titled(quantityOf[state.x]) + (state.logX ? ", logarithmic" : ""), (MARGIN.left + right) / 2, box.height - 8);
  pen.save();
  pen.translate(14, (MARGIN.top + bottom) / 2);
  pen.rotate(-Math.PI / 2);
  pen.fillText(titled(quantityOf[state.y]) + (state.logY ? ", logarithmic" : ""), 0, 0);
  pen.restore();
}

function line(pen, x0, y0, x1, y1) {
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
}

function drawFaint(pen) {
  pen.fillStyle = colour("--faint");
  pen.globalAlpha = size > 2000 ? 0.45 : 0.85;
  pen.beginPath();
  for (let row = 0; row < size; row += 1) {
    if (!chart.passed[row] && !Number.isNaN(chart.px[row])) pen.rect(chart.px[row] - 2, chart.py[row] - 2, 4, 4);
  }
  pen.fill();
  pen.globalAlpha = 1;
}

/** The intervals of quantities that come with `_low` and `_high`. */
function drawIntervals(pen, rows) {
  pen.lineWidth = 1.2;
  pen.globalAlpha = 0.65;
  for (const row of rows) {
    pen.strokeStyle = runColour(table.run[row]);
    const [x, y] = [chart.px[row], chart.py[row]];
    const [lowX, highX] = intervalOf(state.x, row);
    if (!Number.isNaN(lowX)) line(pen, chart.x.at(lowX), y, chart.x.at(highX), y);
    const [lowY, highY] = intervalOf(state.y, row);
    if (!Number.isNaN(lowY)) line(pen, x, chart.y.at(lowY), x, chart.y.at(highY));
  }
  pen.globalAlpha = 1;
}

const intervalOf = (name, row) => [columns[`${name}_low`]?.[row] ?? NaN, columns[`${name}_high`]?.[row] ?? NaN];

/** Steps along each run's front, as far as it is one in the two quantities shown. */
function drawFrontLines(pen) {
  const [goodX, goodY] = [direction(state.x), direction(state.y)];
  if (!goodX || !goodY) return;
  content.runs.forEach((run, index) => {
    const members = [];
    for (let row = 0; row < size; row += 1) if (table.run[row] === index && isOnFront(row) && !Number.isNaN(chart.px[row])) members.push(row);
    const steps = stairs(members, goodX, goodY);
    if (steps.length < 2) return;
    pen.strokeStyle = runColour(index);
    pen.lineWidth = 1.6;
    pen.globalAlpha = 0.8;
    pen.setLineDash(index % 2 ? [6, 4] : []);
    pen.beginPath();
    steps.forEach((row, place) => {
      if (place) pen.lineTo(chart.px[row], chart.py[steps[place - 1]]);
      else pen.moveTo(chart.px[row], chart.py[row]);
      pen.lineTo(chart.px[row], chart.py[row]);
    });
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 1;
  });
}

/** 1 where more is better, -1 where less is, 0 where nothing says so. */
const direction = (name) => ({ maximize: 1, minimize: -1 })[quantityOf[name].direction] ?? 0;

/** Rows that no other of them beats in both, the best in x first. */
function stairs(rows, goodX, goodY) {
  const [xs, ys] = [columns[state.x], columns[state.y]];
  const ordered = [...rows].sort((a, b) => goodX * (xs[b] - xs[a]) || goodY * (ys[b] - ys[a]));
  let best = -Infinity;
  return ordered.filter((row) => goodY * ys[row] > best && ((best = goodY * ys[row]), true));
}

/** Many marks: each run's is drawn once and stamped, which is ten times as fast as one path of them all. */
function drawStamps(pen, rows) {
  const side = 12;
  const ratio = window.devicePixelRatio || 1;
  const stamps = content.runs.map((run, index) => [false, true].map((isHollow) => {
    const canvas = element("canvas", { width: side * ratio, height: side * ratio });
    const brush = canvas.getContext("2d");
    brush.scale(ratio, ratio);
    brush.beginPath();
    trace(brush, shapeOf(index), side / 2, side / 2, 3);
    brush.strokeStyle = brush.fillStyle = runColour(index);
    brush.lineWidth = 1.6;
    if (isHollow) brush.stroke();
    else brush.fill();
    return canvas;
  }));
  pen.globalAlpha = 0.75;
  for (const row of rows) {
    if (Number.isNaN(chart.px[row])) continue;
    pen.drawImage(stamps[table.run[row]][Number(isProvisional(row))], chart.px[row] - side / 2, chart.py[row] - side / 2, side, side);
  }
  pen.globalAlpha = 1;
}

function drawMarks(pen, rows) {
  const radius = 5.5;
  const ground = colour("--card");
  for (const isHollow of [false, true]) {
    content.runs.forEach((run, index) => {
      pen.beginPath();
      for (const row of rows) {
        if (table.run[row] === index && isProvisional(row) === isHollow && !Number.isNaN(chart.px[row])) {
          trace(pen, shapeOf(index), chart.px[row], chart.py[row], isOnJoint(row) && hasSeveralRuns ? radius * 1.25 : radius);
        }
      }
      pen.fillStyle = isHollow ? ground : runColour(index);
      pen.fill();
      pen.strokeStyle = isHollow ? runColour(index) : ground;
      pen.lineWidth = isHollow ? 1.8 : 1;
      pen.stroke();
    });
  }
}

/** What moves: the network chosen, the one under the pointer, the rectangle being drawn. */
function drawOver(hovered, frame = null) {
  const box = byId("canvas").getBoundingClientRect();
  const pen = sharp(byId("over"), box);
  for (const [row, width] of [[state.chosen, 3], [hovered, 2]]) {
    if (row === null || Number.isNaN(chart.px[row])) continue;
    pen.strokeStyle = colour("--ink");
    pen.lineWidth = width;
    pen.beginPath();
    pen.arc(chart.px[row], chart.py[row], 10, 0, 7);
    pen.stroke();
  }
  if (frame) {
    pen.strokeStyle = colour("--accent");
    pen.fillStyle = colour("--accent");
    pen.strokeRect(frame.x, frame.y, frame.w, frame.h);
    pen.globalAlpha = 0.12;
    pen.fillRect(frame.x, frame.y, frame.w, frame.h);
    pen.globalAlpha = 1;
  }
}

/** The network that a place on the chart means: one that passes, else a faint one; null where none is near. */
function nearest(x, y) {
  for (const wanted of [1, 0]) {
    let [best, distance] = [null, NEAR * NEAR];
    for (let row = 0; row < size; row += 1) {
      if (chart.passed[row] !== wanted) continue;
      const d = (chart.px[row] - x) ** 2 + (chart.py[row] - y) ** 2;
      if (d < distance) [best, distance] = [row, d];
    }
    if (best !== null) return best;
  }
  return null;
}

/** A run's mark as a small drawing. */
function swatch(run, { isHollow = false } = {}) {
  const path = new PathWords();
  trace(path, shapeOf(run), 7, 7, 5);
  return drawing("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" },
    drawing("path", { d: path.words.join(""), fill: isHollow ? "none" : `var(--run-${run % 8})`, stroke: `var(--run-${run % 8})`, "stroke-width": 1.6 }));
}

class PathWords {
  words = [];
  moveTo(x, y) { this.words.push(`M${x},${y}`); }
  lineTo(x, y) { this.words.push(`L${x},${y}`); }
  closePath() { this.words.push("Z"); }
  arc(x, y, r) { this.words.push(`M${x + r},${y}A${r},${r} 0 1 1 ${x - r},${y}A${r},${r} 0 1 1 ${x + r},${y}Z`); }
}
