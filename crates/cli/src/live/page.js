"use strict";

// Draws the runs that the program streams: losses and learning rates by step, and validations.

const COLOURS = 8;
const NUMBER = new Intl.NumberFormat("en");
const $ = (id) => document.getElementById(id);

let title = "klayer";
let section = "";
let planned = 0;
let runs = new Map();
let drawing = false;

function clear() {
  section = "";
  planned = 0;
  runs = new Map();
}

// The events of the stream.
const EVENTS = {
  hello(data) {
    clear();
    title = data.title;
    say("live", "waiting for the first step");
  },
  section(data) {
    clear();
    section = data.title;
    planned = data.runs;
  },
  run(data) {
    const taken = new Set([...runs.values()].filter((run) => !run.ended).map((run) => run.colour));
    let colour = 0;
    while (taken.has(colour)) colour++;
    colour %= COLOURS;
    runs.set(data.run, { name: data.name, steps: data.steps, colour, done: 0, ended: false, stepped: false, losses: [], points: [], rates: [] });
    say("live", "live");
  },
  step(data) {
    const run = runs.get(data.run);
    if (!run) return;
    run.done = data.step;
    run.stepped = true;
    run.losses.push([data.step, data.loss]);
    run.rates.push([data.step, data.rate]);
  },
  point(data) {
    const run = runs.get(data.run);
    if (!run) return;
    run.done = Math.max(run.done, data.step);
    run.points.push(data);
    // For steps before the checkpoint of a resumed run, only validations are available.
    const last = (curve) => (curve.length ? curve[curve.length - 1][0] : 0);
    if (last(run.losses) < data.step && !run.stepped) run.losses.push([data.step, data.batch_loss]);
    if (last(run.rates) < data.step) run.rates.push([data.step, data.rate]);
  },
  end(data) {
    const run = runs.get(data.run);
    if (!run) return;
    run.ended = true;
    run.done = Math.max(run.done, data.done);
  },
  done() {
    source.close();
    const early = [...runs.values()].filter((run) => run.done < run.steps);
    const what = early.length ? `ended early, at step ${NUMBER.format(early[0].done)}` : "finished";
    say("ended", runs.size ? what : "ended");
  },
};

function say(state, words) {
  const element = $("state");
  if (element.textContent !== words) element.textContent = words;
  element.className = state;
}

const source = new EventSource("/events");
for (const [name, act] of Object.entries(EVENTS)) {
  source.addEventListener(name, (event) => {
    act(JSON.parse(event.data));
    draw();
  });
}
source.addEventListener("open", () => say("live", runs.size ? "live" : "waiting for the first step"));
source.addEventListener("error", () => {
  const gone = source.readyState === EventSource.CLOSED;
  say("lost", gone ? "connection lost" : "connection lost, reconnecting");
});

// Draws at most once per frame.
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const shown = [...runs.values()];
    const single = shown.length === 1 && planned <= 1;
    drawWords(shown, single);
    drawLegend(shown, single);
    drawCharts(shown, single);
    drawTable(shown);
  });
}

function drawWords(shown, single) {
  const ended = shown.filter((run) => run.ended).length;
  let words = section;
  let short = title;
  if (single) {
    const { done, steps, points } = shown[0];
    const last = points[points.length - 1];
    words = `step ${NUMBER.format(done)} of ${NUMBER.format(steps)}`;
    if (last) {
      words += `, epoch ${last.epoch.toFixed(1)}, ${last.seconds.toFixed(1)} s`;
      short = last.validation_accuracy === null ? title : `${percent(last.validation_accuracy)} – ${title}`;
    }
  } else if (planned) {
    words += `: ${planned} runs`;
    if (shown.length) words += `, ${shown.length - ended} running, ${ended} ended in this process`;
    short = `${section} – ${title}`;
  }
  $("section").textContent = words;
  $("title").textContent = single ? `${title}: ${shown[0].name}` : title;
  document.title = short;
}

function drawLegend(shown, single) {
  const entries = single
    ? [["line thin c0", "training (mean over steps)"], ["line c1", "validation"]]
    : shown.filter((run) => !run.ended).map((run) => [`line c${run.colour}`, run.name]);
  if (!single && entries.length) entries.push(["line thin gone", "ended"], ["line thin", "thin: training"]);
  const items = entries.map(([style, name]) => {
    const item = document.createElement("li");
    const swatch = svg("svg", { viewBox: "0 0 28 14", "aria-hidden": "true" });
    swatch.append(svg("path", { class: style, d: "M2 7H26", stroke: "currentColor" }));
    item.append(swatch, name);
    return item;
  });
  $("legend").replaceChildren(...items);
}

