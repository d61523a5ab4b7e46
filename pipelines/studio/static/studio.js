// The workbench: asks the server, shows what it says. No build step; the only library is uPlot, for lines.
"use strict";

const $ = (id) => document.getElementById(id);
const who = crypto.randomUUID ? crypto.randomUUID() : String(Math.random());
const state = { home: null, changes: {}, base: null, sketching: false, again: false, exact: null, asked: 0,
  offset: 0, sort: "total", order: "desc", creator: null };

// --- small things

const money = (micros, digits = 2) => (micros / 1e6).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const exactly = (micros) => money(micros, 6);
const percent = (part) => (100 * part).toLocaleString("en", { maximumFractionDigits: 2 }) + " %";
const signed = (value, show) => (value > 0 ? "+" : "") + show(value);
const turn = (value) => (value > 0 ? "gain" : value < 0 ? "loss" : "");

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

async function get(path, query = {}) {
  return answer(await fetch(path + "?" + new URLSearchParams(query)));
}
async function post(path, body) {
  return answer(await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }));
}
async function answer(response) {
  const found = await response.json().catch(() => ({ problem: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(found.problem || `the server answered ${response.status}`);
  return found;
}
function problem(error) {
  const place = $("problem");
  place.hidden = !error;
  place.textContent = error ? error.message || String(error) : "";
}
function waited(job) {
  return async (...given) => {
    try { problem(null); return await job(...given); } catch (error) { problem(error); }
  };
}

function table(id, columns, rows) {
  const head = element("tr", {}, ...columns.map((column) => element("th", { scope: "col", class: column.text ? "text" : "" }, column.title)));
  $(id).tHead.replaceChildren(head);
  $(id).tBodies[0].replaceChildren(...rows.map((row) => element("tr", {}, ...columns.map((column) => {
    const value = column.show(row);
    return element("td", { class: column.text ? "text" : column.change ? turn(row[column.change]) : "" }, value === null || value === undefined ? "" : value);
  }))));
}

function lines(place, labels, x, series, axes = {}) {
  const colour = (name) => {
    const probe = element("span", { style: `color: var(${name})` });
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const grid = { stroke: colour("--line"), width: 1 };
  const axis = { stroke: colour("--soft"), grid, ticks: grid };
  const across = axes.time ? { ...axis, space: 90, incrs: [1, 2, 7, 14, 28, 91, 364].map((n) => n * 86400),
    values: (_, at) => at.map((second) => new Date(1000 * second).toISOString().slice(0, 10)) } : axis;
  const colours = [colour("--accent"), colour("--other"), colour("--soft")];
  place.replaceChildren();
  new uPlot({
    width: Math.max(place.clientWidth, 280), height: 240, scales: { x: { time: axes.time || false } },
    tzDate: (second) => uPlot.tzDate(new Date(1000 * second), "Etc/UTC"),
    axes: [across, { ...axis, size: 70 }],
    series: [{ label: axes.x || "day", value: axes.time ? (_, second) => second === null ? "" : new Date(1000 * second).toISOString().slice(0, 10) : undefined }, ...labels.map((label, n) => ({ label, stroke: colours[n], width: 2, points: { show: x.length < 60 } }))],
  }, [x, ...series], place);
}

// --- policies

const last = () => $("last").value;
const chosen = () => state.home.policies.find((policy) => `${policy.name} ${policy.version}` === $("policy").value);
const asked = () => ({ policy: chosen().name, version: chosen().version, changes: state.changes });

async function start() {
  state.home = await get("api/home");
  const { days, policies, paying } = state.home;
  $("home").textContent = state.home.home.split("/").pop();
  $("paying").textContent = paying;
  if (!days.length) throw new Error("No day is made, or none is published. Make some first: earnings run");
  for (const id of ["first", "last"]) $(id).replaceChildren(...days.map((day) => element("option", {}, day.day)));
  $("last").selectedIndex = days.length - 1;
  $("first").selectedIndex = Math.max(days.length - 1, 0);
  $("policy").replaceChildren(...policies.map((policy) =>
    element("option", { value: `${policy.name} ${policy.version}` }, policies.filter((other) => other.name === policy.name).length > 1
      ? `${policy.name}, from ${policy.version}` : policy.name)));
  const other = policies.find((policy) => policy.name !== paying) || policies[0];
  $("policy").value = `${other.name} ${other.version}`;
  $("save-since").value = new Date(Date.now() + 864e5).toISOString().slice(0, 10);
  sliders();
  await show();
}

function sliders() {
  state.base = chosen().values;
  state.changes = {};
  $("knobs").replaceChildren(...state.home.knobs.map((knob) => {
    const value = state.base[knob.field];
    const fixed = typeof value !== "number";
    const output = element("output", {}, fixed ? String(value) : String(value));
    const input = element("input", { type: "range", min: knob.low, max: knob.high, step: knob.step, name: knob.field, id: `knob-${knob.field}` });
    if (!fixed) input.value = value;
    input.disabled = fixed;
    const label = element("label", { for: input.id, title: knob.field }, element("span", {}, knob.label), output, input);
    const read = () => {
      const now = Number(input.value);
      output.textContent = String(now);
      const changed = Math.abs(now - value) > knob.step / 2;
      label.classList.toggle("changed", changed);
      if (changed) state.changes[knob.field] = now; else delete state.changes[knob.field];
      $("save-write").hidden = true;
      $("diff").hidden = true;
    };
    input.addEventListener("input", () => { read(); sketch(); });
    input.addEventListener("change", () => exact());
    input.reread = read;
    return label;
  }));
}

const MEASURES = [
  ["creators", "Creators get", money], ["ads", "from ad pools", money], ["pulse", "from Pulse", money], ["coins", "from gifted coins", money],
  ["platform", "Platform keeps", money], ["carried", "Carried on", money], ["small_creators_share", "Part of the half with fewer followers", percent],
  ["efficiency", "Efficiency of pools", (x) => x.toFixed(4)], ["gini", "Gini of what pools pay", (x) => x.toFixed(4)],
];

// One question at a time; while it is answered, only the newest position waits.
async function sketch() {
  if (state.sketching) { state.again = true; return; }
  state.sketching = true;
  try {
    const began = performance.now();
    const found = await post("api/sketch", { day: last(), ...asked() });
    problem(null);
    $("speed").textContent = `${found.buckets.toLocaleString("en")} buckets, ${Math.round(performance.now() - began)} ms.`;
    $("unseen").hidden = !found.unseen.length;
    $("unseen").textContent = found.unseen.length ? `B differs from A in ${found.unseen.join(", ")}: the sketch does not see that, the exact figures below do.` : "";
    $("sketch").tBodies[0].replaceChildren(...MEASURES.map(([name, label, show]) => {
      const change = found.b[name] - found.a[name];
      const real = Math.abs(change) > 1e-9 * Math.max(1, Math.abs(found.a[name]));
      return element("tr", { "data-measure": name }, element("th", { scope: "row" }, label), element("td", {}, show(found.a[name])),
        element("td", {}, show(found.b[name])), element("td", { class: real ? turn(change) : "" }, real ? signed(change, show) : ""));
    }));
  } catch (error) { problem(error); } finally {
    state.sketching = false;
    if (state.again) { state.again = false; sketch(); }
  }
}

async function exact() {
  const mine = ++state.asked;
  state.exact = null;
  $("exact-state").textContent = "asked";
  try {
    const body = { first: $("first").value, last: last(), who, ...asked() };
    const { id } = await post("api/exact", body);
    for (;;) {
      const found = await get("api/exact", { id });
      if (mine !== state.asked) return;
      if (found.state === "done") { state.exact = { id, ...found }; showExact(); return; }
      if (found.state === "failed") throw new Error(found.problem);
      $("exact-state").textContent = found.state === "running" ? "is being paid …" : "waits …";
      await new Promise((done) => setTimeout(done, 500));
    }
  } catch (error) {
    if (mine !== state.asked) return;
    $("exact-state").textContent = "";
    $("exact").tBodies[0].replaceChildren();
    $("moved").textContent = "";
    problem(error);
  }
}

function showExact() {
  const found = state.exact;
  $("exact-state").textContent = `${found.policy.policy} against ${found.against.policy}, ${found.first_day} to ${found.last_day}, to the micro`;
  const rows = [...found.totals.map((row) => ["goes to", row]), ...found.parts.filter((row) => row.part !== "total").map((row) => ["part", row])];
  $("exact").tBodies[0].replaceChildren(...rows.map(([name, row]) =>
    element("tr", { "data-row": row[name] }, element("th", { scope: "row" }, row[name]), element("td", {}, exactly(row.a)), element("td", {}, exactly(row.b)),
      element("td", { class: turn(row.change) }, row.change ? signed(row.change, exactly) : ""))));
  $("moved").replaceChildren(`${percent(found.moved_share)} of the creators' money would go to somebody else. `,
    element("a", { href: "#creators", onclick: () => { $("which").value = "exact"; state.sort = "total_change"; state.offset = 0; } }, "Who gains and who loses"));
  lines($("lorenz"), [`A ${found.against.policy}`, `B ${found.policy.policy}`], found.lorenz.creators, [found.lorenz.a, found.lorenz.b], { x: "part of creators" });
}

async function frontier() {
  const { points, now } = await post("api/frontier", { day: last(), ...asked() });
  const [width, height, left, low] = [600, 300, 60, 40];
  const all = [...points, now];
  const scale = (name, from, to) => {
    const values = all.map((point) => point[name]);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return (value) => from + (to - from) * (most > least ? (value - least) / (most - least) : 0.5);
  };
  const x = scale("efficiency", left + 10, width - 10);
  const y = scale("small_creators_share", height - low - 10, 10);
  const svg = (name, attributes, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const words = (point) => `weight of efficiency ${point.lambda_eff}, exponent ${point.alpha}: efficiency ${point.efficiency.toFixed(4)}, ` +
    `small creators ${percent(point.small_creators_share)}, Gini ${point.gini.toFixed(3)}${point.dominated ? ", beaten" : ""}`;
  const circles = points.map((point) => {
    const circle = svg("circle", { cx: x(point.efficiency), cy: y(point.small_creators_share), r: 6, tabindex: 0, role: "button",
      class: point.dominated ? "beaten" : "", "aria-label": words(point) }, svg("title", {}, words(point)));
    const take = () => {
      for (const [field, value] of [["ads.lambda_eff", point.lambda_eff], ["ads.alpha", point.alpha]]) {
        const input = $(`knob-${field}`);
        input.value = value;
        input.reread();
      }
      $("point").textContent = `Taken: ${words(point)}`;
      sketch();
      exact();
    };
    circle.addEventListener("click", take);
    circle.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); take(); } });
    return circle;
  });
  $("frontier").replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${height}` },
    svg("line", { class: "axis", x1: left, y1: height - low, x2: width, y2: height - low }),
    svg("line", { class: "axis", x1: left, y1: 0, x2: left, y2: height - low }),
    svg("text", { x: width / 2, y: height - 8, "text-anchor": "middle" }, "efficiency"),
    ...["start", "end"].map((anchor, n) => svg("text", { x: n ? width : left, y: height - low + 16, "text-anchor": anchor },
      (n ? Math.max : Math.min)(...all.map((point) => point.efficiency)).toFixed(4))),
    ...[0, 1].map((n) => svg("text", { x: left - 4, y: n ? 20 : height - low - 6, "text-anchor": "end" },
      percent((n ? Math.max : Math.min)(...all.map((point) => point.small_creators_share))))),
    svg("text", { x: 14, y: height / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${height / 2})` }, "part of small creators"),
    ...circles, svg("circle", { class: "now", cx: x(now.efficiency), cy: y(now.small_creators_share), r: 10 }, svg("title", {}, "policy B as it is"))));
}

