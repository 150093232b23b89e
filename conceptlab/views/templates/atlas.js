const CELL = 64; // pixels on a side from which a finer grid is worth its cells
const CLOSEST = 200; // pixels on a side of the finest grid's cells at the deepest zoom
const PAD = 18; // pixels around the whole atlas
const FADE = 220; // milliseconds from one grid to the next
const EASE = 75; // milliseconds in which a movement does 63 % of its way
const RIM = 1; // pixels on each side of a picture into which JPEG mixes its neighbour's colours
const FAINT = 0.07; // opacity of what the filter does not show
const VIEWS = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const canvas = get("atlas"), ctx = canvas.getContext("2d");
const still = matchMedia("(prefers-reduced-motion: reduce)");

let view, level = 0, faded = 0, before = null; // grid shown, when it came, the one that fades away
let chosen = null, hovered = null, shown; // cells: [grid, number]
let filter = null; // {kind, column, name}
let W = 1, H = 1, ratio = 1, frame = 0, last = 0, drawn = false;
let at = { x: 0.5, y: 0.5, u: 1 }, goal = { ...at }; // centre, and 1 / zoom: all three ease alike
let pointer = null; // of a mouse above the canvas
const fingers = new Map();

// --- pictures ---------------------------------------------------------------------------------

const loaded = new WeakMap(); // sheets to their bitmaps, or null while they are on the way

function ready(sheets) {
  if (!loaded.has(sheets)) {
    loaded.set(sheets, null);
    Promise.all(sheets.uris.map(bitmap)).then((all) => { loaded.set(sheets, all); redraw(); fill(); });
  }
  return loaded.get(sheets);
}

async function bitmap(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  return createImageBitmap(image);
}

function picture(target, sheets, number, x, y, side) {
  const all = ready(sheets);
  if (!all) {
    target.fillStyle = "#e9edf1";
    target.fillRect(x, y, side, side);
    return;
  }
  const place = number % sheets.sheet, { size, pitch, line } = sheets;
  target.drawImage(all[Math.floor(number / sheets.sheet)], (place % line) * pitch + RIM,
    Math.floor(place / line) * pitch + RIM, size - 2 * RIM, size - 2 * RIM, x, y, side, side);
}

function small(element, sheets, number) {
  const side = Math.round(element.clientWidth * Math.min(devicePixelRatio || 1, 2)) || 1;
  element.width = element.height = side;
  const pen = element.getContext("2d");
  pen.imageSmoothingQuality = "high";
  picture(pen, sheets, number, 0, 0, side);
}

// --- geometry ---------------------------------------------------------------------------------

const fit = () => Math.max(Math.min(W, H) - 2 * PAD, 50);
const scale = (v = at) => fit() / v.u;
const left = (x) => W / 2 + (x - at.x) * scale();
const top = (y) => H / 2 + (y - at.y) * scale();
const world = (px, py, v = at) => [v.x + (px - W / 2) / scale(v), v.y + (py - H / 2) / scale(v)];
const middle = (grid, i) => [(grid.columns[i] + 0.5) / grid.resolution, (grid.rows[i] + 0.5) / grid.resolution];
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const same = (a, b) => a === b || (a && b && a[0] === b[0] && a[1] === b[1]);

function prepare(grid) {
  if (grid.cells) return;
  grid.cells = new Map(grid.rows.map((row, i) => [row * grid.resolution + grid.columns[i], i]));
  const sorted = [...grid.counts].sort((a, b) => a - b), many = sorted[Math.floor(0.9 * (sorted.length - 1))];
  grid.sides = grid.counts.map((count) => 0.66 + 0.3 * Math.sqrt(Math.min(count / many, 1)));
}

function finest(v) { // the overview shows the coarsest grid, whatever the screen
  let best = 0;
  view.grids.forEach((grid, i) => {
    const ratio = grid.resolution / view.grids[0].resolution;
    if (scale(v) / grid.resolution >= CELL && 1 / v.u >= 0.8 * ratio) best = i;
  });
  return best;
}

function cellAt(px, py) {
  const grid = view.grids[level], [x, y] = world(px, py);
  const column = Math.floor(x * grid.resolution), row = Math.floor(y * grid.resolution);
  if (column < 0 || column >= grid.resolution) return null;
  const i = grid.cells.get(row * grid.resolution + column);
  return i === undefined ? null : [level, i];
}

function nearest(x, y, cost = Math.hypot) {
  const grid = view.grids[level];
  let best = null, least = Infinity;
  grid.rows.forEach((_, i) => {
    const [cx, cy] = middle(grid, i), far = cost(cx - x, cy - y);
    if (far < least) [least, best] = [far, i];
  });
  return best === null ? null : [level, best];
}