function drawCharts(shown, single) {
  const width = Math.max(1, ...shown.map((run) => run.done));
  // Without validation images, there are no such numbers.
  const curve = (run, key) => run.points.filter((point) => point[key] !== null).map((point) => [point.step, point[key]]);
  const style = (run, colour) => (run.ended && !single ? "gone" : `c${single ? colour : run.colour}`);
  const order = [...shown].sort((a, b) => b.ended - a.ended);
  const losses = order.flatMap((run) => [
    { points: run.losses, style: `line thin ${style(run, 0)}` },
    { points: curve(run, "validation_loss"), style: `line ${style(run, 1)}`, end: true },
  ]);
  const accuracies = order.map((run) => ({ points: curve(run, "validation_accuracy"), style: `line ${style(run, 1)}`, end: true }));
  const rates = order.map((run) => ({ points: run.rates, style: `line ${style(run, 0)}` }));
  chart("loss", "Loss against update steps", width, losses, decimal);
  chart("accuracy", "Validation accuracy against update steps", width, accuracies, (y, apart) => `${decimal(100 * y, 100 * apart)}%`);
  chart("rate", "Learning rate against update steps", width, rates, (y, apart) => (y && apart < 1e-3 ? y.toExponential() : decimal(y, apart)));
}

// Formats a number with enough decimals to distinguish numbers that are `apart`.
function decimal(value, apart) {
  return value.toFixed(Math.max(0, Math.ceil(-Math.log10(apart) - 1e-9)));
}

// About `count` round numbers within lo and hi.
function ticks(lo, hi, count) {
  const rough = (hi - lo) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
  const found = [];
  for (let i = Math.ceil(lo / step - 1e-9); i * step <= hi + 1e-9 * step; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

function chart(id, name, steps, curves, label) {
  const place = $(id);
  const [width, height] = [place.clientWidth, place.clientHeight];
  const values = curves.flatMap((curve) => curve.points.map((point) => point[1]));
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-labelledby": `${id}-title` });
  const heading = svg("title", { id: `${id}-title` });
  heading.textContent = name;
  root.append(heading);
  const [left, right, top, bottom] = [52, width - 10, 10, height - 36];
  let lo = values.reduce((least, value) => Math.min(least, value), Infinity);
  let hi = values.reduce((most, value) => Math.max(most, value), -Infinity);
  if (!values.length) [lo, hi] = [0, 1];
  if (hi - lo < 1e-9) [lo, hi] = [lo - Math.abs(lo) / 10 - 1e-6, hi + Math.abs(hi) / 10 + 1e-6];
  const margin = 0.05 * (hi - lo);
  const floor = lo >= 0 ? 0 : -Infinity;
  [lo, hi] = [Math.max(floor, lo - margin), hi + margin];
  const x = (step) => left + ((right - left) * step) / steps;
  const y = (value) => bottom - ((bottom - top) * (value - lo)) / (hi - lo);
  const text = (at, words, anchor) => {
    const node = svg("text", { x: at[0], y: at[1], "text-anchor": anchor });
    node.textContent = words;
    root.append(node);
  };
  if (values.length) {
    const marks = ticks(lo, hi, 5);
    for (const tick of marks) {
      root.append(svg("path", { class: "grid", d: `M${left} ${y(tick)}H${right}` }));
      text([left - 6, y(tick) + 4], label(tick, marks.length > 1 ? marks[1] - marks[0] : hi - lo), "end");
    }
    for (const tick of ticks(0, steps, Math.max(2, Math.floor(width / 110)))) {
      const most = x(tick) > right - 16;
      text([most ? right : x(tick), bottom + 16], NUMBER.format(tick), most ? "end" : "middle");
    }
  } else {
    text([(left + right) / 2, (top + bottom) / 2], "no data yet", "middle");
  }
  text([(left + right) / 2, height - 4], "update step", "middle");
  root.append(svg("path", { class: "axis", d: `M${left} ${bottom}H${right}` }));
  for (const { points, style, end } of curves) {
    if (!points.length) continue;
    const path = points.map(([step, value]) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
    root.append(svg("path", { class: style, d: `M${path}` }));
    const [step, value] = points[points.length - 1];
    if (end && !style.includes("gone")) {
      root.append(svg("circle", { class: style.replace("line", "dot"), cx: x(step), cy: y(value), r: 4 }));
    }
  }
  place.replaceChildren(root);
}

function drawTable(shown) {
  const rows = shown.filter((run) => !run.ended || shown.length === 1 || shown.every((other) => other.ended)).map((run) => {
    const point = run.points[run.points.length - 1];
    const loss = run.losses[run.losses.length - 1];
    const rate = run.rates[run.rates.length - 1];
    const cells = [
      `${NUMBER.format(run.done)} of ${NUMBER.format(run.steps)}`,
      loss ? loss[1].toFixed(4) : "–",
      point && point.validation_loss !== null ? point.validation_loss.toFixed(4) : "–",
      point && point.validation_accuracy !== null ? percent(point.validation_accuracy) : "–",
      rate ? rate[1].toPrecision(3) : "–",
    ];
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = run.name;
    row.append(head, ...cells.map((words) => {
      const cell = document.createElement("td");
      cell.textContent = words;
      return cell;
    }));
    return row;
  });
  $("rows").replaceChildren(...rows);
}

function percent(part) {
  return `${(100 * part).toFixed(2)}%`;
}

function svg(name, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

new ResizeObserver(draw).observe($("charts"));
