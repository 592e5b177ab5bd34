// The live page. Everything that comes from a message is put in by textContent; HTML mail stands in a sandboxed frame.
const $ = (id) => document.getElementById(id);
const ROW = 68, PAGE = 200;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

let toastTimer;
function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, 6000);
}

// A tenant of the server is shown by /?tenant=NAME; every request then names it.
const TENANT = new URLSearchParams(location.search).get("tenant") || "";
const at = (path) => (TENANT ? `${path}${path.includes("?") ? "&" : "?"}tenant=${encodeURIComponent(TENANT)}` : path);

async function ask(path, method = "GET", body = undefined) {
  const answer = await fetch(at(path), {
    method, headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const type = answer.headers.get("Content-Type") || "";
  const value = type.includes("json") ? await answer.json() : await answer.text();
  if (!answer.ok) throw new Error(value.Error || String(value));
  return value;
}
const attempt = (work) => async (...values) => {
  try { return await work(...values); } catch (problem) { toast(problem.message); return undefined; }
};

// --- tabs -----------------------------------------------------------------------------------------------------------
const VIEWS = ["inbox", "sessions", "jam"];
function show(view) {
  for (const name of VIEWS) {
    $(name).hidden = name !== view;
    $(`tab-${name}`).setAttribute("aria-selected", String(name === view));
  }
  location.hash = view;
  if (view === "sessions") loadSessions();
  if (view === "inbox") draw();
}
for (const name of VIEWS) $(`tab-${name}`).addEventListener("click", () => show(name));

// --- inbox ----------------------------------------------------------------------------------------------------------
const inbox = { total: 0, pages: new Map(), query: "", chosen: null, index: -1, generation: 0 };

function listPath(start) {
  const query = new URLSearchParams({ start, limit: PAGE });
  if (inbox.query) query.set("query", inbox.query);
  return `/api/v1/${inbox.query ? "search" : "messages"}?${query}`;
}

async function loadPage(number) {
  if (inbox.pages.has(number)) return;
  const generation = inbox.generation;
  inbox.pages.set(number, null);
  try {
    const answer = await ask(listPath(number * PAGE));
    if (generation !== inbox.generation) return;
    inbox.pages.set(number, answer.messages);
    inbox.total = answer.messages_count;
    $("count").textContent = answer.total;
    draw();
  } catch (problem) {
    inbox.pages.delete(number);
    toast(problem.message);
  }
}

function message(index) {
  const page = inbox.pages.get(Math.floor(index / PAGE));
  return page ? page[index % PAGE] : undefined;
}

function when(text) {
  const date = new Date(text);
  return date.toDateString() === new Date().toDateString() ? date.toLocaleTimeString() : date.toLocaleDateString();
}

function svg(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function clip(count) {
  const icon = svg("svg", { viewBox: "0 0 16 16", class: "clip", role: "img", "aria-label": `${count} attachments` });
  icon.append(svg("path", { d: "M12.5 7.5 7.6 12.4a3 3 0 0 1-4.2-4.2l5.3-5.4a2 2 0 0 1 2.9 2.9l-5.3 5.3a1 1 0 0 1-1.5-1.4l4.5-4.6" }));
  return icon;
}

let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; drawNow(); });
}

function drawNow() {
  const rows = $("rows"), space = $("space");
  space.style.height = `${inbox.total * ROW}px`;
  const first = Math.max(0, Math.floor(rows.scrollTop / ROW) - 4);
  const last = Math.min(inbox.total, Math.ceil((rows.scrollTop + rows.clientHeight) / ROW) + 4);
  const shown = [];
  for (let index = first; index < last; index += 1) {
    const item = message(index);
    if (item === undefined) { loadPage(Math.floor(index / PAGE)); continue; }
    const who = item.From.Name || item.From.Address || "(nobody)";
    const to = [...item.To, ...item.Cc, ...item.Bcc].map((one) => one.Address).join(", ");
    const row = make("div", {
      class: `row${item.Read ? "" : " unread"}${item.ID === inbox.chosen ? " chosen" : ""}`,
      role: "option", id: `row-${item.ID}`, "aria-selected": String(item.ID === inbox.chosen), "data-id": item.ID,
      onclick: () => choose(index),
    },
    make("div", { class: "line" }, make("span", {}, who, ...(to ? [make("span", { class: "soft" }, ` → ${to}`)] : [])),
      make("time", {}, ...(item.Attachments ? [clip(item.Attachments)] : []), when(item.Created))),
    make("div", { class: "line" }, make("span", { class: "subject" }, item.Subject || "(no subject)")),
    make("div", { class: "snippet" }, item.Snippet));
    row.style.top = `${index * ROW}px`;
    shown.push(row);
  }
  space.replaceChildren(...shown);
  if (inbox.chosen) rows.setAttribute("aria-activedescendant", `row-${inbox.chosen}`);
  else rows.removeAttribute("aria-activedescendant");
  if (!inbox.total) space.replaceChildren(make("p", { class: "empty none" }, inbox.query ? "Nothing matches." : "No mail yet: send some to the SMTP port."));
}

