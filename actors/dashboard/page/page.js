// The page of the dashboard. All text enters by textContent; the token stays in memory and goes into a header.
"use strict";

const MOST_EVENTS = 500;
const byId = (id) => document.getElementById(id);
let token = decodeURIComponent((location.hash.match(/token=([^&]+)/) || [])[1] || "");
// Not in the address bar, the history or what is shared from them.
if (location.hash) history.replaceState(null, "", location.pathname);
let before = null;

function make(tag, text, classes) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = String(text);
  if (classes) made.className = classes;
  return made;
}

function button(text, act, classes) {
  const made = make("button", text, classes);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

async function ask(path, options = {}) {
  const headers = { Authorization: `Bearer ${token}`, ...(options.headers || {}) };
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) { needToken(); throw new Error("the token is missing or wrong"); }
  return response;
}

async function askJson(path) {
  const response = await ask(path);
  const value = await response.json();
  if (!response.ok) throw new Error(value.error);
  return value;
}

function needToken() {
  byId("main").hidden = true;
  byId("ask-token").hidden = false;
  byId("token").focus();
}

// -- changes -------------------------------------------------------------------------------------

async function change(question, verb, operation, args) {
  byId("confirm-text").textContent = question;
  byId("confirm-yes").textContent = verb;
  const dialog = byId("confirm");
  dialog.showModal();
  // Not its close event: that comes later, when the next question may be open.
  const answer = await new Promise((done) => {
    dialog.onsubmit = (event) => done(event.submitter.value);
    dialog.oncancel = () => done("no");
  });
  if (answer !== "yes") return;
  try {
    const response = await ask("/api/change", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ operation, arguments: args }),
    });
    const value = await response.json();
    note(response.ok ? `${verb}: done` : value.error, !response.ok);
  } catch (error) { note(error.message, true); }
}

function note(text, failed) {
  const status = byId("status");
  status.textContent = text;
  status.className = failed ? "lost" : "";
}

// -- tables: rows are kept and changed, so that focus and selection stay ------------------------------

function fill(id, rows, cells) {
  const body = byId(id).tBodies[0];
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  for (const item of rows) {
    const key = String(item.name);
    let row = known.get(key);
    if (!row) { row = make("tr"); row.dataset.key = key; }
    known.delete(key);
    body.append(row);
    cells(item).forEach((cell, index) => {
      let there = row.cells[index];
      if (!there) there = row.insertCell();
      if (cell instanceof Node) { if (!there.firstChild) there.append(cell); return; }
      const [text, classes] = Array.isArray(cell) ? cell : [cell, ""];
      const shown = text === null || text === undefined ? "–" : String(text);
      if (there.firstElementChild && there.firstElementChild.tagName === "BUTTON") return;
      if (there.textContent !== shown) there.textContent = shown;
      if (there.className !== classes) there.className = classes || "";
    });
  }
  for (const row of known.values()) row.remove();
}

const number = (value, digits = 0) => value === null || value === undefined ? null : value.toLocaleString("en", { maximumFractionDigits: digits });
const mib = (bytes) => bytes === null || bytes === undefined ? null : `${number(bytes / 1048576, 1)} MiB`;
const percent = (part) => part === null || part === undefined ? null : `${number(part * 100)} %`;
const ms = (seconds) => seconds === null || seconds === undefined ? null : seconds < 10 ? `${number(seconds * 1000, 1)} ms` : `${number(seconds, 1)} s`;

