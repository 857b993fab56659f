/* Draws a drill's report from the JSON beside it. Texts go in as text, never as markup. */
(function () {
  "use strict";
  const r = JSON.parse(document.getElementById("result").textContent);
  const page = document.getElementById("page");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function el(tag, attributes, ...children) {
    const e = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key === "style") for (const [p, v] of Object.entries(value)) e.style.setProperty(p, v);
      else e.setAttribute(key, value);
    }
    for (const child of children) if (child !== null && child !== undefined) e.append(child);
    return e;
  }
  const seconds = (v, digits) => (v === null || v === undefined ? "unknown" : v.toFixed(digits === undefined ? 2 : digits) + " s");
  const list = (v) => (Array.isArray(v) ? v : []);

  function section(title, ...children) {
    const e = el("section", {}, el("h2", {}, title), ...children);
    page.append(e);
    return e;
  }

  function table(head, rows) {
    const cell = (tag, value, i) => {
      const text = value && value.nodeType ? value : String(value);
      const kind = { ">": "number", "|": "bars" }[head[i][0]];
      return el(tag, kind ? { class: kind } : {}, text);
    };
    return el("div", { class: "scroll" }, el("table", {},
      el("thead", {}, el("tr", {}, ...head.map((h, i) => cell("th", h.replace(/^[>|]/, ""), i)))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((v, i) => cell("td", v, i)))))));
  }

  function tile(label, value, bad) {
    return el("div", { class: bad ? "tile bad" : "tile" }, el("b", {}, value), label);
  }

  function verdict() {
    const v = r.verdict;
    const box = el("div", { class: v.code === 0 ? "verdict pass" : "verdict" },
      el("h1", {}, el("span", { class: "name" }, v.name), " " + (r.title || r.fault || "")));
    for (const reason of list(v.reasons)) box.append(el("p", {}, reason.split("\n")[0]));
    if (r.hypothesis) box.append(el("p", { class: "soft" }, "Expected: " + r.hypothesis));
    box.append(el("p", { class: "soft" },
      ["formation " + r.formation, r.provider, r.fault_at || r.started, "run " + (r.run || "none"), "pgafrun " + r.version].join(" · ")));
    page.append(box);
    const a = r.audit, w = r.writes, tiles = el("div", { class: "tiles" });
    if (r.gap) tiles.append(tile("without writes (budget " + r.budget + " s)", seconds(r.gap.seconds), r.gap.seconds > r.budget));
    if (r.prediction) tiles.append(tile("predicted", r.prediction.best.toFixed(1) + " – " + seconds(r.prediction.worst, 1)));
    if (a) tiles.append(tile("acknowledged and lost", String(list(a.lost).length), list(a.lost).length > 0));
    if (w) tiles.append(tile("writes acknowledged", String(w.acknowledged)));
    if (r.async) tiles.append(tile(r.async.acknowledged + " writes kept by one node alone", seconds(r.async.seconds)));
    if (r.seconds && r.seconds.whole) tiles.append(tile("until the formation was whole", seconds(r.seconds.whole)));
    page.append(tiles);
  }

  const KIND = {
    primary: "writes", wait_primary: "writes", single: "writes", secondary: "follows",
    demoted: "down", demote_timeout: "down", maintenance: "down",
  };
  let from = 0, to = 1;
  const place = (t) => (100 * (t - from)) / (to - from);

  function lanes() {
    if (!list(r.lanes).length) return;
    from = Math.min(...r.lanes.map((l) => l.spans[0].from));
    to = Math.max(...r.lanes.map((l) => l.spans[l.spans.length - 1].to));
    const box = section("What the monitor knew of each node");
    for (const lane of r.lanes) {
      const track = el("div", { class: "track" });
      for (const s of lane.spans) {
        const text = s.reported === s.goal ? s.reported : s.reported + " → " + s.goal;
        const width = place(s.to) - place(s.from);
        const kind = s.reported === s.goal ? KIND[s.reported] || "moving" : "moving";
        track.append(el("div", {
          class: "span " + kind, title: text + ", " + seconds(s.from) + " to " + seconds(s.to),
          style: { left: place(s.from) + "%", width: width + "%" },
        }, width > 7 ? text : ""));
      }
      track.append(el("div", { class: "now", style: { left: place(0) + "%" }, title: "the fault" }));
      box.append(el("div", { class: "lane" }, el("div", { class: "label", title: lane.node }, lane.node), track));
    }
    const legend = el("p", { class: "legend" });
    for (const [text, colour] of [["takes writes", "#1a7f37"], ["follows", "#0969da"], ["on its way", "#9a6700"],
      ["down", "#6e7781"], ["the fault", css("--bad")]])
      legend.append(el("span", { class: "key", style: { "--c": colour } }, text));
    legend.append(el("span", {}, seconds(from, 0) + " to " + seconds(to, 0) + " from the fault"));
    box.append(legend);
  }

  const charts = [];
  function chart(box, title, data, series, scale) {
    const holder = el("div", { class: "chart" });
    box.append(el("p", { class: "soft" }, title), holder);
    const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line") } };
    const gap = r.gap && r.zero !== undefined ? [r.gap.from - r.zero, r.gap.to - r.zero] : null;
    const u = new uPlot({
      width: holder.clientWidth || 600, height: 220, series: [{ label: "s from the fault" }, ...series],
      scales: { x: { time: false }, y: scale || {} }, axes: [axis, axis], cursor: { sync: { key: "drill" } },
      hooks: { drawClear: [(p) => {
        if (!gap) return;
        const x0 = p.valToPos(gap[0], "x", true), x1 = p.valToPos(gap[1], "x", true);
        p.ctx.save();
        p.ctx.globalAlpha = 0.16;
        p.ctx.fillStyle = css("--bad");
        p.ctx.fillRect(Math.max(x0, p.bbox.left), p.bbox.top, Math.min(x1, p.bbox.left + p.bbox.width) - Math.max(x0, p.bbox.left), p.bbox.height);
        p.ctx.restore();
      }] },
    }, data, holder);
    charts.push([u, holder]);
  }

  function writes() {
    const s = r.series;
    if (!s || !list(s.at).length) return;
    const box = section("What clients saw", el("p", { class: "soft" },
      "Red: from the last acknowledged write before the gap to the first after it. Drag to zoom, double-click to go back."));
    const slowest = s.slowest.map((v) => (v === false ? null : v));
    chart(box, "slowest acknowledged write, milliseconds (buckets of " + (s.width * 1000).toFixed(0) + " ms)", [s.at, slowest],
      [{ label: "ms", stroke: css("--blue"), width: 1, points: { show: false }, spanGaps: false }], { distr: 3 });
    const rate = s.acknowledged.map((v) => v / s.width), failed = s.failed.map((v) => v / s.width);
    chart(box, "writes a second", [s.at, rate, failed], [
      { label: "acknowledged", stroke: css("--good"), width: 1, points: { show: false } },
      { label: "refused or unknown", stroke: css("--bad"), width: 1, points: { show: false } }]);
  }

  function phases() {
    if (!list(r.phases).length) return;
    const longest = Math.max(...r.phases.map((p) => p.seconds), 0.001);
    const took = (p) => el("span", { class: p.over ? "over" : "" }, p.recovered === false ? "never" : seconds(p.seconds, 3));
    const bar = (p) => el("div", { class: p.outage ? "bar outage" : "bar", style: { width: Math.min(100, (100 * p.seconds) / longest) + "%" } });
    // the column of budgets only where somebody gave one
    const phase_table = (heads, all) => {
      const given = all.some((p) => p.budget);
      return table([heads[0], heads[1], ...(given ? [">budget"] : []), heads[2], "decided by"],
        all.map((p) => [p.name, took(p), ...(given ? [p.budget ? p.budget + " s" : ""] : []), bar(p),
          p.setting + (list(p.unseen).length ? " (unseen: " + p.unseen.join(", ") + ")" : "")]));
    };
    section("Phases", phase_table(["phase", ">took", "|red: clients wait"], r.phases));
    const clients = list(r.recoveries).filter((p) => p.seconds > 0 || p.budget);
    if (clients.length)
      section("Clients without what they want, each on its own", phase_table(["client", ">without", "|"], clients));
    const unseen = list(r.budgets_not_seen);
    if (unseen.length) page.append(el("p", { class: "soft" }, "Budgets of phases that were not seen, and not judged: " + unseen.join(", ")));
    if (!r.prediction) return;
    const terms = r.prediction.terms.map((t) => [t.what, seconds(t.best, 1), seconds(t.worst, 1), t.setting]);
    terms.push(["in all", seconds(r.prediction.best, 1), seconds(r.prediction.worst, 1), ""]);
    section("Predicted from the settings, before the fault", table(["term", ">best", ">worst", "setting"], terms));
  }

  function ledger() {
    const w = r.writes, a = r.audit;
    if (!w) return;
    const rows = [["acknowledged", w.acknowledged, ""], ["refused", w.refused, ""], ["unknown", w.unknown,
      a ? a.unknown_present + " of them are there, " + a.unknown_absent + " are not" : "not looked up"]];
    if (a) {
      const ids = (v) => list(v).slice(0, 20).join(", ") + (list(v).length > 20 ? ", …" : "");
      rows.push(["acknowledged and lost", list(a.lost).length, ids(a.lost)], ["ghosts: refused, and there", list(a.ghosts).length, ids(a.ghosts)],
        ["there twice", list(a.duplicates).length, ids(a.duplicates)], ["there and written by nobody", list(a.strangers).length, ids(a.strangers)]);
      for (const [node, n] of Object.entries(a.nodes || {}))
        rows.push([node + " differs from the primary in", n.differs ? list(n.differs).length : "unknown", n.problem || ""]);
      if (r.outage) rows.push(["nobody could write", seconds(r.outage.seconds), "whoever tried"]);
      if (a.data_gap) rows.push(["the same by the rows' own times", seconds(a.data_gap), r.outage && r.outage.agrees === false
        ? "the two do not agree: " + seconds(r.outage.allowed) + " allowed" : "the nodes' clocks"]);
    } else rows.push(["looked up", "no", r.audit_problem || ""]);
    section("The ledger: what became of each write", table(["fate", ">writes", ""], rows));
  }

  function personas() {
    const p = r.personas;
    if (!p) return;
    const rows = [
      ["pinned to the old primary", p.pinned.acknowledged + " acknowledged, " + p.pinned.refused + " refused, " + p.pinned.unknown + " unknown",
        p.pinned.last === undefined ? "" : "its last write " + seconds(p.pinned.last) + " after the fault"],
      ["acknowledged by both sides (split brain)", String(list(p.split_brain).length), list(p.split_brain).slice(0, 20).join(", ")],
      ["reader of any node", p.reads + " reads", "longest without one " + seconds(p.longest_unread)],
      ["reads that went back in time", String(list(p.went_back).length),
        list(p.went_back).slice(0, 5).map((b) => seconds(b.seconds) + ": " + b.from + " → " + b.to + " (" + b.from_host + " → " + b.to_host + ")").join("; ")],
      ["two nodes that said they take writes", p.two_at_once ? "yes" : "never",
        p.two_at_once ? seconds(p.two_at_once.first) + " to " + seconds(p.two_at_once.last) : "asked every 100 ms"]];
    section("Clients of other habits", table(["who", "what", ""], rows));
  }

  function settings() {
    const rows = Object.entries(r.timers || {}).sort().map(([k, v]) => [k, typeof v === "number" && !Number.isInteger(v) ? +v.toPrecision(6) : v]);
    rows.push(["synchronous_commit", r.synchronous_commit || "unknown"]);
    section("Settings of the monitor", table(["setting (times in seconds)", ">value"], rows));
    const nodes = Object.entries(r.versions || {}).sort();
    if (!nodes.length) return;
    const what = (v) => [v.pg_autoctl || "unknown", v.extension ? "(extension " + v.extension + ")" : "", v.problem || ""].join(" ");
    section("Versions", table(["node", "PostgreSQL", "pg_auto_failover"],
      nodes.map(([name, v]) => [name, v.postgresql || "unknown", what(v)])));
  }

  function history() {
    const rows = list(r.timeline).map((e) => [(e.seconds < 0 ? "" : "+") + e.seconds.toFixed(3), e.source, e.node || "", e.text]);
    if (rows.length) section("History", el("details", rows.length < 60 ? { open: "" } : {}, el("summary", {}, rows.length + " entries"),
      table([">s", "told by", "node", "what"], rows)));
  }

  function earlierRuns() {
    const h = r.history;
    if (!h || !list(h.runs).length) return;
    const now = { run: r.run, at: r.started, gap: r.gap.seconds, verdict: r.verdict.name };
    const runs = [...h.runs, now], longest = Math.max(...runs.map((one) => one.gap), 0.001);
    const rows = runs.map((one) => [one === now ? "this run" : one.at.slice(0, 16).replace("T", " "), seconds(one.gap),
      el("div", { class: one === now && h.slower ? "bar outage" : "bar", style: { width: (100 * one.gap) / longest + "%" } }), one.verdict]);
    const limit = h.limit === undefined ? "; too few to tell whether this one is slower" : ", limit " + seconds(h.limit);
    section("Earlier runs of this drill", el("p", { class: "soft" },
      h.n + " runs: median " + seconds(h.median) + ", 95 % within " + seconds(h.p95) + ", longest " + seconds(h.max) + limit),
    table(["begun (UTC)", ">without writes", "red: slower than its history", "verdict"], rows));
  }

  verdict();
  lanes();
  writes();
  phases();
  ledger();
  personas();
  settings();
  earlierRuns();
  history();
  document.documentElement.dataset.drawn = String(charts.length);
  addEventListener("resize", () => charts.forEach(([u, holder]) => u.setSize({ width: holder.clientWidth, height: 220 })));
})();