let reloading = 0;
function reload() {  // under a stream of events too: not put off by the next one
  if (reloading) return;
  reloading = setTimeout(async () => {
    reloading = 0;
    inbox.generation += 1;
    const first = Math.floor($("rows").scrollTop / ROW / PAGE);
    const generation = inbox.generation;
    try {
      const answer = await ask(listPath(first * PAGE));
      if (generation !== inbox.generation) return;
      inbox.pages = new Map([[first, answer.messages]]);
      inbox.total = answer.messages_count;
      inbox.index = answer.messages.findIndex((item) => item.ID === inbox.chosen) + first * PAGE;
      $("count").textContent = answer.total;
      draw();
    } catch (problem) { toast(problem.message); }
  }, 120);
}

$("rows").addEventListener("scroll", draw, { passive: true });
window.addEventListener("resize", draw);
let typing = 0;
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { inbox.query = $("search").value.trim(); $("rows").scrollTop = 0; reload(); }, 200);
});
let sure = 0;
function calm() { clearTimeout(sure); sure = 0; $("delete-all").textContent = "Delete all"; }
$("delete-all").addEventListener("click", attempt(async () => {
  if (!sure) {
    $("delete-all").textContent = `Delete ${inbox.total}?`;
    sure = setTimeout(calm, 4000);
    return;
  }
  calm();
  if (inbox.query) await ask(`/api/v1/search?${new URLSearchParams({ query: inbox.query })}`, "DELETE");
  else await ask("/api/v1/messages", "DELETE", {});
  reload();
}));

async function choose(index) {
  const item = message(index);
  if (!item) return;
  inbox.index = index;
  inbox.chosen = item.ID;
  item.Read = true;
  draw();
  const full = await attempt(ask)(`/api/v1/message/${item.ID}`);
  if (full && inbox.chosen === item.ID) showMessage(full);
}

function people(list) { return list.map((one) => (one.Name ? `${one.Name} <${one.Address}>` : one.Address)).join(", "); }

function showMessage(full) {
  const body = make("div", { id: "body" });
  body.style.cssText = "flex:1;display:flex;flex-direction:column;min-height:0";
  const tabs = [];
  const add = (title, fill) => {
    const tab = make("button", { role: "tab", "aria-selected": "false", onclick: async () => {
      for (const each of tabs) each.setAttribute("aria-selected", String(each === tab));
      body.replaceChildren();
      await attempt(fill)();
    } }, title);
    tabs.push(tab);
  };
  if (full.HTML) add("HTML", () => showHtml(full, body));
  add("Text", () => body.append(make("pre", {}, full.Text)));
  add("Source", async () => body.append(make("pre", {}, await ask(`/api/v1/message/${full.ID}/raw`))));
  add("MIME & properties", () => showParts(full, body));
  const files = [...full.Attachments, ...full.Inline];
  if (files.length) add(`Files (${files.length})`, () => body.append(make("ul", {}, ...files.map((file) => make("li", {},
    make("a", { href: at(`/api/v1/message/${full.ID}/part/${file.PartID}`), download: file.FileName }, file.FileName),
    ` ${file.ContentType}, ${file.Size} octets`)))));
  add("Links", async () => {
    const found = await ask(`/api/messages/${full.ID}/links`);
    if (found.otp) body.append(make("p", {}, "Code: ", make("b", {}, found.otp)));
    const safe = (link) => /^(https?|mailto):/i.test(link);
    body.append(make("ul", {}, ...found.links.map((link) => make("li", {}, safe(link)
      ? make("a", { href: link, rel: "noopener noreferrer", target: "_blank" }, link) : link))));
  });
  $("message").replaceChildren(
    make("div", { class: "top" }, make("h3", {}, full.Subject || "(no subject)"), make("div", { class: "buttons" },
      make("a", { class: "button", href: at(`/api/v1/message/${full.ID}/raw?dl=1`), download: `${full.ID}.eml` }, "Download"),
      make("button", { class: "danger", id: "delete", title: "Delete this message (#)", onclick: attempt(deleteChosen) }, "Delete"))),
    make("dl", {}, ...[["From", [full.From]], ["To", full.To], ["Cc", full.Cc], ["Bcc", full.Bcc]].filter(([, list]) => list.length)
      .flatMap(([name, list]) => [make("dt", {}, name), make("dd", {}, people(list) || "(nobody)")])),
    make("div", { class: "soft" }, [new Date(full.Date).toLocaleString(), `${full.Size} octets`, full.MessageID].filter(Boolean).join(" · ")),
    make("div", { class: "views", role: "tablist" }, ...tabs), body);
  tabs[0].click();
}