function show(look) {
  byId("pid").textContent = `process ${look.pid}`;
  fill("nodes", look.nodes, (node) => [
    button(node.name, () => showStack(node.name), "link"),
    [node.blocked ? `blocked by ${node.blocked.actor}` : node.place ? `${node.state} at ${node.place}` : node.state, node.state === "READY" ? (node.answering ? "good" : "busy") : "bad"],
    [node.pid, "n"], [percent(node.cpu), "n"], [mib(node.rss), "n"], [ms(node.lag), "n"],
    [number(node.actors), "n"], [number(node.rate, 1), "n"], [number(node.restarts), "n"],
    nodeActions(node.name),
  ]);
  showGroups("groups", look.nodes, "nodes");
  byId("of-places").hidden = !look.places;
  fill("places", look.places || [], (place) => [
    place.name, place.engine, place.machine, [place.state, place.state === "READY" || place.state === "SPARE" ? "good" : "bad"],
    [place.pid, "n"], [ms(place.round_trip), "n"], [place.lease_left === null ? null : `${number(place.lease_left, 1)} s`, "n"]]);
  const seconds = before ? (performance.now() - before.at) / 1000 : 0;
  const requests = new Map(look.requests.map((item) => [item.listener, item]));
  fill("listeners", look.listeners, (item) => {
    const served = requests.get(item.name) || {};
    const last = before && before.accepted.get(item.name);
    const open = Object.entries(item.open).map(([node, count]) => `${node} ${count}`).join(", ");
    return [item.name, item.address, item.policy, [item.accepting ? "yes" : "no", item.accepting ? "good" : "bad"],
      [item.passing ? `${open}, ${item.passing} of them passed on` : open || "0", "n"], [number(item.accepted), "n"],
      [last === undefined || !seconds ? null : number((item.accepted - last) / seconds, 1), "n"],
      [number(served.rate, 1), "n"], [ms(served.p50), "n"], [ms(served.p99), "n"],
      [number(item.pending), "n"], [number(item.refused), "n"], [number(item.dropped), "n"]];
  });
  before = { at: performance.now(), accepted: new Map(look.listeners.map((item) => [item.name, item.accepted])) };
  fill("pools", look.pools, (pool) => [
    pool.name, [`${pool.workers.filter((worker) => worker.ready).length}/${pool.workers.length}`, "n"],
    [number(pool.queued), "n"], [number(pool.running), "n"], [number(pool.completed), "n"],
    [number(pool.failed), pool.failed ? "n bad" : "n"], [percent(pool.utilisation), "n"],
    [ms(pool.wait.p50), "n"], [ms(pool.wait.p99), "n"], [ms(pool.run.p50), "n"], [ms(pool.run.p99), "n"]]);
  fill("handlers", look.handlers.map((item) => ({ ...item, name: `${item.class.split(":").pop()}.${item.method}` })), (item) => [
    item.name, [number(item.run.count), "n"],
    [item.wait.count ? ms(item.wait.p50) : null, "n"], [item.wait.count ? ms(item.wait.p99) : null, "n"],
    [ms(item.run.p50), "n"], [ms(item.run.p99), "n"], [`${number(item.cpu_seconds, 2)} s`, "n"]]);
  fill("programs", look.programs, (item) => [
    item.name, [item.state, item.state === "READY" ? "good" : "bad"], [item.pid, "n"], [item.port, "n"],
    [percent(item.cpu), "n"], [mib(item.rss), "n"], [number(item.restarts), "n"], [item.health || "", "dim"],
    programActions(item.name)]);
  showGroups("program-groups", look.programs, "instances");
  fill("busy", look.actors, (actor) => [
    button(actor.name, () => showActor(actor.name), "link"), [actor.class, "dim"], actor.node,
    [number(actor.mailbox), "n"],
    actor.handling ? `${actor.handling} ${ms(actor.handling_seconds) || ""}` : "", [number(actor.rate, 1), "n"], [percent(actor.cpu), "n"],
    (actor.waiting_for || []).join(", ")]);
}

function nodeActions(name) {
  const made = make("span");
  made.append(
    button("stack", () => showStack(name)), " ",
    button("profile", () => showProfile(name)), " ",
    button("restart", () => change(`Replace ${name} by a new process? It finishes what it has first.`, "Restart", "restart", { name })), " ",
    button("stop", () => change(`Stop ${name} for good? Its actors end.`, "Stop", "stop_any", { name }), "danger"));
  return made;
}

function programActions(name) {
  const made = make("span");
  made.append(
    button("restart", () => change(`Replace ${name} by a new process?`, "Restart", "restart", { name })), " ",
    button("stop", () => change(`Stop ${name} for good?`, "Stop", "stop_any", { name }), "danger"));
  return made;
}

