
"use strict";
// Names of files reach the page as textContent and title alone, which are never read as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const [FILE, FOLDER] = [0, 1];
  const kinds = ["file", "folder", "more"];
  const tiles = data.tiles.map(([parent, name, kind, bytes, files, layer, pack, ...box], id) =>
    ({ id, parent, name, kind, bytes, files, layer, package: pack, box, inside: [] }));
  tiles.slice(1).forEach((tile) => tiles[tile.parent].inside.push(tile));
  const root = tiles[0];
  const element = (id) => document.getElementById(id);
  const [map, crumbs, by, search, count, told, legend] =
    ["map", "crumbs", "by", "search", "count", "told", "legend"].map(element);
  let current = root, hits = new Set(), holders = new Set();

  const above = (tile) => {
    const line = [tile];
    while (line[0].id) line.unshift(tiles[line[0].parent]);
    return line;
  };
  const path = (tile) => "/" + above(tile).slice(1).map((item) => item.name).join("/");
  const number = (value) => value.toLocaleString("en-US");
  const percent = (part, whole) => (whole ? (100 * part / whole).toFixed(1) : "0.0") + " %";
  const describe = (tile) => {
    const files = tile.kind === FILE ? "" : `, ${number(tile.files)} files`;
    const here = current.id ? `, ${percent(tile.bytes, current.bytes)} of ${path(current)}` : "";
    const group = tile.kind === FILE ? `; ${data.groups.layer[tile.layer][0]}; ${data.groups.package[tile.package][0]}` : "";
    return `${path(tile)}: ${number(tile.bytes)} bytes${files}, ${percent(tile.bytes, root.bytes)} of the image${here}${group}`;
  };

  const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  const lookup = (wanted) => {
    let found = root;
    for (const name of wanted.split("/").filter(Boolean)) {
      const next = found.inside.find((item) => item.kind === FOLDER && item.name === name);
      if (!next) break;
      found = next;
    }
    return found;
  };

  // The state is in the fragment, so that it can be linked to and the browser leads back.
  const fragment = (zoom) => {
    const state = new URLSearchParams();
    if (zoom.id) state.set("zoom", path(zoom));
    if (search.value) state.set("search", search.value);
    if (by.value !== "layer") state.set("by", by.value);
    return "#" + state;
  };
  const zoom = (tile) => {
    current = tile;
    location.hash = fragment(tile);
    draw();
  };
  const read = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    const wanted = state.get("zoom") || "/";
    if (path(current) !== wanted) current = lookup(wanted);
    search.value = state.get("search") || "";
    by.value = state.get("by") === "package" ? "package" : "layer";
    find();
    draw();
  };
  const find = () => {
    const wanted = search.value.toLowerCase();
    hits = new Set();
    holders = new Set();
    if (wanted) {
      const whole = wanted.includes("/");
      for (const tile of tiles.slice(1)) {
        if (tile.kind > FOLDER || !(whole ? path(tile) : tile.name).toLowerCase().includes(wanted)) continue;
        hits.add(tile);
        above(tile).slice(0, -1).forEach((item) => holders.add(item));
      }
    }
    count.textContent = wanted ? `${number(hits.size)} found` : "";
    map.classList.toggle("searching", Boolean(wanted));
  };

  const draw = () => {
    map.replaceChildren();
    place(current, 0, 0, map.clientWidth, map.clientHeight);
    crumbs.replaceChildren();
    above(current).forEach((tile) => {
      const button = make("button", tile.id ? tile.name : data.title + " /");
      button.addEventListener("click", () => zoom(tile));
      crumbs.append(button, tile.id && tile !== current ? "/" : "");
    });
    legend.replaceChildren(...data.groups[by.value].map(([name, colour]) => {
      const row = make("span", name);
      const patch = make("i", "");
      patch.style.background = colour;
      row.prepend(patch);
      return row;
    }));
    told.textContent = describe(current);
  };
  const place = (tile, left, top, wide, high) => {
    if (wide < data.least || high < data.least) return;
    const drawn = make("div", high > 12 && wide > 24 ? tile.name : "");
    drawn.className = "tile " + kinds[tile.kind] + (hits.has(tile) ? " hit" : "") + (holders.has(tile) ? " holds" : "");
    drawn.title = describe(tile);
    Object.assign(drawn.style, { left: left + "px", top: top + "px", width: wide + "px", height: high + "px" });
    drawn.addEventListener("mouseenter", () => { told.textContent = drawn.title; });
    drawn.addEventListener("click", () => {
      if (tile.kind === FOLDER) zoom(tile);
      else told.textContent = drawn.title;
    });
    if (tile.kind === FILE) drawn.style.background = data.groups[by.value][tile[by.value]][1];
    if (tile.kind === FOLDER) {
      drawn.tabIndex = 0;
      drawn.setAttribute("role", "button");
      drawn.addEventListener("keydown", (event) => { if (event.key === "Enter") zoom(tile); });
    }
    map.append(drawn);
    const [width, height] = [wide - 2 * data.margin, high - data.header - data.margin];
    if (tile.kind !== FOLDER || width <= 0 || height <= 0) return;
    for (const item of tile.inside) {
      const [x0, y0, x1, y1] = item.box.map((side) => side / data.unit);
      place(item, left + data.margin + x0 * width, top + data.header + y0 * height, (x1 - x0) * width, (y1 - y0) * height);
    }
  };

  search.addEventListener("input", () => { location.replace(fragment(current)); });
  by.addEventListener("change", () => { location.replace(fragment(current)); });
  window.addEventListener("hashchange", read);
  window.addEventListener("resize", draw);
  read();
})();