const REMOTE = /(?:src|srcset|background|poster|href)\s*=\s*["']?\s*(?:https?:)?\/\/[^"'\s>]+|url\(\s*["']?\s*(?:https?:)?\/\//i;
const hasRemote = (html) => REMOTE.test(html.replace(/<a\s[^>]*>/gi, ""));

function showHtml(full, body) {
  const frame = make("iframe", { sandbox: "allow-popups allow-popups-to-escape-sandbox", title: "HTML of the message",
    referrerpolicy: "no-referrer", src: at(`/view/${full.ID}.html`) });
  const remote = make("button", { onclick: () => { frame.src = at(`/view/${full.ID}.html?remote=1`); remote.disabled = true; } },
    "Show remote content");
  remote.style.alignSelf = "flex-start";
  remote.style.marginBottom = ".4rem";
  body.append(...(hasRemote(full.HTML) ? [remote] : []), frame);
}

async function showParts(full, body) {
  const [tree, properties] = await Promise.all([ask(`/api/messages/${full.ID}/mime`), ask(`/api/messages/${full.ID}/properties`)]);
  const branch = (part) => make("li", {},
    `${part.part ? `${part.part} ` : ""}${part.type}`,
    make("span", { class: "soft" }, ` ${[part.filename, part.charset, part.encoding, `${part.octets} octets`].filter(Boolean).join(" · ")}`),
    ...(part.children.length ? [make("ul", {}, ...part.children.map(branch))] : []));
  const value = (one) => (typeof one === "object" && one !== null && one.hex !== undefined ? `${one.octets} octets ${one.hex}` : typeof one === "string" ? one : JSON.stringify(one));
  body.append(make("div", { class: "sides" },
    make("div", { class: "tree" }, make("h2", {}, "MIME"), make("ul", {}, branch(tree))),
    make("div", {}, make("h2", {}, "Properties"), make("table", {}, make("tbody", {}, ...Object.entries(properties).map(([name, one]) =>
      make("tr", {}, make("td", {}, name), make("td", {}, value(one)))))))));
}

async function deleteChosen() {
  if (!inbox.chosen) return;
  const index = inbox.index;
  await ask("/api/v1/messages", "DELETE", { IDs: [inbox.chosen] });
  inbox.chosen = null;
  $("message").replaceChildren();
  reload();
  setTimeout(() => choose(Math.min(index, inbox.total - 1)), 300);
}

function move(step) {
  const index = Math.max(0, Math.min(inbox.total - 1, inbox.index + step));
  const rows = $("rows");
  if (index * ROW < rows.scrollTop) rows.scrollTop = index * ROW;
  if ((index + 1) * ROW > rows.scrollTop + rows.clientHeight) rows.scrollTop = (index + 1) * ROW - rows.clientHeight;
  choose(index);
}

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const digit = VIEWS[Number(event.key) - 1];
  if (digit) { show(digit); return; }
  if ($("inbox").hidden) return;
  if (event.key === "j" || event.key === "ArrowDown") { move(inbox.chosen ? 1 : 0 - inbox.index); event.preventDefault(); }
  if (event.key === "k" || event.key === "ArrowUp") { move(-1); event.preventDefault(); }
  if (event.key === "/") { $("search").focus(); event.preventDefault(); }
  if (event.key === "#" || event.key === "Delete") attempt(deleteChosen)();
});