const draft = () => ({ ...asked(), name: $("save-name").value, since: $("save-since").value });
async function preview() {
  const found = await post("api/policy/preview", draft());
  $("diff").textContent = found.diff || "nothing";
  $("diff").hidden = false;
  $("save-write").hidden = false;
  $("saved").textContent = `${found.file} is valid (${found.policy_hash}) and not written yet. ${found.note}`;
}
async function write() {
  const found = await post("api/policy/save", draft());
  $("saved").textContent = `${found.file} is written.`;
  $("save-write").hidden = true;
  const before = $("policy").value;
  state.home = await get("api/home");
  $("policy").append(element("option", { value: `${$("save-name").value} ${$("save-since").value}` }, $("save-name").value));
  $("policy").value = before;
}

// --- creators

const COLUMNS = {
  paid: [["creator_id", "creator"], ["followers", "followers"], ["ads", "ad pools"], ["pulse", "Pulse"], ["coins", "coins"], ["bonus", "bonus"], ["total", "total"]],
  exact: [["creator_id", "creator"], ["followers", "followers"], ["total_a", "A"], ["total_b", "B"], ["total_change", "change"], ["ads_change", "ad pools"], ["coins_change", "coins"]],
};
async function creators() {
  const which = $("which").value === "exact" && state.exact ? "exact" : "paid";
  if (which !== $("which").value) throw new Error("No exact answer is there yet: choose policy B on the page Policy first.");
  if (!COLUMNS[which].some(([name]) => name === state.sort)) { state.sort = which === "exact" ? "total_change" : "total"; state.order = "desc"; }
  const query = { search: $("search").value, sort: state.sort, order: state.order, offset: state.offset };
  const found = which === "exact" ? await get("api/exact/creators", { id: state.exact.id, ...query })
    : await get("api/creators", { first: $("first").value, last: last(), ...query });
  $("creators").tHead.replaceChildren(element("tr", {}, ...COLUMNS[which].map(([name, title]) => {
    const sorted = state.sort === name ? (state.order === "asc" ? "ascending" : "descending") : "none";
    return element("th", { scope: "col", "aria-sort": sorted }, element("button", { type: "button", onclick: waited(async () => {
      state.order = state.sort === name && state.order === "desc" ? "asc" : "desc";
      Object.assign(state, { sort: name, offset: 0 });
      await creators();
    }) }, title));
  })));
  $("creators").tBodies[0].replaceChildren(...found.rows.map((row) => element("tr", {}, ...COLUMNS[which].map(([name]) => {
    if (name === "creator_id") return element("td", {}, element("a", { href: `#creator/${encodeURIComponent(row[name])}` }, row[name]));
    if (name === "followers") return element("td", {}, row[name].toLocaleString("en"));
    return element("td", { class: name.endsWith("change") ? turn(row[name]) : "" }, name.endsWith("change") ? signed(row[name], exactly) : exactly(row[name]));
  }))));
  const to = Math.min(state.offset + found.rows.length, found.found);
  $("found").textContent = found.found ? `${(state.offset + 1).toLocaleString("en")} to ${to.toLocaleString("en")} of ${found.found.toLocaleString("en")} creators, ${$("first").value} to ${last()}` : "Nobody found.";
  $("before").disabled = state.offset === 0;
  $("after").disabled = to >= found.found;
  state.page = found.page;
}

