// --- the address keeps what is seen -----------------------------------------------------------

let waiting = 0;
function remember() {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const state = new URLSearchParams({ view: view.name, x: goal.x.toFixed(4), y: goal.y.toFixed(4), zoom: (1 / goal.u).toFixed(3) });
    if (filter) state.set("filter", option(filter.kind, filter.column));
    history.replaceState(null, "", `#${state}`);
  }, 250);
}

function recall() {
  const state = new URLSearchParams(location.hash.slice(1));
  open(Math.max(VIEWS.findIndex((v) => v.name === state.get("view")), 0));
  get("filter").value = state.get("filter") || "";
  search();
  const [x, y, z] = ["x", "y", "zoom"].map((key) => Number.parseFloat(state.get(key)));
  if ([x, y, z].every(Number.isFinite) && z > 0) go(x, y, 1 / z, true);
}

// --- hands ------------------------------------------------------------------------------------

const local = (event) => {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
let moved = 0, speed = [0, 0], stamp = 0;

canvas.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  try { canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone */ }
  fingers.set(event.pointerId, local(event));
  if (fingers.size === 1) [moved, speed, stamp] = [0, [0, 0], event.timeStamp];
  else moved = Infinity; // a pinch is no click
  goal = { ...at };
});

canvas.addEventListener("pointermove", (event) => {
  const now = local(event), was = fingers.get(event.pointerId);
  if (event.pointerType !== "touch") pointer = now;
  if (!was) return redraw();
  const others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
  fingers.set(event.pointerId, now);
  const share = fingers.size > 1 ? 0.5 : 1, dx = (now[0] - was[0]) * share, dy = (now[1] - was[1]) * share;
  moved += Math.hypot(dx, dy);
  if (moved < 4) return;
  canvas.classList.add("moving");
  const time = Math.max(event.timeStamp - stamp, 1);
  [speed, stamp] = [[dx / time, dy / time], event.timeStamp];
  go(at.x - dx / scale(), at.y - dy / scale(), at.u, true);
  if (others.length) {
    const span = (p) => Math.hypot(p[0] - others[0][0], p[1] - others[0][1]);
    zoom(span(now) / Math.max(span(was), 1), (now[0] + others[0][0]) / 2, (now[1] + others[0][1]) / 2, true);
  }
});

function lift(event) {
  if (!fingers.delete(event.pointerId) || fingers.size) return;
  canvas.classList.remove("moving");
  if (event.type === "pointercancel") return;
  if (moved < 4) choose(cellAt(...local(event)));
  else if (moved < Infinity && event.timeStamp - stamp < 60) go(at.x - speed[0] * 110 / scale(), at.y - speed[1] * 110 / scale(), at.u);
}
canvas.addEventListener("pointerup", lift);
canvas.addEventListener("pointercancel", lift);
canvas.addEventListener("pointerleave", () => { [pointer, hovered] = [null, null]; redraw(); });
canvas.addEventListener("dblclick", (event) => zoom(2, ...local(event)));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? H : 1;
  zoom(Math.exp(clamp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0018), -1, 1)), ...local(event));
}, { passive: false });

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function step([sx, sy]) {
  if (!chosen) return choose(nearest(at.x, at.y));
  const [x, y] = middle(view.grids[chosen[0]], chosen[1]);
  const next = nearest(x, y, (dx, dy) => { // near, and rather ahead than aside
    const ahead = dx * sx + dy * sy, aside = Math.abs(dx * sy) + Math.abs(dy * sx);
    return ahead > 1e-9 ? ahead + 2 * aside : Infinity;
  });
  if (next) choose(next);
  reveal();
}

function reveal() { // bring the chosen cell into sight
  const grid = view.grids[chosen[0]], [x, y] = middle(grid, chosen[1]), half = 1 / grid.resolution;
  const wide = Math.max(W / 2 / scale(goal) - half, 0), high = Math.max(H / 2 / scale(goal) - half, 0);
  go(clamp(goal.x, x - wide, x + wide), clamp(goal.y, y - high, y + high), goal.u);
}

canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { key } = event;
  pointer = hovered = null; // whoever uses keys wants to see what they chose
  if (key in ARROWS) step(ARROWS[key]);
  else if (key === "+" || key === "=") zoomHere(1.6);
  else if (key === "-" || key === "_") zoomHere(1 / 1.6);
  else if (key === "0" || key === "Home") reset();
  else if (key === "Escape") { choose(null); clear(); }
  else return;
  event.preventDefault();
});

get("in").onclick = () => zoomHere(1.6);
get("out").onclick = () => zoomHere(1 / 1.6);
get("reset").onclick = reset;
get("clear").onclick = () => { clear(); get("filter").focus(); };
get("filter").oninput = search;
get("filter").onkeydown = (event) => { if (event.key === "Escape") clear(); };
get("search").onsubmit = (event) => event.preventDefault();
get("view").onchange = (event) => { open(event.target.selectedIndex); remember(); };
get("open").onclick = () => get("table").showModal();
get("close").onclick = () => get("table").close();
addEventListener("hashchange", recall);

new ResizeObserver(() => {
  const box = canvas.getBoundingClientRect();
  [W, H, ratio] = [Math.max(box.width, 1), Math.max(box.height, 1), Math.min(devicePixelRatio || 1, 3)];
  [canvas.width, canvas.height] = [Math.round(W * ratio), Math.round(H * ratio)];
  redraw();
}).observe(canvas);
recall();
