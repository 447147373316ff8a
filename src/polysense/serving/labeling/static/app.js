// The labeling page. Whatever comes from a table is set as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const state = {
  session: null, token: "", name: "", tab: "", row: null, started: 0, busy: false, progress: null,
  chosen: new Set(), spans: [], mode: "label", past: [], at: -1, view: "label",
};

// --- elements -----------------------------------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) element.append(child);
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const number = (value) => value.toLocaleString("en-US");
const percent = (value) => `${(100 * value).toFixed(value && value !== 1 && (value > 0.995 || value < 0.005) ? 1 : 0)}%`;

// --- requests -----------------------------------------------------------------------------------------------------

class Refused extends Error {}

async function request(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json", "X-Token": state.token }, body: JSON.stringify(body),
  };
  const response = await fetch(path, { ...options, cache: "no-store" });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const reason = answer.error || `the server answers ${response.status}`;
  if (response.status === 403 || response.status >= 500) throw new Error(reason);
  throw new Refused(reason);
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// A decision is sent under one id until the server has confirmed it, so that none is lost and none counts twice.
async function send(path, body) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const answer = await request(path, body);
      if (attempt) alertWith("");
      return answer;
    } catch (error) {
      if (error instanceof Refused) throw error;
      alertWith(`Not saved yet: ${error.message || "the server does not answer"}. Trying again ...`);
      await pause(Math.min(200 * 2 ** attempt, 3000));
      try {
        const session = await request("api/session");
        if (session.table !== state.session.table || session.target !== state.session.target)
          throw new Refused("another table is being labeled at this address now; start its server again");
        state.token = session.token;
      } catch (failure) { if (failure instanceof Refused) throw failure; }
    }
  }
}

function alertWith(text) {
  byId("alert").textContent = text;
  byId("alert").hidden = !text;
}

const status = (text) => { byId("status").textContent = text; };
const own = () => ({ annotator: state.name, tab: state.tab });
const query = (values) => new URLSearchParams({ ...own(), ...values }).toString();

// --- rows ---------------------------------------------------------------------------------------------------------

function cellOf(cell, over) {
  const block = make("div", { class: cell.absent ? "cell absent" : "cell" }, make("h2", {}, cell.column));
  const media = cell.media.map((each) => mediaOf(each, cell.column));
  if (media.length) block.append(make("div", { class: "media" }, media));
  for (const text of cell.texts) {
    const short = text.length < 40 ? " short" : "";
    const paragraph = make("p", { class: `text${short}` }, text);
    if (over && cell.column === over) paragraph.id = "span-text";
    block.append(paragraph);
  }
  if (cell.note) block.append(make("p", { class: "note" }, cell.note));
  return block;
}

function mediaOf(media, column) {
  const isPlayer = media.element !== "img";
  const element = make(media.element, isPlayer
    ? { src: media.url, controls: true, preload: "auto", "aria-label": column, loop: media.element === "video" }
    : { src: media.url, alt: column });
  if (!isPlayer) element.addEventListener("load", () => {
    if (element.naturalWidth < 200) element.classList.add("small");
  });
  element.addEventListener("error", async () => {
    if (media.fallback) {
      element.replaceWith(mediaOf({ element: "img", url: media.fallback }, column));
      return;
    }
    const response = await fetch(media.url).catch(() => null);
    const reason = response && !response.ok ? await response.text() : "this browser can't show it";
    element.replaceWith(make("p", { class: "note" }, reason));
  });
  return element;
}

