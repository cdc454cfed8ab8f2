// What was measured beside the searches: fronts measured again, and published networks.

const rowOfCandidate = (index, id) => table.id.findIndex((each, row) => each === id && table.run[row] === index);
const isShownRun = (run) => run.group === state.group || content.groups.length === 1;

function listing(id, titles, lines) {
  return element("div", { class: "card scroll" }, element("table", { id },
    element("thead", {}, element("tr", {}, ...titles.map(([title, kind]) => element("th", { class: kind }, title)))),
    element("tbody", {}, ...lines)));
}

/** A quantity's name as the heading of a column of numbers. */
const besideTitle = (name) => [titled(quantityOf[name] ?? { label: name, unit: "", form: "number" }), "number"];
const inForm = (name, value) => (value === null ? NONE : written(quantityOf[name] ?? { form: "number" }, value));

/** Each member of an honest front: likely values with their intervals, and how sure its place is. */
function drawHonest() {
  const confirmed = content.runs.map((run, index) => ({ run, index })).filter(({ run }) => run.honest.length);
  if (!confirmed.length) { byId("honest").replaceChildren(); return; }
  byId("honest").replaceChildren(element("h2", {}, "Honest front"),
    ...confirmed.map(({ run, index }) => {
      const names = run.objectives.map((each) => each.name);
      const interval = (name, [low, value, high]) => (low === high ? inForm(name, value) : `${inForm(name, value)} [${inForm(name, low)}, ${inForm(name, high)}]`);
      const line = (each) => element("tr", {},
        element("td", {}, element("button", { type: "button", on: { click: () => choose(rowOfCandidate(index, each.id), { isFromOutside: true }) } }, hasSeveralRuns ? `${run.name} #${each.id}` : `#${each.id}`)),
        element("td", { class: "number" }, each.probability.toFixed(2), element("span", { class: "share", css: { width: `${4.2 * each.probability}em` } })),
        ...names.map((name) => element("td", { class: "number" }, interval(name, each.values[name]))),
        element("td", { class: "number" }, Object.values(each.measured).join("+") || NONE));
      return listing(`honest-${index}`, [["network", null], ["P(not dominated)", "number"], ...names.map(besideTitle), ["measured", "number"]], run.honest.map(line));
    }),
    element("p", { class: "quiet small" }, "Measured again after the search. Likely values with 95 % intervals: the mean of all measurements of a network, drawn towards networks of like cost. P(not dominated): how likely it is that no other network is truly as good in everything and better in something. Measured: how often, by quantity."));
}

/** Published networks with what was measured of them, apart from what they are known for. */
function drawPublished() {
  const measured = content.runs.filter((run) => run.published.length && isShownRun(run));
  if (!measured.length) { byId("published").replaceChildren(); return; }
  const names = [...new Set(measured.flatMap((run) => run.objectives.map((each) => each.name)))];
  const line = (run, each) => element("tr", {},
    element("td", {}, each.name), element("td", {}, run.name),
    ...names.map((name) => element("td", { class: "number" }, inForm(name, each.values[name] ?? null))),
    element("td", { class: "number" }, each.imagenet_top1 === null ? NONE : each.imagenet_top1.toFixed(3)),
    element("td", { class: "why" }, each.standing));
  byId("published").replaceChildren(element("h2", {}, "Published networks"),
    listing("published-list", [["network", null], ["measured in", null], ...names.map(besideTitle), ["ImageNet top-1, as published", "number"], ["status", null]],
      measured.flatMap((run) => run.published.map((each) => line(run, each)))),
    element("p", { class: "quiet small" }, "Measured as the networks of the search were: same device, software, settings and resolution. Where the proxy did not train one it has no accuracy here. The published accuracy is of another training at another resolution, and compares with no accuracy of the proxy."));
}