// --- movement ---------------------------------------------------------------------------------

const deepest = () => {
  const grids = view.grids;
  return fit() / Math.max(CLOSEST * grids[grids.length - 1].resolution, fit() * 2);
};

function go(x, y, u, at_once = false) {
  goal = { x: clamp(x, 0, 1), y: clamp(y, 0, 1), u: clamp(u, deepest(), 1.25) };
  if (at_once || still.matches) at = { ...goal };
  redraw();
  remember();
}

function zoom(factor, px = W / 2, py = H / 2, at_once = false) {
  const [x, y] = world(px, py, goal), u = clamp(goal.u / factor, deepest(), 1.25);
  go(x - (px - W / 2) * u / fit(), y - (py - H / 2) * u / fit(), u, at_once);
}

function zoomHere(factor) {
  if (!chosen) return zoom(factor);
  const [x, y] = middle(view.grids[chosen[0]], chosen[1]);
  zoom(factor, clamp(left(x), 0, W), clamp(top(y), 0, H));
}

const reset = () => go(0.5, 0.5, 1);

function redraw() {
  if (!frame) frame = requestAnimationFrame(draw);
}

// --- drawing ----------------------------------------------------------------------------------

function advance(now) {
  const share = 1 - Math.exp(-Math.min(now - last, 50) / EASE);
  let moving = false;
  for (const key of ["x", "y", "u"]) {
    const rest = goal[key] - at[key];
    if (Math.abs(rest) < 0.0004 * at.u) at[key] = goal[key];
    else { at[key] += rest * share; moving = true; }
  }
  return moving;
}

function settle(now) { // the grid that fits the zoom, once its icons are there
  const wanted = finest(at);
  if (wanted === level || !ready(view.grids[wanted].icons)) return;
  before = drawn && !still.matches ? level : null;
  [level, faded] = [wanted, now];
  prepare(view.grids[level]);
  if (chosen) choose(nearest(...middle(view.grids[chosen[0]], chosen[1])), false);
  hovered = null;
}

function draw(now) {
  frame = 0;
  const moving = advance(now);
  last = now;
  settle(now);
  if (pointer && !fingers.size) hovered = cellAt(...pointer);
  const share = before === null ? 1 : clamp((now - faded) / FADE, 0, 1);
  if (share === 1) before = null;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, W, H);
  if (before !== null) paint(view.grids[before], 1 - share);
  paint(view.grids[level], share);
  ctx.globalAlpha = 1;
  if (hovered) ring(hovered, "#1c2430", 1.5);
  if (chosen) ring(chosen, "#0067a8", 3);
  tell();
  if (moving || before !== null) redraw();
  if (!drawn && ready(view.grids[level].icons)) {
    drawn = true;
    requestAnimationFrame(() => performance.mark("atlas-drawn"));
    setTimeout(ahead, 50);
  }
}

function paint(grid, opacity) {
  const cell = scale() / grid.resolution;
  const values = filter && grid[filter.kind].shades[filter.column];
  for (let i = 0; i < grid.rows.length; i++) {
    const x = left(grid.columns[i] / grid.resolution), y = top(grid.rows[i] / grid.resolution);
    if (x > W || y > H || x + cell < 0 || y + cell < 0) continue;
    const side = cell * grid.sides[i], gap = (cell - side) / 2;
    ctx.globalAlpha = opacity * (values ? FAINT + (1 - FAINT) * values[i] / 100 : 1);
    picture(ctx, grid.icons, i, x + gap, y + gap, side);
  }
}

function ring([number, i], color, width) {
  const grid = view.grids[number], cell = scale() / grid.resolution, side = cell * grid.sides[i];
  const [cx, cy] = middle(grid, i), x = left(cx) - side / 2, y = top(cy) - side / 2;
  for (const [style, wide] of [["#fff", width + 3], [color, width]]) {
    ctx.strokeStyle = style;
    ctx.lineWidth = wide;
    ctx.strokeRect(x - 1, y - 1, side + 2, side + 2);
  }
}

function ahead() { // finer grids, one at a time, before they are asked for
  const next = view.grids.find((grid) => !loaded.get(grid.icons));
  if (!next) return;
  ready(next.icons);
  setTimeout(ahead, 200);
}

// --- the panel --------------------------------------------------------------------------------