function show(row, mode = "label") {
  Object.assign(state, { row, mode, started: performance.now(), chosen: new Set(), spans: [] });
  const place = byId("row");
  place.replaceChildren();
  byId("panel").hidden = false;
  if (!row) {
    byId("about").textContent = "";
    byId("control").replaceChildren();
    place.append(make("h2", {}, "Nothing is left to label"),
      make("p", { class: "mute" }, "Every row has a label, or was left out on purpose. Undo, Back and the search still work."));
    return;
  }
  const over = state.session.settings.over;
  const main = row.cells.filter((cell) => !cell.folded);
  const isFact = (cell) => !cell.whole && !cell.media.length && cell.texts.join("").length < 40;
  place.append(...main.filter((cell) => !isFact(cell)).map((cell) => cellOf(cell, over)));
  const facts = main.filter(isFact).map((cell) => cellOf(cell));
  if (facts.length) place.append(make("div", { class: "facts" }, facts));
  const folded = row.cells.filter((cell) => cell.folded && !cell.absent).map((cell) => cellOf(cell));
  if (folded.length) place.append(make("details", {}, make("summary", {}, `${folded.length} more ${folded.length === 1 ? "column" : "columns"}`),
    make("div", { class: "facts" }, folded)));
  about(row);
  control(row);
  if (matchMedia("(max-width: 860px)").matches) scrollTo(0, 0);
}

function about(row) {
  const parts = [`Row ${number(row.row)}`];
  if (row.is_held_out) parts.push("held out: a random row for the honest score, without a guess");
  if (row.own) parts.push(`you said: ${spelled(row.own)}`);
  if (row.given !== null && row.given !== undefined) parts.push(`in the table: ${asText(row.given)}`);
  if (state.mode === "adjudicate") parts.unshift("Settle the difference");
  byId("about").textContent = parts.join(" · ");
}

const spelled = (decision) => (decision.kind === "label" ? asText(decision.value)
  : decision.kind === "unsure" ? "can’t tell" : "skipped");

function asText(value) {
  if (!Array.isArray(value)) return String(value);
  if (!value.length) return "none";
  return value.map((part) => (typeof part === "object" ? `${part.label} ${part.start}–${part.end}` : part)).join(", ");
}

// --- controls -----------------------------------------------------------------------------------------------------

const controls = {
  choice(place, row) { options(place, row, (name) => decide("label", name)); },

  choices(place, row) {
    const first = row.own && row.own.kind === "label" ? row.own.value : row.guess ? row.guess.value : [];
    state.chosen = new Set(first);
    options(place, row, (name) => {
      if (state.chosen.has(name)) state.chosen.delete(name); else state.chosen.add(name);
      press();
    });
    place.append(submit("Save these", () => decide("label", [...state.chosen])));
    press();
  },

  number_field(place, row) {
    const { low, high } = state.session.settings;
    const input = make("input", { id: "entry", inputmode: "decimal", autocomplete: "off", "aria-label": state.session.target,
      maxlength: "60", placeholder: low === null ? "a number" : `so far from ${low} to ${high}` });
    const guess = row.own && row.own.kind === "label" ? row.own.value : row.guess ? row.guess.value : "";
    input.value = guess;
    place.append(input, submit("Save", () => decide("label", input.value)));
    input.focus();
    input.select();
  },

  text_field(place, row) {
    const input = make("textarea", { id: "entry", "aria-label": state.session.target, maxlength: "100000" });
    if (row.own && row.own.kind === "label") input.value = row.own.value;
    place.append(input, submit("Save", () => decide("label", input.value)));
    input.focus();
  },

  spans(place, row) {
    if (row.own && row.own.kind === "label") state.spans = row.own.value.map((span) => ({ ...span }));
    place.append(make("p", { class: "mute small" }, "Select a stretch of the text, then press its label."));
    options(place, row, addSpan);
    place.append(make("div", { class: "chips", id: "chips" }), submit("Save these", () => decide("label", state.spans)));
    mark();
  },
};

function control(row) {
  const place = byId("control");
  place.replaceChildren();
  if (row.by) place.append(make("ul", { class: "others" }, Object.entries(row.by).map(([name, each]) =>
    make("li", {}, make("span", { class: "mute" }, name), make("strong", {}, each.spelled)))));
  (controls[state.session.control] || controls.text_field)(place, row);
}

function submit(text, act) {
  return make("button", { type: "button", class: "main", id: "save", onclick: act }, text, " ", make("kbd", {}, "Enter"));
}