// *things* is what there are more or fewer of: nodes of a group, or instances of a program.
function showGroups(id, items, things) {
  const counts = new Map();
  for (const item of items) {
    const group = item.name.split("/")[0];
    if (group !== "admin") counts.set(group, (counts.get(group) || 0) + 1);
  }
  const bar = byId(id);
  const key = JSON.stringify([...counts]);
  if (bar.dataset.key === key) return;
  bar.dataset.key = key;
  bar.replaceChildren(...[...counts].map(([group, count]) => {
    const made = make("span", `${group}: ${count} `);
    const scale = (to) => change(`Scale ${group} from ${count} to ${to} ${things}?`, "Scale", "scale", { groups: { [group]: to } });
    const less = button("−", () => scale(count - 1));
    less.disabled = count < 2;
    less.setAttribute("aria-label", `less ${things} of ${group}`);
    const more = button("+", () => scale(count + 1));
    more.setAttribute("aria-label", `more ${things} of ${group}`);
    made.append(less, " ", more, " ",
      button("reload", () => change(`Replace the ${things === "nodes" ? things : "processes"} of ${group} one after another?`, "Reload", "reload", { nodes: [group] })));
    return made;
  }));
}

// -- details ------------------------------------------------------------------------------------------

let details = 0;

// Shows what *answer* returns, again after *every* milliseconds, unless the dialog was closed, or opened for something else, before it came.
async function openDetail(title, answer, { meanwhile = "asking…", every = 0 } = {}) {
  const dialog = byId("detail");
  const fill = (text, actions, profile) => {
    byId("detail-text").textContent = text;
    byId("detail-flame").replaceChildren();
    if (profile) drawFlame(byId("detail-flame"), profile);
    byId("detail-actions").replaceChildren(...actions);
  };
  byId("detail-title").textContent = title;
  fill(meanwhile, []);
  if (!dialog.open) dialog.showModal();
  const mine = ++details;
  do {
    let found;
    try { found = await answer(); } catch (error) { found = [error.message, []]; every = 0; }
    if (!dialog.open || details !== mine) return;
    // A button that has the focus keeps it.
    if (byId("detail-actions").contains(document.activeElement)) byId("detail-text").textContent = found[0];
    else fill(...found);
    if (every) await new Promise((done) => setTimeout(done, every));
  } while (every && dialog.open && details === mine);
}

function showStack(name) {
  return openDetail(`Stacks of ${name}`, async () => {
    const found = await askJson(`/api/stack?node=${encodeURIComponent(name)}`);
    const frames = (of) => of.stack.map((frame) => `  ${frame}`);
    const lines = [`pid ${found.pid}, ${found.state}`];
    for (const thread of found.threads) lines.push("", `thread ${thread.thread}`, ...frames(thread));
    if (found.tasks === null) lines.push("", "its tasks cannot be shown: its loop does not get to it");
    for (const task of found.tasks || []) {
      const more = task.count > task.names.length ? ` and ${task.count - task.names.length} more` : "";
      lines.push("", `task ${task.names.join(", ")}${more}`, ...frames(task));
    }
    return [lines.join("\n"), []];
  });
}

// *name* is a node, a group or all.
function showProfile(name) {
  return openDetail(`Profile of ${name === "all" ? "all nodes" : name}`, async () => {
    const found = await askJson(`/api/profile?node=${encodeURIComponent(name)}`);
    const lines = found.nodes.map((node) => node.error || `${node.name}  ${percent(node.cpu / node.seconds)} of a CPU, ${number(node.samples)} samples`);
    return [lines.join("\n"), [], found];
  }, { meanwhile: "profiling for 3 seconds…" });
}

function showActor(name) {
  return openDetail(`Actor ${name}`, async () => {
    const found = await askJson(`/api/actor?name=${encodeURIComponent(name)}`);
    const lines = [
      `class     ${found.class}`, `node      ${found.node}`, `state     ${found.state}`, `restarts  ${found.restarts}`,
      `handling  ${found.handling ? `${found.handling} ${ms(found.handling_seconds)}` : "nothing"}`,
      `waits for ${found.waiting_for.join(", ") || "nobody"}`, `queued    ${found.queued} messages, ${found.queued_bytes} bytes of big ones`,
      ...found.handlers.map((one) => `handled   ${one.run.count} × ${one.method}, half in ${ms(one.run.p50)}, 99 of 100 in ${ms(one.run.p99)}`),
      ...Object.entries(found.by_method).map(([method, count]) => `          ${count} × ${method}`),
      "", found.oldest.length ? "oldest first; age and sender of what has come since you looked" : "",
      ...found.oldest.map((message, index) => [String(index + 1).padStart(4), message.method,
        message.age === null ? "" : `${number(message.age, 1)} s`, message.from === null ? "" : `from ${message.from}`].join("  ").trimEnd())];
    return [lines.join("\n"), [
      button("restart", () => change(`Restart actor ${name}?`, "Restart", "restart", { name, actor: true })),
      button("stop", () => change(`Stop actor ${name}? It is not restarted.`, "Stop", "stop_any", { name, actor: true }), "danger")]];
  }, { every: 2000 });
}