async function creator(id) {
  state.creator = id;
  $("creator-name").textContent = id;
  const found = await get("api/creator", { id });
  if (!found.days.length) throw new Error(`${id} earned nothing on any day that is made.`);
  const x = found.days.map((day) => Date.parse(day.day) / 1000);
  const shadow = found.days.some((day) => day.shadow !== null);
  lines($("history"), ["paid", ...(shadow ? ["in shadow"] : [])], x,
    [found.days.map((day) => day.total / 1e6), ...(shadow ? [found.days.map((day) => day.shadow === null ? null : day.shadow / 1e6)] : [])], { time: true });
  const newest = found.days.map((day) => day.day).reverse();
  $("creator-day").replaceChildren(...newest.map((day) => element("option", {}, day)));
  $("creator-month").replaceChildren(...[...new Set(newest.map((day) => day.slice(0, 7)))].map((month) => element("option", {}, month)));
  await Promise.all([explained(), month()]);
}
async function explained() {
  const found = await get("api/creator/explained", { id: state.creator, day: $("creator-day").value });
  $("explained").replaceChildren(...[element("p", {}, found.words), ...found.videos.map((video) => element("details", {},
    element("summary", {}, `${video.video_id}: ${exactly(video.total)}`), element("p", {}, video.words),
    ...video.payouts.map((payout) => element("div", {}, element("p", {}, `${payout.title}: ${payout.words}`),
      element("table", {}, element("tbody", {}, ...payout.parts.map((part) => element("tr", {}, element("th", { scope: "row" }, part.part),
        element("td", { class: turn(part.micros) }, signed(part.micros, exactly)))), element("tr", {}, element("th", { scope: "row" }, "="), element("td", {}, exactly(payout.paid)))))))
  )), found.more_videos ? element("p", {}, `and ${found.more_videos} more videos`) : ""]);
}
async function month() {
  const chosenMonth = $("creator-month").value;
  $("statement").href = `statement?${new URLSearchParams({ id: state.creator, month: chosenMonth })}`;
  try {
    const found = await get("api/creator/month", { id: state.creator, month: chosenMonth });
    $("month").replaceChildren(element("p", {}, found.words));
  } catch (error) { $("month").replaceChildren(element("p", { class: "note" }, error.message)); }
}