function options(place, row, act) {
  const names = state.session.settings.options;
  const shares = new Map(row.guess ? row.guess.ranked : []);
  const list = make("div", { class: "options", role: "group", "aria-label": state.session.target });
  names.forEach((name, index) => {
    const share = shares.get(name);
    const isGuess = state.session.control === "choice" && row.guess !== null && row.guess.value === name;
    const button = make("button", { type: "button", class: isGuess ? "option guess" : "option", onclick: () => act(name),
      "data-name": name }, index < 9 ? make("kbd", {}, String(index + 1)) : null, make("span", { class: "label" }, name));
    if (share !== undefined) button.append(make("span", { class: "share" }, isGuess ? `guess, ${percent(share)}` : percent(share)));
    if (share !== undefined) {
      const fill = make("span", { class: "fill", "aria-hidden": "true" });
      fill.style.width = `${100 * share}%`;
      button.append(fill);
    }
    if (state.session.control === "choice" && row.own && row.own.kind === "label" && row.own.value === name)
      button.setAttribute("aria-pressed", "true");
    list.append(button);
  });
  if (names.length > 9) {
    const filter = make("input", { id: "filter", class: "filter", placeholder: "Find a label (f)", autocomplete: "off",
      "aria-label": "Find a label" });
    filter.addEventListener("input", () => {
      const text = filter.value.trim().toLowerCase();
      for (const button of list.children) button.hidden = !button.dataset.name.toLowerCase().includes(text);
    });
    filter.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { filter.value = ""; filter.dispatchEvent(new Event("input")); filter.blur(); }
      if (event.key !== "Enter") return;
      event.preventDefault();
      const first = [...list.children].find((button) => !button.hidden);
      if (first) { first.click(); filter.value = ""; filter.dispatchEvent(new Event("input")); }
    });
    place.append(filter);
  }
  place.append(list);
}

function press() {
  for (const button of document.querySelectorAll(".option"))
    button.setAttribute("aria-pressed", state.chosen.has(button.dataset.name) ? "true" : "false");
}

// Places in texts are counted in characters, as Python counts them, and not in UTF-16's units.
const characters = (text) => Array.from(text).length;

function addSpan(label) {
  const place = byId("span-text");
  const selection = getSelection();
  if (!place || !selection.rangeCount || selection.isCollapsed || !place.contains(selection.anchorNode)
      || !place.contains(selection.focusNode)) {
    status("Select a stretch of the text first.");
    return;
  }
  const range = selection.getRangeAt(0);
  const before = document.createRange();
  before.setStart(place, 0);
  before.setEnd(range.startContainer, range.startOffset);
  const selected = range.toString();
  const start = characters(before.toString()) + characters(selected) - characters(selected.trimStart());
  const end = start + characters(selected.trim());
  if (end > start) state.spans.push({ start, end, label });
  selection.removeAllRanges();
  mark();
}

function mark() {
  const place = byId("span-text");
  if (!place) return;
  const letters = Array.from(place.textContent);
  const names = state.session.settings.options;
  state.spans.sort((a, b) => a.start - b.start || a.end - b.end);
  place.replaceChildren();
  let at = 0;
  for (const span of state.spans) {
    if (span.start < at) continue;  // beneath another one: its chip says it
    place.append(letters.slice(at, span.start).join(""),
      make("mark", { class: `c${names.indexOf(span.label) % 4}`, "data-label": span.label }, letters.slice(span.start, span.end).join("")));
    at = span.end;
  }
  place.append(letters.slice(at).join(""));
  byId("chips").replaceChildren(...state.spans.map((span, index) => make("button", {
    type: "button", "aria-label": `Remove ${span.label}`,
    onclick: () => { state.spans.splice(index, 1); mark(); },
  }, `${span.label}: ${letters.slice(span.start, Math.min(span.end, span.start + 24)).join("")} ×`)));
}

// --- decisions ----------------------------------------------------------------------------------------------------

const PENDING = "polysense.pending";