function tell() {
  const grid = view.grids[level];
  Object.assign(canvas.dataset, { grid: grid.resolution, left: left(0), top: top(0), scale: scale(),
    cell: chosen ? `${grid.rows[chosen[1]]},${grid.columns[chosen[1]]}` : "" });
  const kinds = { classes: "attribution to", concepts: "score of" };
  const shade = filter ? ` · opacity: ${kinds[filter.kind]} ${filter.name}` : "";
  const text = `${grid.resolution} × ${grid.resolution} grid${shade}`;
  if (get("state").textContent !== text) get("state").textContent = text;
  const cell = hovered || chosen;
  if (!same(cell, shown)) {
    shown = cell;
    fill();
  }
}

function fill() {
  get("cell").hidden = !shown;
  if (!shown) return;
  const grid = view.grids[shown[0]], i = shown[1];
  get("name").textContent = best(grid, i) || `Row ${grid.rows[i] + 1}, column ${grid.columns[i] + 1}`;
  get("place").textContent = place(grid, i);
  small(get("icon"), grid.icons, i);
  const boxes = grid.images[i].map((name) => {
    const box = document.createElement("canvas");
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", name);
    box.title = name;
    return box;
  });
  get("patches").replaceChildren(...boxes);
  boxes.forEach((box, k) => small(box, grid.patches, i * grid.patches.each + k));
  get("real").hidden = !boxes.length;
  for (const kind of ["classes", "concepts"]) bars(get(kind), kind, grid[kind].top[i] || []);
}

const best = (grid, i) => {
  for (const kind of ["classes", "concepts"]) {
    const list = grid[kind].top[i];
    if (list && list.length) return view[kind][list[0][0]];
  }
  return "";
};

function place(grid, i) {
  const count = grid.counts[i];
  return `${count} activation${count === 1 ? "" : "s"} · row ${grid.rows[i] + 1}, column ${grid.columns[i] + 1}`;
}

function bars(box, kind, list) {
  box.hidden = !list.length;
  const most = Math.max(...list.map(([, value]) => value));
  box.lastElementChild.replaceChildren(...list.map(([column, value]) => {
    const bar = document.createElement("button"), parts = ["span", "span", "i"].map((tag) => document.createElement(tag));
    bar.type = "button";
    bar.className = "bar";
    bar.title = `Filter by ${view[kind][column]}`;
    parts[0].textContent = view[kind][column];
    parts[1].textContent = String(value);
    parts[2].style.setProperty("--share", `${100 * value / most}%`);
    bar.append(...parts);
    bar.onclick = () => { get("filter").value = option(kind, column); search(); };
    return bar;
  }));
}

function choose(cell, aloud = true) {
  chosen = cell;
  if (cell && aloud) {
    const grid = view.grids[cell[0]], i = cell[1];
    const list = (kind, word) => (grid[kind].top[i] || []).slice(0, 3).map(([c, v]) => `${view[kind][c]} ${v}`).join(", ")
      .replace(/^(?=.)/, `. ${word}: `);
    get("live").textContent = `Grid ${grid.resolution}: ${place(grid, i)}${list("classes", "Classes")}${list("concepts", "Concepts")}.`;
  } else if (aloud) get("live").textContent = "";
  redraw();
}

// --- views and the filter ---------------------------------------------------------------------

const option = (kind, column) => `${view[kind][column]} (${kind === "classes" ? "class" : "concept"})`;

function options() {
  return ["classes", "concepts"].flatMap((kind) => view[kind].map((name, column) => ({ kind, column, name, text: option(kind, column) })));
}

function search() {
  const wanted = get("filter").value.trim().toLowerCase(), all = options();
  filter = (wanted && (all.find((o) => o.text.toLowerCase() === wanted) || all.find((o) => o.name.toLowerCase() === wanted))) || null;
  get("clear").hidden = !wanted;
  redraw();
  remember();
}

function clear() {
  get("filter").value = "";
  search();
}

function open(number) {
  view = VIEWS[number];
  view.grids.forEach(prepare);
  get("view").selectedIndex = number;
  [chosen, hovered, shown, before, level] = [null, null, undefined, null, 0];
  at = { x: 0.5, y: 0.5, u: 1 };
  goal = { ...at };
  const all = options();
  get("names").replaceChildren(...all.map((o) => new Option(o.text, o.text)));
  get("search").hidden = !all.length;
  document.querySelectorAll("[data-table]").forEach((table, i) => { table.hidden = i !== number; });
  const whose = view.focus ? ` that speak for “${view.focus}”` : "";
  get("about").textContent = `${view.vectors.toLocaleString("en")} activations${whose} of ${view.layer} in ${view.model}, laid out so that similar ones lie together.`;
  get("legend").textContent = (view.optimised ? "Icons are images made by optimisation for the average activation of their cell"
    : "Icons are the real patches nearest to the average activation of their cell") + "; the larger, the more activations.";
  search();
}