// --- other pages

async function days() {
  const rows = state.home.days;
  const shadow = rows.some((row) => row.shadow !== null);
  lines($("days-plot"), ["creators were paid", ...(shadow ? ["in shadow"] : [])], rows.map((row) => Date.parse(row.day) / 1000),
    [rows.map((row) => row.creators / 1e6), ...(shadow ? [rows.map((row) => row.shadow === null ? null : row.shadow / 1e6)] : [])], { time: true });
  $("coming").replaceChildren(...state.home.coming.map((found) => element("p", { class: "warning" },
    `From ${found.day} on ${found.policy} pays in a new version. Over ${found.days} days in shadow, ${percent(found.moved_share)} of the creators' money went to somebody else. `,
    ...found.problems.map((said) => element("span", {}, `Beyond the guard: ${said}. `)))));
  table("days", [{ title: "day", text: true, show: (row) => row.day }, { title: "taken in", show: (row) => exactly(row.gross) },
    { title: "creators", show: (row) => exactly(row.creators) }, { title: "platform", show: (row) => exactly(row.platform) },
    { title: "in shadow", show: (row) => row.shadow === null ? "" : exactly(row.shadow) }, { title: "paid", show: (row) => row.paid.toLocaleString("en") },
    { title: "policy", show: (row) => row.policy }, { title: "", show: (row) => row.closed ? "closed" : "" }], [...rows].reverse());
}
async function quarantine() {
  const { rows } = await get("api/quarantine");
  $("quarantine-note").textContent = rows.length ? "" : "Nothing is in quarantine.";
  table("quarantine", [{ title: "day", text: true, show: (row) => row.day }, { title: "table", text: true, show: (row) => row.table },
    { title: "rows", show: (row) => row.rows.toLocaleString("en") }, { title: "reason", text: true, show: (row) => row.reason }, { title: "first", text: true, show: (row) => row.first }], rows);
}
async function gaming() {
  const { days: rows } = await get("api/gaming");
  const figure = (value) => value === null ? "" : value.toFixed(2);
  $("gaming-note").textContent = rows.length ? "" : "No day of this home was judged: that needs a policy that scores by evidence, and pools without bounds.";
  table("gaming", [{ title: "day", text: true, show: (row) => row.day }, { title: "videos", show: (row) => row.videos.toLocaleString("en") },
    { title: "one account, median", show: (row) => figure(row.median_account) }, { title: "99 of 100", show: (row) => figure(row.account_99) },
    { title: "most", show: (row) => figure(row.most_account) }, { title: "ten accounts, most", show: (row) => figure(row.most_ten) }, { title: "video", text: true, show: (row) => row.video_id }], rows);
}
async function moneyPage() {
  const found = (await get("api/money")).money;
  $("money-note").textContent = found ? "" : "Nothing was stated yet: earnings close --through DAY.";
  const rows = found ? [...found.places, { place: "all that was earned", meaning: "the sum", micros: found.earned }] : [];
  table("money", [{ title: "place", text: true, show: (row) => row.place }, { title: "amount", show: (row) => exactly(row.micros) },
    { title: "what it is", text: true, show: (row) => row.meaning }], rows);
  if (found) $("money-note").textContent = [
    found.waiting.length ? `${found.waiting.length} payments wait for the bank for too long, the first of ${found.waiting[0].requested_on}.` : "",
    found.astray.length ? `Money of ${found.astray.join(", ")} is astray: earnings ledger verify.` : "",
  ].join(" ");
}