async function decide(kind, value) {
  if (state.busy || !state.row) return;
  state.busy = true;
  const settles = state.mode === "adjudicate" && kind === "label";
  const body = {
    ...own(), id: crypto.randomUUID(), row: state.row.row, key: state.row.key, kind: settles ? "adjudicate" : kind,
    value: value === undefined ? null : value, seconds: (performance.now() - state.started) / 1000, follow: !settles,
  };
  try {
    sessionStorage.setItem(PENDING, JSON.stringify(body));
    const answer = await send("api/decide", body);
    sessionStorage.removeItem(PENDING);
    Object.assign(state, { past: [], at: -1 });
    alertWith("");
    status(`Saved: ${kind === "label" ? asText(value) : kind === "skip" ? "skipped" : "can’t tell"}`);
    if (settles) await view("differences"); else take(answer);
  } catch (error) {
    sessionStorage.removeItem(PENDING);
    alertWith(`Not saved: ${error.message}`);
  } finally { state.busy = false; }
}

function take(answer) {
  if (answer.progress) progressed(answer.progress);
  for (const url of answer.preload || []) new Image().src = url;
  show(answer.row);
}

async function act(work) {
  if (state.busy) return;
  state.busy = true;
  try { await work(); alertWith(""); } catch (error) { alertWith(error.message); } finally { state.busy = false; }
}

const next = () => act(async () => {
  Object.assign(state, { past: [], at: -1 });
  take(await send("api/next", own()));
});

const undo = () => act(async () => {
  const answer = await send("api/undo", { ...own(), id: crypto.randomUUID() });
  if (!answer.row) { status("There is nothing to undo."); return; }
  Object.assign(state, { past: [], at: -1 });
  show(answer.row);
  status("Taken back; decide again.");
  refresh();
});

const back = () => act(async () => {
  if (state.at < 0) state.past = (await request(`api/history?${query({})}`)).rows;
  const at = state.at + 1;
  if (at >= state.past.length) { status("There is no earlier row."); return; }
  show((await request(`api/row/${state.past[at].row}?${query({})}`)).row);
  state.at = at;
  status("An earlier row: decide again to change it, or press n to go on.");
});

const open = (row, extra = {}, mode = "label") => act(async () => {
  const answer = await request(`api/row/${row}?${query({})}`);
  byId("results").hidden = true;
  views("label");
  show({ ...answer.row, ...extra }, mode);
  byId("work").focus();
});

async function refresh() {
  progressed(await request(`api/progress?${query({})}`).catch(() => state.progress));
}

function progressed(progress) {
  if (!progress) return;
  state.progress = progress;
  const done = progress.labeled + progress.unsure;
  const share = done + progress.waiting ? done / (done + progress.waiting) : 1;
  byId("meter").setAttribute("aria-valuenow", String(Math.round(100 * share)));
  byId("meter").firstElementChild.style.width = `${100 * share}%`;
  byId("meter").title = `${number(done)} decided, ${number(progress.waiting)} waiting`;
  byId("num-differences").textContent = progress.differ ? String(progress.differ) : "";
}

// --- views --------------------------------------------------------------------------------------------------------

function views(name) {
  state.view = name;
  for (const each of ["label", "progress", "differences"]) {
    byId(`view-${each}`).hidden = each !== name;
    byId(`tab-${each}`).setAttribute("aria-pressed", String(each === name));
  }
}

async function view(name) {
  views(name);
  byId("results").hidden = true;
  try {
    if (name === "progress") await drawProgress();
    if (name === "differences") await drawDifferences();
    if (name === "label" && !state.row) take(await send("api/next", own()));
  } catch (error) { alertWith(error.message); }
}

