// The page of eslink: a list of runs, and one run. Whatever comes from outside is
// put in as text (el, below), never as markup.

const lookEvery = 2000; // milliseconds
const perPage = 50;
const recent = 12; // entries of a timeline that are shown at once

// The token is in the address that was printed; it is kept for this tab alone.
const token = (() => {
  const given = location.hash.slice(1);
  if (given && !given.startsWith("/")) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", "#/");
  }
  return sessionStorage.getItem("token") || "";
})();

// el makes an element. Attributes that are functions are listeners; children are
// elements or text.
function el(name, attributes, ...children) {
  const svg = ["svg", "polyline", "title"].includes(name);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== undefined && c !== null && c !== false && c !== "").map((c) => (c instanceof Node ? c : String(c))));
  return node;
}

class Refused extends Error {
  constructor(problem) {
    super(problem.title);
    this.problem = problem;
  }
}

async function ask(path, body) {
  const options = { headers: { Authorization: "Bearer " + token } };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Refused({ title: "eslink ui does not answer", errors: [{ message: "", remedy: "start it again, and open the address that it prints" }] });
  }
  const found = await reply.json();
  if (!reply.ok) throw new Refused(found);
  return found;
}

const kindOf = {
  done: "good", removed: "idle", planned: "good", running: "move", "waiting-approval": "wait",
  "done-with-differences": "wait", failed: "bad", expired: "bad", cancelled: "idle", broken: "bad",
};
const chip = (status) => el("span", { class: "chip " + (kindOf[status] || "idle") }, status);
const card = (title, ...children) => el("section", { class: "card" }, title && el("h2", {}, title), children);
const time = (at) => (at ? new Date(at).toLocaleString([], { dateStyle: "short", timeStyle: "medium" }) : "");

function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + (s % 60) + " s";
  return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
}

function problemCard(problem) {
  return el("section", { class: "card problem" }, el("h2", {}, problem.title), problem.detail && el("p", {}, problem.detail),
    (problem.errors || []).map((e) => el("p", {}, e.field && el("code", {}, e.field), e.field && " ", e.message,
      e.remedy && [el("br"), el("b", {}, "What to do: "), e.remedy])));
}