// --- sessions -------------------------------------------------------------------------------------------------------
const sessions = { all: new Map(), chosen: null };

let drawingSessions = false;
function drawSessions() {
  if (drawingSessions) return;
  drawingSessions = true;
  requestAnimationFrame(() => { drawingSessions = false; drawSessionsNow(); });
}

function drawSessionsNow() {
  const list = [...sessions.all.values()].sort((a, b) => b.number - a.number).slice(0, 300);
  $("open-sessions").textContent = [...sessions.all.values()].filter((one) => one.ended === null).length;
  if ($("sessions").hidden) return;
  $("session-list").replaceChildren(...list.map((one) => make("li", {}, make("button", {
    class: `${one.ended === null ? "open" : ""}${one.number === sessions.chosen ? " chosen" : ""}`,
    onclick: () => chooseSession(one.number),
  }, `${one.actor} ${one.user} ${one.doing}`, make("div", { class: "soft" },
    `${new Date(one.opened * 1000).toLocaleTimeString()}${one.ended === null ? "" : " ended"} · ${one.peer} · in ${one.octets_in}, out ${one.octets_out}${one.waiting_for ? ` · waits for ${one.waiting_for}` : ""}`)))));
}

const loadSessions = attempt(async () => {
  sessions.all = new Map((await ask("/api/sessions")).map((one) => [one.number, one]));
  drawSessions();
});

const chooseSession = attempt(async (number) => {
  sessions.chosen = number;
  const full = await ask(`/api/sessions/${number}`);
  $("break").hidden = full.ended !== null && full.ended !== undefined;
  const shown = $("transcript"), atEnd = shown.scrollHeight - shown.scrollTop - shown.clientHeight < 40;
  shown.replaceChildren(...full.lines.map((line) => make("span", { class: line.slice(0, 1) }, `${line}\n`)));
  if (atEnd) shown.scrollTop = shown.scrollHeight;
  drawSessions();
});

$("break").addEventListener("click", attempt(() => ask(`/api/sessions/${sessions.chosen}`, "DELETE")));

// --- the jam view ---------------------------------------------------------------------------------------------------
const history = new Map();

function buttons(...each) { return make("div", { class: "buttons" }, ...each.map(([text, work, off]) => make("button", { onclick: attempt(work), disabled: off }, text))); }

function drawState(state) {
  const inCycle = new Set(state.cycles.flat().map((edge) => edge.section));
  $("jam-badge").hidden = !state.jammed;
  $("verdict").textContent = state.jammed ? "JAMMED: sections wait for one another" : "not jammed";
  $("verdict").className = state.jammed ? "jammed" : "free";
  $("sections").replaceChildren(...state.sections.map((section) => make("div", {
    class: `box${section.owner ? " held" : ""}${inCycle.has(section.name) ? " cycle" : ""}`, "data-section": section.name },
  make("b", {}, section.name), make("span", { class: "soft" }, `  rank ${section.rank} · entered ${section.entered} · waited ${section.contended}`),
  make("div", { class: "soft" }, section.purpose),
  make("div", {}, section.owner ? `held by ${section.owner} for ${section.held_seconds.toFixed(1)} s` : "free"),
  ...(section.waiters.length ? [make("ul", {}, ...section.waiters.map((one) => make("li", {}, `${one.actor} waits ${one.seconds.toFixed(1)} s`)))] : []))));
  $("cycle").replaceChildren(...state.cycles.flat().map((edge) => make("li", {}, `${edge.waiter} waits for ${edge.section}, held by ${edge.owner}`)));
  $("services").replaceChildren(...state.services.map((service) => make("div", { class: `box${service.state.endsWith("pending") ? " pending" : ""}` },
    make("b", {}, service.name), make("div", { class: "soft" }, service.title), make("div", { class: service.state }, service.state),
    buttons(["Start", () => ask(`/api/services/${service.name}/start`, "POST"), service.state !== "stopped"],
      ["Stop", () => ask(`/api/services/${service.name}/stop`, "POST"), service.state === "stopped"],
      ["Restart", () => restart(service.name), service.state !== "running"],
      ["Pause", () => ask(`/api/services/${service.name}/pause`, "POST"), service.state !== "running"],
      ["Continue", () => ask(`/api/services/${service.name}/continue`, "POST"), service.state !== "paused"]))));
  for (const [name, length] of Object.entries(state.queues)) {
    const values = history.get(name) || [];
    values.push(length);
    if (values.length > 120) values.shift();
    history.set(name, values);
  }
  drawQueues();
  if ($("build").value !== state.build) $("build").value = state.build;
  last = state;
}
let last = null;
setInterval(() => {  // a chart goes on while nothing changes
  if (!last) return;
  for (const [name, length] of Object.entries(last.queues)) {
    const values = history.get(name);
    values.push(length);
    if (values.length > 120) values.shift();
  }
  if (!$("jam").hidden) drawQueues();
}, 1000);