// -- the tree -----------------------------------------------------------------------------------------

async function addChildren(parent, path, start) {
  const found = await askJson(`/api/children?path=${encodeURIComponent(path)}&start=${start}`);
  for (const child of found.children) parent.append(branch(child, path));
  const next = start + found.children.length;
  if (next < found.total) {
    const more = button(`${found.total - next} more`, async () => { more.remove(); await addChildren(parent, path, next); });
    more.classList.add("leaf");
    parent.append(more);
  }
}

function branch(child, path) {
  const good = child.state === "RUNNING" || child.state === "READY" ? "good" : "bad";
  const facts = [make("span", ` ${child.state}`, good), make("span", child.restarts ? ` ${child.restarts} restarts` : "", "busy"),
    make("span", child.last_exit ? ` last ended ${child.last_exit}` : "", "dim")];
  if (child.kind !== "supervisor") {
    const leaf = make("div", undefined, "leaf");
    const open = child.kind === "actor" ? () => showActor(child.name) : child.kind === "node" || (child.kind !== "program" && child.name.includes("/")) ? () => showStack(child.name) : null;
    leaf.append(open ? button(child.name, open, "link") : make("span", child.name), ...facts);
    if (child.class) leaf.append(make("span", ` ${child.class} on ${child.node}`, "dim"));
    return leaf;
  }
  const made = make("details");
  const summary = make("summary", child.name);
  summary.append(...facts);
  made.append(summary);
  made.addEventListener("toggle", () => {
    [...made.children].slice(1).forEach((below) => below.remove());
    if (made.open) addChildren(made, path ? `${path}/${child.name}` : child.name, 0).catch((error) => note(error.message, true));
  });
  return made;
}

// -- events -------------------------------------------------------------------------------------------

function addEvents(events) {
  const list = byId("events");
  const wanted = byId("filter").value.toLowerCase();
  for (const event of events) {
    const item = make("li");
    const facts = Object.entries(event.facts).map(([name, value]) => `${name}=${value}`).join(" ");
    item.append(make("span", new Date(event.at * 1000).toLocaleTimeString(), "dim"), make("span", event.kind), make("span", facts));
    item.hidden = Boolean(wanted) && !item.textContent.toLowerCase().includes(wanted);
    if (!byId("pause").checked) list.prepend(item);
  }
  while (list.children.length > MOST_EVENTS) list.lastChild.remove();
}

byId("filter").addEventListener("input", () => {
  const wanted = byId("filter").value.toLowerCase();
  for (const item of byId("events").children) item.hidden = Boolean(wanted) && !item.textContent.toLowerCase().includes(wanted);
});

// -- what the system sends: server-sent events, read by fetch because EventSource sends no header --------

async function follow() {
  const response = await ask("/api/live");
  if (!response.ok) throw new Error((await response.json()).error);
  byId("ask-token").hidden = true;
  byId("main").hidden = false;
  byId("tree").replaceChildren();
  addChildren(byId("tree"), "", 0).catch((error) => note(error.message, true));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const kind = (part.match(/^event: (.*)$/m) || [])[1];
      const data = JSON.parse((part.match(/^data: (.*)$/m) || [])[1]);
      if (kind === "look") { show(data); note(`as of ${new Date().toLocaleTimeString()}`); } else addEvents(data);
    }
  }
}

async function run() {
  let wait = 500;
  for (;;) {
    if (!token) { needToken(); return; }
    try { await follow(); wait = 500; note("the connection has ended; connecting again…", true); } catch (error) {
      if (!byId("ask-token").hidden) return;
      note(`${error.message}; connecting again…`, true);
    }
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(wait * 2, 10000);
  }
}

byId("profile-all").addEventListener("click", () => showProfile("all"));
byId("ask-token").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  byId("token").value = "";
  byId("ask-token").hidden = true;
  run();
});
run();