const PAGES = { policy: frontier, creators, creator: () => creator(state.page_of), days, quarantine, gaming, money: moneyPage };

async function show() {
  const [name, id] = (location.hash.slice(1) || "policy").split("/");
  const page = PAGES[name] ? name : "policy";
  state.page_of = id && decodeURIComponent(id);
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== `page-${page}`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${page}` || (page === "creator" && link.hash === "#creators")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${page[0].toUpperCase()}${page.slice(1)} · Studio`;
  if (page === "policy") { sketch(); if (!state.exact) exact(); }
  await PAGES[page]();
}

function listen() {
  const everything = waited(async () => { sliders(); sketch(); exact(); await frontier(); });
  for (const id of ["first", "last"]) $(id).addEventListener("change", waited(async () => {
    if ($("first").selectedIndex > $("last").selectedIndex) $("first").selectedIndex = $("last").selectedIndex;
    sketch(); exact(); await frontier();
  }));
  $("policy").addEventListener("change", everything);
  $("choice").addEventListener("reset", (event) => { event.preventDefault(); everything(); });
  $("save").addEventListener("submit", (event) => { event.preventDefault(); waited(preview)(); });
  $("save").addEventListener("input", () => { $("save-write").hidden = true; $("diff").hidden = true; });
  $("save-write").addEventListener("click", waited(write));
  let typing;
  $("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(waited(async () => { state.offset = 0; await creators(); }), 150); });
  $("which").addEventListener("change", waited(async () => { state.offset = 0; await creators(); }));
  $("before").addEventListener("click", waited(async () => { state.offset = Math.max(0, state.offset - state.page); await creators(); }));
  $("after").addEventListener("click", waited(async () => { state.offset += state.page; await creators(); }));
  $("creator-day").addEventListener("change", waited(explained));
  $("creator-month").addEventListener("change", waited(month));
  window.addEventListener("hashchange", waited(async () => { await show(); $("main").focus(); }));
}

listen();
waited(start)();