function drawQueues() {
  $("queues").replaceChildren(...[...history].map(([name, values]) => {
    const top = Math.max(4, ...values);
    const points = values.map((one, index) => `${(index * 190) / 119},${44 - (one * 42) / top}`).join(" ");
    const chart = svg("svg", { viewBox: "0 0 190 46", preserveAspectRatio: "none" });
    chart.append(svg("polyline", { points }));
    return make("div", { class: "box" }, make("div", { class: "soft" }, name), make("div", { class: "number" }, String(values.at(-1))), chart);
  }));
}

async function restart(name) {
  await ask(`/api/services/${name}/stop`, "POST");
  const deadline = Date.now() + 10000;
  while (Date.now() < deadline) {
    const services = await ask("/api/services");
    if (services.find((one) => one.name === name).state === "stopped") {
      for (const one of services) if (one.state === "stopped") await ask(`/api/services/${one.name}/start`, "POST");
      return;
    }
    await new Promise((resolve) => { setTimeout(resolve, 200); });
  }
  throw new Error(`${name} stays in stop pending: is it jammed?`);
}

$("make-jam").addEventListener("click", attempt(async () => drawState(await ask("/api/jam", "POST"))));
$("release-jam").addEventListener("click", attempt(async () => drawState(await ask("/api/jam", "DELETE"))));
$("build").addEventListener("change", attempt(async () => { await ask("/api/build", "POST", { build: $("build").value }); }));
attempt(async () => {
  const known = await ask("/api/builds");
  const numbers = known.builds.map((build) => build.number);
  if (!numbers.includes(known.running)) known.builds.push({ number: known.running, service_pack: "", defects: [] });
  $("build").replaceChildren(...known.builds.map((build) => make("option", { value: build.number },
    `${build.number} ${build.service_pack}${build.defects.length ? ` · ${build.defects.join(" ")}` : ""}`)));
  $("build").value = known.running;
})();

// --- live -----------------------------------------------------------------------------------------------------------
let following = 0;
const source = new EventSource(at("/api/events"));
source.addEventListener("open", () => { $("live").className = "dot on"; $("live").title = "live"; reload(); loadSessions(); });
source.addEventListener("error", () => { $("live").className = "dot"; $("live").title = "not connected"; });
for (const kind of ["new", "changed", "gone", "dropped", "reset"]) source.addEventListener(kind, reload);
source.addEventListener("state", (event) => drawState(JSON.parse(event.data)));
source.addEventListener("session", (event) => {
  const one = JSON.parse(event.data);
  sessions.all.set(one.number, one);
  if (sessions.all.size > 1000) sessions.all.delete(Math.min(...sessions.all.keys()));
  drawSessions();
  if (one.number === sessions.chosen && !$("sessions").hidden && !following) {
    following = setTimeout(() => { following = 0; chooseSession(sessions.chosen); }, 100);
  }
});
if (TENANT) { $("tenant").textContent = TENANT; $("tenant").hidden = false; document.title = `mailjam: ${TENANT}`; }
show(VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "inbox");
