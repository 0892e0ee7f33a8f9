// A flame graph of a profile: the width of a bar is CPU time, what lies on a bar was called by it. All text enters by textContent.
"use strict";

const FLAME_SMALLEST = 0.0008; // of the whole width; smaller bars are not drawn

// Returns the bars of a profile, {name, where, seconds, below}, as one tree: nodes, their threads, the functions.
function flameTree(profile) {
  const root = { name: "all", where: "", seconds: 0, below: new Map() };
  const into = (bar, name, where, seconds) => {
    const key = `${name}\n${where}`;
    let found = bar.below.get(key);
    if (!found) { found = { name, where, seconds: 0, below: new Map(), above: bar }; bar.below.set(key, found); }
    found.seconds += seconds;
    return found;
  };
  for (const node of profile.nodes) {
    for (const [thread, frames, seconds] of node.stacks || []) {
      root.seconds += seconds;
      let bar = into(root, node.name, `process ${node.pid}`, seconds);
      bar = into(bar, thread, "thread", seconds);
      for (const number of frames) {
        const [name, file, line] = node.frames[number];
        bar = into(bar, name, `${file}:${line}`, seconds);
      }
      if (!frames.length) into(bar, "(others)", "", seconds);
    }
  }
  return root;
}

// The functions that used most time themselves, [name, where, seconds] each.
function flameBusiest(root, most) {
  const own = new Map();
  const visit = (bar) => {
    let rest = bar.seconds;
    for (const one of bar.below.values()) { rest -= one.seconds; visit(one); }
    if (rest > 1e-9 && bar !== root) {
      const key = `${bar.name}\n${bar.where}`;
      own.set(key, (own.get(key) || 0) + rest);
    }
  };
  visit(root);
  return [...own].sort((a, b) => b[1] - a[1]).slice(0, most).map(([key, seconds]) => [...key.split("\n"), seconds]);
}

function flameText(bar, whole) {
  const part = whole ? ` (${(100 * bar.seconds / whole).toFixed(1)} %)` : "";
  return `${bar.name}  ${bar.seconds.toFixed(3)} s${part}  ${bar.where}`;
}

// Draws the profile into an empty element.
function drawFlame(place, profile) {
  const root = flameTree(profile);
  const make = (tag, classes, text) => {
    const made = document.createElement(tag);
    if (classes) made.className = classes;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const search = make("input", "flame-search");
  search.type = "search";
  search.setAttribute("aria-label", "find functions");
  search.placeholder = "find functions";
  const back = make("button", "", "whole");
  back.type = "button";
  const said = make("output", "flame-said");
  const bars = make("div", "flame-bars");
  const row = make("div", "flame-row");
  row.append(search, back);
  place.append(row, bars, said);
  let shown = root;

  const mark = () => {
    const wanted = search.value.toLowerCase();
    for (const one of bars.children) one.classList.toggle("found", Boolean(wanted) && one.dataset.text.includes(wanted));
  };
  const show = (bar) => {
    shown = bar;
    bars.replaceChildren();
    let deepest = 0;
    const add = (one, left, width, depth) => {
      deepest = Math.max(deepest, depth);
      const made = make("button", `flame-bar f${[...one.name].reduce((sum, sign) => (sum * 31 + sign.codePointAt(0)) % 997, 7) % 6}`, one.name);
      made.type = "button";
      made.dataset.text = `${one.name} ${one.where}`.toLowerCase();
      made.title = flameText(one, root.seconds);
      made.style.left = `${left * 100}%`;
      made.style.width = `${width * 100}%`;
      made.style.top = `${depth * 1.35}em`;
      made.addEventListener("click", () => { show(one); bars.querySelector("button.current").focus(); });
      made.addEventListener("focus", () => { said.textContent = made.title; });
      made.addEventListener("mouseenter", () => { said.textContent = made.title; });
      if (one === bar) made.classList.add("current");
      bars.append(made);
    };
    const callers = [];
    for (let one = bar.above; one; one = one.above) callers.unshift(one);
    callers.forEach((one, depth) => add(one, 0, 1, depth));
    const visit = (one, left, depth) => {
      const width = one.seconds / (bar.seconds || 1);
      if (width < FLAME_SMALLEST) return;
      add(one, left, width, depth);
      for (const next of [...one.below.values()].sort((a, b) => a.name < b.name ? -1 : 1)) {
        visit(next, left, depth + 1);
        left += next.seconds / (bar.seconds || 1);
      }
    };
    if (root.seconds) visit(bar, 0, callers.length);
    bars.style.height = `${(deepest + 1) * 1.35}em`;
    said.textContent = root.seconds ? flameText(bar, root.seconds) : "no CPU time was used";
    mark();
  };
  back.addEventListener("click", () => show(root));
  search.addEventListener("input", mark);
  place.addEventListener("keydown", (event) => {
    if (event.key === "Backspace" && event.target !== search && shown.above) { show(shown.above); bars.querySelector("button.current").focus(); }
  });
  show(root);
  return root;
}