// confirmed asks before something is done, and tells what.
function confirmed(title, yes, ...body) {
  const dialog = document.getElementById("ask");
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-yes").textContent = yes;
  document.getElementById("ask-body").replaceChildren(...body.flat(Infinity));
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

// walk is the last walk of a timeline, a step each, as the command shows it.
function walk(run) {
  const timeline = run.timeline || [];
  let begin = 0;
  timeline.forEach((e, i) => { if (e.what === "start" || e.what === "teardown") begin = i; });
  const steps = [];
  let since = timeline[begin]?.at;
  for (const e of timeline.slice(begin + 1)) {
    let last = steps.at(-1);
    if (!last || last.step !== e.step) steps.push((last = { step: e.step, since }));
    Object.assign(last, { state: e.what, reason: e.reason, at: e.at });
    if (e.what === "done") since = e.at;
  }
  return steps;
}

// stateOf says how a part of the picture stands: by the steps that make it.
function stateOf(part, run, passed) {
  const at = run.step;
  if (run.status === "removed") return ["idle", "removed"];
  if (part.steps.includes(at) && run.status !== "done" && run.status !== "done-with-differences") {
    if (run.status === "failed" || run.status === "expired") return ["bad", "stopped"];
    if (run.status === "waiting-approval") return ["wait", "waits for approval"];
    if (run.status === "running") return ["move", run.direction === "down" ? "being removed" : "being made"];
    return ["idle", "not yet"];
  }
  if (run.direction === "down") return part.steps.some((s) => passed.has(s)) ? ["idle", "removed"] : ["good", "stands"];
  return part.steps.every((s) => passed.has(s)) ? ["good", "stands"] : ["idle", "not yet"];
}

function namesOf(run) {
  const f = run.facts || {};
  return {
    source: f.preflight?.target?.instanceId, "ECS host": f.preflight?.target?.instanceId,
    balancer: f.nlb?.id || f.clb?.id, "endpoint service": f.endpointService?.id, endpoint: f.privateConnection?.endpointId,
    destination: f.preflight?.instance?.instanceId, cluster: f.preflight?.instance?.instanceId,
  };
}

function picture(run, scenario) {
  if (!scenario?.picture?.length) return null;
  // What an earlier walk of this run has made stands, too.
  const passed = new Set();
  for (const e of run.timeline || []) {
    if (e.what === "done") passed.add(e.step);
    if (e.what === "teardown") passed.clear();
  }
  const names = namesOf(run);
  const parts = scenario.picture.map((part) => {
    const [kind, words] = stateOf(part, run, passed);
    return el("div", { class: "part " + kind }, el("b", {}, part.name), el("small", {}, names[part.name] || ""), el("small", {}, words));
  });
  return card("Connection", el("div", { class: "picture" }, parts.flatMap((p, i) => (i ? [el("span", { class: "arrow", "aria-hidden": "true" }, "→"), p] : [p]))));
}

function flowCard(run, scenario) {
  const steps = walk(run);
  const marks = { done: "✓", stopped: "✗", asked: "?" };
  const rows = steps.map((s, i) => {
    const now = i === steps.length - 1 && run.status === "running" && s.state !== "done";
    const told = s.state === "done" ? "" : s.reason || "";
    return el("div", { class: "step" + (now ? " now" : "") }, el("span", { "aria-label": s.state }, marks[s.state] || "…"), el("span", {}, s.step),
      el("span", { class: "took" }, span(new Date(s.at) - new Date(s.since))), el("span", { class: "told" }, told));
  });
  const seen = new Set(steps.map((s) => s.step));
  const ahead = run.direction === "down" ? [] : (scenario?.steps || []).filter((s) => !seen.has(s.name));
  for (const s of ahead) rows.push(el("div", { class: "step soft" }, el("span", {}, "·"), el("span", {}, s.name), el("span", {}), el("span", {})));
  return card(run.direction === "down" ? "Steps of the removal (cloud time)" : "Steps (cloud time)", rows);
}

const rates = new Map(); // of documents a second, by run

function progressCard(run) {
  const p = run.progress;
  if (!p) return null;
  const history = rates.get(run.runId) || [];
  if (run.status === "running" && run.step === "progress") {
    history.push(p.docsPerSecond || 0);
    rates.set(run.runId, history.slice(-150));
  }
  const top = Math.max(...history, 1);
  const points = history.map((v, i) => `${(i * 100) / Math.max(history.length - 1, 1)},${38 - (v * 36) / top}`).join(" ");
  return card("Copy",
    el("progress", { max: Math.max(p.total, 1), value: p.documents, "aria-label": "documents copied" }),
    el("p", { class: "reason" }, `${p.documents} of ${p.total} documents (${Math.floor(p.percent)} %)`, p.docsPerSecond && p.eta ? `, ${Math.round(p.docsPerSecond)} a second, ${p.eta} left` : ""),
    history.length > 1 && el("svg", { class: "chart", viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img" }, el("title", {}, `documents a second, at most ${Math.round(top)}`), el("polyline", { points })),
    (p.indices || []).length > 1 && el("div", { class: "scroll" }, el("table", {}, el("tr", {}, el("th", {}, "index"), el("th", { class: "number" }, "documents"), el("th", { class: "number" }, "of")),
      p.indices.slice(0, 100).map((x) => el("tr", {}, el("td", {}, x.dest), el("td", { class: "number" }, x.documents), el("td", { class: "number" }, x.total))))));
}

// planBody is what approving does, in the plan's own words.
function planBody(plan) {
  const rows = [];
  const row = (term, ...what) => rows.push(el("dt", {}, term), el("dd", {}, what));
  if (plan.creates?.length) row("makes", el("ul", {}, plan.creates.map((c) => el("li", {}, c))));
  for (const d of plan.difference || []) row("changes", el("code", {}, d.key), el("pre", {}, "− " + (d.before || "(nothing)")), el("pre", {}, "+ " + (d.after || "(nothing)")));
  if (plan.restart) row("restarts", plan.restart.needed ? `the cluster, node by node: about ${span(plan.restart.seconds * 1000)}` : "nothing");
  if (plan.cost) row("costs", `${plan.cost.currency} ${plan.cost.perMonth} a month`, plan.cost.note && el("div", { class: "soft" }, plan.cost.note));
  // What a later eslink says of a plan is shown as it is.
  for (const [key, value] of Object.entries(plan)) {
    if (["planId", "creates", "difference", "restart", "cost"].includes(key)) continue;
    row(key, Array.isArray(value) ? el("ul", {}, value.map((v) => el("li", {}, typeof v === "string" ? v : JSON.stringify(v)))) : typeof value === "object" ? el("code", {}, JSON.stringify(value)) : value);
  }
  return el("dl", {}, rows);
}

function planCard(run, act) {
  if (!run.plan) return null;
  const waits = run.status === "waiting-approval";
  return card(waits ? "This plan waits for your approval" : "Plan", planBody(run.plan),
    waits && !about.readOnly && el("div", { class: "buttons" }, el("button", {
      class: "primary", click: () => act("approve", { planId: run.plan.planId }, "Approve this plan?", "Approve", planBody(run.plan)),
    }, "Approve…")));
}

function checksCard(run, checked) {
  const checks = checked?.checks || run.facts?.verify?.checks;
  if (!checks?.length) return null;
  return card(checked ? "Checks, asked just now" : "Checks", el("table", {}, checks.map((c) => el("tr", {}, el("td", {}, el("span", { class: "chip " + (c.ok ? "good" : "bad") }, c.ok ? "passes" : "fails")),
    el("td", { class: "word" }, el("b", {}, c.name)), el("td", {}, c.detail, !c.ok && c.remedy && el("div", {}, el("b", {}, "What to do: "), c.remedy))))));
}

function differencesCard(run) {
  const verify = run.facts?.verify;
  if (!verify?.level) return null;
  const lines = verify.differences || [];
  return card("Comparison of source and destination", el("p", { class: "reason" }, `compared by ${verify.level}; `, lines.length ? `${lines.length} lines of differences` : "no difference found"),
    el("div", { class: "scroll" }, el("table", {}, el("tr", {}, el("th", {}, "index"), el("th", {}, "compared by"), el("th", { class: "number" }, "documents"), el("th", {}, "differ")),
      (verify.indices || []).slice(0, 200).map((x) => el("tr", {}, el("td", {}, x.dest), el("td", {}, x.level), el("td", { class: "number" }, x.documents || 0),
        el("td", {}, Object.entries(x.differences || {}).map(([k, n]) => `${n} ${k}`).join(", ") || "none"))))),
    lines.length > 0 && el("ul", {}, lines.map((l) => el("li", {}, l))));
}

function timelineCard(run) {
  const all = (run.timeline || []).toReversed();
  const row = (e) => el("tr", {}, el("td", { class: "soft word" }, time(e.at)), el("td", { class: "word hides" }, e.step),
    el("td", {}, el("span", { class: "only" }, e.step + " "), e.what, e.reason && el("div", { class: "soft" }, e.reason)));
  return card("Timeline", el("div", { class: "scroll" }, el("table", {}, all.slice(0, recent).map(row))),
    all.length > recent && el("details", { open: earlierOpen, toggle: (e) => (earlierOpen = e.target.open) }, el("summary", {}, `${all.length - recent} earlier entries`),
      el("div", { class: "scroll" }, el("table", {}, all.slice(recent).map(row)))));
}

let earlierOpen = false;
let about = { scenarios: {} };
let shown = 0; // counts what is shown, so that a late reply does not replace it
let timer = 0;
let drawn = "";

function put(...children) {
  const main = document.getElementById("main");
  main.replaceChildren(...children.flat(Infinity).filter(Boolean));
}

// Buttons say what is possible now; the functions have the last word.
const possible = {
  cancel: (r) => ["running", "waiting-approval", "planned"].includes(r.status),
  retry: (r) => ["failed", "cancelled"].includes(r.status),
  teardown: (r) => r.status !== "removed" && !(r.direction === "down" && r.status === "running"),
  check: (r) => r.direction !== "down" && ["done", "done-with-differences"].includes(r.status),
};
const says = {
  cancel: ["Cancel this run?", "Cancel the run", "The run stops. What it has made so far stays, and costs what it costs; retry goes on, teardown removes."],
  retry: ["Go on with this run?", "Retry", "The step that stopped is tried again."],
  teardown: ["Tear this run down?", "Tear down", "Everything that the run has made is taken away again, and nothing else. The destination restarts if the whitelist entry is removed; you are shown that difference first."],
};

async function showRun(id) {
  const mine = ++shown;
  let checked = null;
  const act = async (action, body, title, yes, ...text) => {
    if (!(await confirmed(title, yes, ...text))) return;
    try {
      await ask(`api/runs/${encodeURIComponent(id)}/${action}`, body);
      await look();
    } catch (e) {
      document.getElementById("main").prepend(problemCard(e.problem || { title: String(e) }));
      drawn = "";
    }
  };
  const check = async (button) => {
    button.disabled = true;
    button.textContent = "Checking…";
    try {
      checked = await ask(`api/runs/${encodeURIComponent(id)}/check`, {});
    } catch (e) {
      document.getElementById("main").prepend(problemCard(e.problem || { title: String(e) }));
    }
    drawn = "";
    await look();
  };
  const draw = (run) => {
    const scenario = about.scenarios[run.scenario];
    const buttons = about.readOnly ? [] : [
      possible.check(run) && el("button", { click: (e) => check(e.target) }, "Check the link"),
      possible.retry(run) && el("button", { class: "primary", click: () => act("retry", {}, ...says.retry) }, "Retry…"),
      possible.cancel(run) && el("button", { click: () => act("cancel", {}, ...says.cancel) }, "Cancel…"),
      possible.teardown(run) && el("button", { class: "danger", click: () => act("teardown", {}, ...says.teardown) }, "Tear down…"),
    ];
    put(
      el("p", {}, el("a", { href: "#/" }, "← all runs")),
      card("", el("h1", {}, run.name || run.runId, " ", chip(run.status)),
        el("div", { class: "soft" }, `${run.scenario}, run ${run.runId}, generation ${run.generation}`, run.status === "running" ? `, at step ${run.step}` : ""),
        run.reason && el("p", { class: "reason" }, run.reason), run.next && run.status !== "waiting-approval" && el("p", { class: "reason" }, el("b", {}, "Next: "), run.next), el("div", { class: "buttons" }, buttons)),
      run.problem && problemCard(run.problem),
      run.status === "waiting-approval" && planCard(run, act),
      picture(run, scenario),
      el("div", { class: "columns" }, el("div", {}, flowCard(run, scenario)),
        el("div", {}, progressCard(run), checksCard(run, checked), differencesCard(run), run.status !== "waiting-approval" && planCard(run, act))),
      timelineCard(run));
  };
  const look = async () => {
    if (mine !== shown) return;
    const run = await ask("api/runs/" + encodeURIComponent(id));
    if (mine !== shown || document.getElementById("ask").open) return run;
    const now = JSON.stringify([run, checked]);
    if (now !== drawn) { // what has not changed keeps the reader's place
      drawn = now;
      draw(run);
    }
    return run;
  };
  await keepLooking(mine, look);
}

async function showRuns(page) {
  const mine = ++shown;
  const look = async () => {
    const { runs } = await ask("api/runs");
    if (mine !== shown) return;
    const now = JSON.stringify([runs, page]);
    if (now === drawn) return;
    drawn = now;
    const order = ["waiting-approval", "failed", "running"];
    const rank = (r) => (order.indexOf(r.status) + 1) || 9;
    runs.sort((a, b) => rank(a) - rank(b) || (a.name || "").localeCompare(b.name || ""));
    const pages = Math.max(1, Math.ceil(runs.length / perPage));
    const at = Math.min(page, pages);
    const rows = runs.slice((at - 1) * perPage, at * perPage).map((r) => el("tr", {},
      el("td", {}, el("a", { href: "#/runs/" + encodeURIComponent(r.runId) }, r.name || r.runId), el("div", { class: "soft" }, r.scenario)),
      el("td", {}, chip(r.status)), el("td", { class: "hides" }, r.step), el("td", { class: "hides" }, r.reason || "")));
    put(card("", el("h1", {}, "Runs"), runs.length === 0 ? el("p", {}, "There are no runs. Begin one with ", el("code", {}, "eslink start -f SPEC"), ".") :
      el("table", {}, el("tr", {}, el("th", {}, "name"), el("th", {}, "status"), el("th", { class: "hides" }, "step"), el("th", { class: "hides" }, "reason")), rows),
    pages > 1 && el("div", { class: "buttons" }, el("a", { href: `#/page/${Math.max(1, at - 1)}` }, "← earlier"), el("span", {}, `page ${at} of ${pages}, ${runs.length} runs`), el("a", { href: `#/page/${Math.min(pages, at + 1)}` }, "later →"))));
  };
  await keepLooking(mine, look);
}

// keepLooking looks again and again while the same thing is shown and seen.
async function keepLooking(mine, look) {
  clearTimeout(timer);
  const alive = document.getElementById("alive");
  try {
    if (!document.hidden) await look();
    if (mine === shown) alive.textContent = "live";
  } catch (e) {
    if (mine !== shown) return;
    alive.textContent = "not up to date";
    const problem = e.problem || { title: String(e) };
    if (!drawn) put(el("p", {}, el("a", { href: "#/" }, "← all runs")), problemCard(problem));
  }
  if (mine === shown) timer = setTimeout(() => keepLooking(mine, look), lookEvery);
}

async function route() {
  drawn = "";
  const [, kind, value] = location.hash.slice(1).split("/");
  try {
    about = await ask("api/about");
    document.getElementById("where").textContent = about.where + (about.readOnly ? ", read only" : "");
  } catch (e) {
    put(problemCard(e.problem || { title: String(e) }));
    return;
  }
  if (kind === "runs" && value) await showRun(decodeURIComponent(value));
  else await showRuns(kind === "page" ? Number(value) || 1 : 1);
}

addEventListener("hashchange", route);
route();
