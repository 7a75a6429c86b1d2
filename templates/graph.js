
"use strict";
// What a graph says reaches the page as textContent alone, which is never read as markup.
(() => {
  const MOST = 100;
  const nodes = JSON.parse(document.getElementById("data").textContent);
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const [search, count, picture, panel] = ["search", "count", "picture", "panel"].map((id) => document.getElementById(id));
  const boxes = [...document.querySelectorAll(".box")];
  const arrows = [...document.querySelectorAll(".arrow")];
  const words = new Map(nodes.map((node) => [node, JSON.stringify([node.id, node.facts, node.parameters || []]).toLowerCase()]));
  let opened = null;

  const make = (tag, text, ...inside) => {
    const made = document.createElement(tag);
    if (text !== null) made.textContent = text;
    made.append(...inside);
    return made;
  };
  const table = (rows, head) => make("table", null,
    ...(head ? [make("tr", null, ...head.map((text) => make("th", text)))] : []),
    ...rows.map((row) => make("tr", null, ...row.map((text) => make("td", text)))));
  const link = (id) => {
    const made = make("button", id);
    made.addEventListener("click", () => open(id));
    return made;
  };
  const list = (ids) => {
    const shown = ids.slice(0, MOST).map((id) => (byId.has(id) ? link(id) : make("div", id)));
    return ids.length > MOST ? [...shown, make("div", `and ${ids.length - MOST} more`)] : shown;
  };

  const fragment = () => {
    const state = new URLSearchParams();
    if (opened) state.set("node", opened.id);
    if (search.value) state.set("search", search.value);
    return "#" + state;
  };
  const open = (id) => {
    opened = byId.get(id) || null;
    location.hash = fragment();
    draw();
  };

  const describe = (node) => {
    panel.append(make("h2", node.id), make("div", node.kind), table(node.facts));
    if (node.parameters) panel.append(make("h3", "parameters"), table(node.parameters, ["parameter", "value", "category", "stage", "source"]));
    for (const [name, ids] of Object.entries(node.edges || {})) panel.append(make("h3", `${name} (${ids.length})`), ...list(ids));
  };
  const draw = () => {
    const wanted = search.value.trim().toLowerCase();
    const hits = wanted ? nodes.filter((node) => words.get(node).includes(wanted)) : [];
    const lit = new Set(hits.map((node) => node.box));
    picture.classList.toggle("searching", wanted !== "");
    boxes.forEach((box) => {
      box.classList.toggle("hit", lit.has(box.dataset.id));
      box.classList.toggle("opened", opened !== null && opened.box === box.dataset.id);
    });
    arrows.forEach((arrow) => arrow.classList.toggle("near", opened !== null && [arrow.dataset.from, arrow.dataset.to].includes(opened.box)));
    count.textContent = wanted ? `${hits.length} found` : "";
    panel.textContent = "";
    if (opened) describe(opened);
    else if (wanted) panel.append(make("h3", "found"), ...list(hits.map((node) => node.id)));
    else panel.append(make("p", "Search, or open a node to see what is known of it."));
  };

  const read = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    opened = byId.get(state.get("node")) || null;
    search.value = state.get("search") || "";
    draw();
  };
  const named = new Map(nodes.map((node) => [node.box, node.id]));
  boxes.forEach((box) => {
    const go = () => named.has(box.dataset.id) && open(named.get(box.dataset.id));
    box.addEventListener("click", go);
    box.addEventListener("keydown", (event) => event.key === "Enter" && go());
  });
  search.addEventListener("input", () => { opened = null; location.hash = fragment(); draw(); });
  addEventListener("hashchange", read);
  read();
})();