function numbers(pairs) {
  return make("dl", { class: "numbers" }, pairs.filter(([, value]) => value !== null).map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

const box = (title, ...children) => make("section", { class: "box" }, make("h2", {}, title), ...children);

async function drawProgress() {
  const [progress, agreed] = await Promise.all([request(`api/progress?${query({})}`), request("api/agreement")]);
  progressed(progress);
  const place = byId("view-progress");
  const parts = [box("Rows", numbers([
    ["labeled", number(progress.labeled)], ["waiting for you", number(progress.waiting)], ["can’t tell", number(progress.unsure)],
    ["skipped", number(progress.skipped)], ["of these held out", number(progress.num_held_out)],
    ["labeled in the table", progress.given ? number(progress.given) : null],
    ["seconds a row, median", progress.median_seconds === null ? null : progress.median_seconds.toFixed(1)],
  ]))];
  const notes = [];
  if (progress.orphans) notes.push(`${number(progress.orphans)} labeled rows are no longer in the table.`);
  if (progress.damaged) notes.push(`${number(progress.damaged)} lines of the journal are damaged and were left out.`);
  if (progress.unreadable) notes.push(`${number(progress.unreadable)} cells of the target are no label of the task.`);
  if (notes.length) parts[0].append(make("p", { class: "mute" }, notes.join(" ")));
  const counts = Object.entries(progress.by_label).sort((a, b) => b[1] - a[1]);
  if (counts.length) parts.push(box("Labels", bars(counts)));
  parts.push(curveBox(progress.assistant));
  parts.push(agreementBox(agreed));
  place.replaceChildren(...parts);
}

function bars(counts) {
  const most = Math.max(...counts.map(([, count]) => count));
  return make("div", { class: "bars" }, counts.slice(0, 40).flatMap(([name, count]) => {
    const fill = make("span");
    fill.style.width = `${(100 * count) / most}%`;
    return [make("span", { class: "name" }, name), make("span", { class: "track" }, fill), make("span", {}, number(count))];
  }));
}

function curveBox(assistant) {
  const title = "Learning curve";
  if (!assistant) return box(title, make("p", { class: "mute" },
    "No model learns beside you, so rows come at random. Held-out rows are kept for an honest score all the same."));
  const curve = assistant.curve;
  const parts = [];
  if (curve && curve.points.length) {
    const last = curve.points[curve.points.length - 1];
    const figure = (value) => (curve.is_share ? percent(value) : value.toPrecision(3));
    const amount = (value) => (curve.is_share ? `${(100 * value).toFixed(1)} points` : value.toPrecision(3));
    parts.push(make("p", {}, `Error on ${number(curve.num_held_out)} held-out rows: ${figure(last.error)} `
      + `(95% CI ${figure(last.interval[0])} to ${figure(last.interval[1])}) after ${number(last.num_labels)} labels.`));
    if (curve.gain !== null) parts.push(make("p", {}, `100 more labels would take off ${amount(curve.gain)} `
      + `(95% CI ${amount(curve.gain_interval[0])} to ${amount(curve.gain_interval[1])}), by a power law fitted to the points.`));
    parts.push(make("p", {}, make("strong", {}, { stop: "You may stop: ", "go on": "Go on: ", unknown: "Not known yet: " }[curve.advice]),
      `${curve.reason}.`));
    parts.push(curveOf(curve, figure));
  } else parts.push(make("p", { class: "mute" }, assistant.note || "The curve begins once some held-out rows have a label."));
  if (assistant.seconds !== null && assistant.seconds !== undefined) parts.push(make("p", { class: "mute small" },
    `The last update took ${assistant.seconds.toFixed(1)} s, beside your work. Features: ${assistant.features}.`));
  return box(title, ...parts);
}

function curveOf(curve, figure) {
  const [width, height, left, right, top, bottom] = [640, 240, 52, 12, 12, 34];
  const xs = curve.points.map((point) => Math.log(point.num_labels));
  const [low, high] = [Math.min(...xs), Math.max(...xs)];
  const most = Math.max(...curve.points.map((point) => point.interval[1])) || 1;
  const x = (value) => left + ((high > low ? (value - low) / (high - low) : 0.5) * (width - left - right));
  const y = (value) => top + (1 - value / most) * (height - top - bottom);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Error by number of labels, ${figure(curve.points[0].error)} at first, ${figure(curve.points.at(-1).error)} now` });
  for (const share of [0, 0.5, 1]) {
    const text = draw("text", { x: left - 6, y: y(share * most) + 4, "text-anchor": "end" });
    text.textContent = figure(share * most);
    svg.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(share * most), y2: y(share * most) }), text);
  }
  const upper = curve.points.map((point, i) => `${x(xs[i])},${y(point.interval[1])}`);
  const lower = curve.points.map((point, i) => `${x(xs[i])},${y(point.interval[0])}`).reverse();
  svg.append(draw("polygon", { class: "band", points: [...upper, ...lower].join(" ") }),
    draw("polyline", { class: "line", points: curve.points.map((point, i) => `${x(xs[i])},${y(point.error)}`).join(" ") }));
  curve.points.forEach((point, i) => {
    const text = draw("text", { x: x(xs[i]), y: height - 14, "text-anchor": i === curve.points.length - 1 ? "end" : "middle" });
    text.textContent = number(point.num_labels);
    svg.append(draw("circle", { class: "dot", cx: x(xs[i]), cy: y(point.error), r: 3.5 }), text);
  });
  return svg;
}

function agreementBox(agreed) {
  if (!agreed.num_rows) return box("Agreement", make("p", { class: "mute" },
    "Known once two annotators have labeled some rows in common; a share of the rows is given to everybody for this."));
  const alpha = agreed.alpha === null ? "not defined, since all labels are the same"
    : `${agreed.alpha.toFixed(2)}${agreed.interval ? ` (95% CI ${agreed.interval[0].toFixed(2)} to ${agreed.interval[1].toFixed(2)})` : ""}`;
  const rows = agreed.pairs.map((pair) => make("tr", {}, make("th", { scope: "row" }, `${pair.first} and ${pair.second}`),
    make("td", {}, number(pair.num_rows)), make("td", {}, percent(pair.share)),
    make("td", {}, pair.kappa === null ? "–" : pair.kappa.toFixed(2))));
  return box("Agreement", make("p", {}, `Krippendorff’s alpha over ${number(agreed.num_rows)} rows: ${alpha}. 1 is perfect, 0 is chance.`),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Agreement of each two annotators" },
      make("table", {}, make("thead", {}, make("tr", {}, ["Annotators", "Rows", "Same label", "Cohen’s kappa"].map((name) =>
        make("th", { scope: "col" }, name)))), make("tbody", {}, rows))));
}

async function drawDifferences() {
  const agreed = await request("api/agreement");
  const place = byId("view-differences");
  byId("num-differences").textContent = agreed.differing.length ? String(agreed.differing.length) : "";
  const explained = make("p", { class: "mute" }, agreed.differing.length
    ? "Annotators differ on these rows. Open one to settle it; what each of them said stays in the journal."
    : "Annotators differ on no row that nobody has settled.");
  const items = agreed.differing.map((each) => make("li", {}, make("button", {
    type: "button", onclick: () => open(each.row, { by: each.by, guess: null }, "adjudicate"),
  }, make("span", { class: "mute" }, String(each.row)), make("span", { class: "excerpt" }, each.excerpt),
  make("span", { class: "tag" }, Object.entries(each.by).map(([name, label]) => `${name}: ${label.spelled}`).join(" · ")))));
  place.replaceChildren(box("Differences", explained, make("ul", { class: "list" }, items)));
}

async function search() {
  const text = byId("search").value;
  const place = byId("results");
  if (!text.trim()) { place.hidden = true; return; }
  try {
    const { rows } = await request(`api/search?${query({ text })}`);
    if (byId("search").value !== text) return;
    place.replaceChildren(make("p", { class: "mute" }, rows.length ? `${rows.length === 50 ? "The first 50 rows" : number(rows.length) + (rows.length === 1 ? " row" : " rows")} with “${text}”`
      : `No row holds “${text}”.`),
    make("ul", { class: "list" }, rows.map((each) => make("li", {}, make("button", { type: "button", onclick: () => open(each.row) },
      make("span", { class: "mute" }, String(each.row)), make("span", { class: "excerpt" }, each.excerpt),
      make("span", { class: "tag" }, each.label || ""))))));
    place.hidden = false;
  } catch (error) { alertWith(error.message); }
}

// --- keys ---------------------------------------------------------------------------------------------------------

const KEYS = [
  ["1 to 9", "choose a label"], ["Enter", "take the guess, or save what is entered"], ["u", "undo the last decision"],
  ["b, n", "back to an earlier row, on to the next"], ["s", "skip: leave it for later"], ["0", "it can’t be told"],
  ["/", "search rows"], ["f", "find a label among many"], ["Space", "play or pause"], ["h", "this help"],
];

function accept() {
  const save = byId("save");
  if (save) { save.click(); return; }
  if (state.row && state.row.guess) decide("label", state.row.guess.value);
}

const acts = {
  u: undo, Backspace: undo, b: back, ArrowLeft: back, n: next, ArrowRight: next, s: () => decide("skip"),
  0: () => decide("unsure"), h: help, "?": help, "/": () => byId("search").focus(), Enter: accept,
  f: () => { if (byId("filter")) byId("filter").focus(); },
  " ": () => {
    const player = document.querySelector("#row audio, #row video");
    if (player) { if (player.paused) player.play(); else player.pause(); }
  },
};

document.addEventListener("keydown", (event) => {
  const field = event.target.closest("input, textarea");
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") { if (field) field.blur(); byId("results").hidden = true; return; }
  if (field && field.id === "entry" && event.key === "Enter" && !event.shiftKey) { event.preventDefault(); accept(); return; }
  // A number has no letters, so that the keys work in its field, too.
  const isKey = field && field.id === "entry" && state.session.control === "number_field" && "bnsuh/".includes(event.key);
  if (field && !isKey) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "z") { event.preventDefault(); undo(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || state.view !== "label" || !state.session) return;
  if (event.target.closest("button, summary, a, audio, video") && [" ", "Enter"].includes(event.key)) return;
  const options = document.querySelectorAll(".option");
  if (/^[1-9]$/.test(event.key) && options.length) {
    event.preventDefault();
    const button = options[Number(event.key) - 1];
    if (button && !state.busy) button.click();
  } else if (Object.hasOwn(acts, event.key)) {
    event.preventDefault();
    acts[event.key]();
  }
});

function help() {
  byId("keys").replaceChildren(...KEYS.flatMap(([key, text]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, text)]));
  byId("guideline").textContent = state.session.guideline;
  byId("guideline-part").hidden = !state.session.guideline;
  byId("help-dialog").showModal();
}

function askName() {
  byId("name").value = state.name || state.session.annotator || "";
  byId("name-dialog").showModal();
}

function named(name) {
  state.name = name.trim().replace(/\s+/g, " ");
  sessionStorage.setItem("polysense.name", state.name);
  localStorage.setItem("polysense.name", state.name);
  byId("who").textContent = state.name;
}

byId("name-dialog").addEventListener("cancel", (event) => { if (!state.name) event.preventDefault(); });
byId("name-dialog").addEventListener("close", () => {
  if (!byId("name").value.trim()) { if (!state.name) askName(); return; }
  named(byId("name").value);
  next();
});
byId("who").addEventListener("click", askName);
byId("help").addEventListener("click", help);
byId("undo").addEventListener("click", undo);
byId("back").addEventListener("click", back);
byId("skip").addEventListener("click", () => decide("skip"));
byId("unsure").addEventListener("click", () => decide("unsure"));
for (const name of ["label", "progress", "differences"]) byId(`tab-${name}`).addEventListener("click", () => view(name));
byId("search-form").addEventListener("submit", (event) => { event.preventDefault(); search(); });
let typing = 0;
byId("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(search, 200); });
addEventListener("beforeunload", (event) => { if (sessionStorage.getItem(PENDING)) event.preventDefault(); });
setInterval(() => { if (state.session && state.view === "progress" && !document.hidden) drawProgress().catch(() => {}); }, 5000);

async function begin() {
  state.tab = sessionStorage.getItem("polysense.tab") || crypto.randomUUID();
  sessionStorage.setItem("polysense.tab", state.tab);
  state.session = await request("api/session");
  state.token = state.session.token;
  document.title = `${state.session.target} · ${state.session.table}`;
  byId("title").textContent = state.session.target;
  byId("title").title = `${state.session.target} of ${state.session.table}`;
  const pending = sessionStorage.getItem(PENDING);
  if (pending) {
    await send("api/decide", { ...JSON.parse(pending), follow: false }).catch((error) => alertWith(`Not saved: ${error.message}`));
    sessionStorage.removeItem(PENDING);
  }
  const name = sessionStorage.getItem("polysense.name") || state.session.annotator || localStorage.getItem("polysense.name");
  if (!name) { askName(); return; }
  named(name);
  await next();
}

begin().catch((error) => alertWith(error.message));
