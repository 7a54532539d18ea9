// The board: a network as a picture whose units can be touched. No library, no build step, nothing is fetched.
//
//   const board = new Board(element, (event, value) => ...);
//   board.show(model);        // what a network is: layers, SI, preferred classes, pictures (selviz/publishing/board.py)
//   board.update(view);       // what is seen of it now: silent units, accuracies, an input, colors
//
// Events: "silent" (the silent units, as `layer:3,5-7;layer2:0`), "select" and "open" ("layer:unit"), "class" (a name).
// Two boards may know each other (`board.findPeer`): what is pointed at on one is ringed on the other where the view has
// `links`, and `frames` are played on both together.
//
// A tile answers a click at once; what the click changes comes back with `update`. app/board/ ties it to Streamlit.

const HEAD = 30, GUTTER = 12, STRIP = 34, MAX_TILE = 46, PICTURE_TILE = 18, MAX_COLUMNS = 24, MAX_BARS = 14;
const LEVELS = 24;  // of color strength
const FRAME_MS = 650;  // between two steps while a board plays

function decoded(text, Type) {  // base64 of little-endian numbers
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  return new Type(bytes.buffer);
}

function element(tag, className = "", parent = null, text = null) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== null) made.textContent = text;
  parent?.append(made);
  return made;
}

function rgb(hex) {
  return [1, 3, 5].map(start => parseInt(hex.slice(start, start + 2), 16));
}

function mixed(from, to, share) {
  const parts = from.map((value, index) => Math.round(value + (to[index] - value) * share));
  return `rgb(${parts.join(",")})`;
}

function tenths(value) {  // one digit, as Python rounds: toFixed alone takes 96.25 to 96.3, Python to 96.2
  return (value % 1 === 0.25 ? value - 0.05 : value).toFixed(1);
}

function percent(share) {
  return `${tenths(100 * share)} %`;
}

function points(change) {
  const size = tenths(Math.abs(100 * change));
  return `${size === "0.0" ? "" : change < 0 ? "−" : "+"}${size} points`;
}

class Board {
  constructor(parent, emit) {
    this.emit = emit;
    this.silent = new Set();
    this.marked = new Set();
    this.focus = -1;
    this.hover = -1;
    this.linked = -1;
    this.findPeer = () => null;
    this.view = {};
    this.unfolded = null;
    this.build(parent);
  }

  // ---------------------------------------------------------------------------------------------------- elements

  build(parent) {
    this.root = element("div", "board", parent);
    this.stage = element("div", "board-stage", this.root);
    this.base = element("canvas", "board-base", this.stage);
    this.top = element("canvas", "board-top", this.stage);
    this.top.tabIndex = 0;
    this.top.setAttribute("role", "application");
    this.top.setAttribute("aria-roledescription", "board of units");
    this.tip = element("div", "board-tip", this.stage);
    this.tip.hidden = true;
    this.action = element("button", "board-action", this.stage);
    this.action.type = "button";
    this.action.hidden = true;
    this.action.addEventListener("click", () => this.silenceMarked());
    this.outputs = element("div", "board-outputs", this.root);
    this.accuracy = element("div", "board-accuracy", this.outputs);
    this.rows = element("div", "board-rows", this.outputs);
    this.buildPlayer();
    this.spoken = element("div", "board-spoken", this.root);
    this.spoken.setAttribute("aria-live", "polite");
    const listen = (name, act) => this.top.addEventListener(name, act);
    listen("pointerdown", event => this.press(event));
    listen("pointermove", event => this.move(event));
    listen("pointerup", event => this.release(event));
    listen("pointerleave", () => this.point(-1));
    listen("dblclick", event => this.open(this.at(event)));
    listen("keydown", event => this.key(event));
    listen("focus", () => this.overlay());
    listen("blur", () => { this.tip.hidden = true; this.overlay(); });
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.stage);
  }

  buildPlayer() {
    this.player = element("div", "board-player");
    this.outputs.prepend(this.player);
    this.playButton = element("button", "", this.player);
    this.playButton.type = "button";
    this.slider = element("input", "", this.player);
    Object.assign(this.slider, {type: "range", min: 0, value: 0});
    this.slider.setAttribute("aria-label", "how many units are silent");
    this.playLabel = element("span", "", this.player);
    this.playButton.addEventListener("click", () => this.play(!this.timer));
    this.slider.addEventListener("input", () => { this.play(false); this.frame(Number(this.slider.value)); });
  }

  remove() {
    this.play(false);
    this.observer.disconnect();
    this.root.remove();
  }

  // ---------------------------------------------------------------------------------------------------- what is shown

  show(model) {
    if (this.model?.id === model.id) return;
    this.model = model;
    this.si = decoded(model.si, Float32Array);
    this.null = decoded(model.null_p95, Float32Array);
    this.preferred = decoded(model.preferred, Int16Array);  // -1: dead
    this.count = this.si.length;
    this.layerOf = new Uint16Array(this.count);
    model.layers.forEach((layer, index) => this.layerOf.fill(index, layer.start, layer.start + layer.units));
    this.byName = new Map(model.layers.map((layer, index) => [layer.name, index]));
    this.sprites = {};
    for (const name of ["pictures", "images"]) if (model[name]) this.load(name, model[name].uri);
    this.topImages = model.images ? decoded(model.images.top, Int32Array) : null;
    this.marked.clear();
    this.focus = this.hover = this.linked = -1;
    this.unfolded = null;
    this.rows.replaceChildren();
    this.rows.removeAttribute("data-classes");
    this.outputs.toggleAttribute("data-long", model.classes.some(name => name.length > 9));
    this.rows.toggleAttribute("data-short", model.classes.every(name => name.length <= 3));
    this.top.setAttribute("aria-label", `${model.label}: ${this.count} units in ${model.layers.length} layers. `
      + "Arrow keys move, S silences, Enter opens a unit.");
  }

  load(name, uri) {
    const picture = new Image();
    picture.onload = () => { this.sprites[name] = picture; this.paint(); };
    picture.src = uri;
  }

  update(view) {
    this.view = view;
    this.silent = new Set(this.indices(view.silent || ""));
    this.values = view.values ? decoded(view.values, Float32Array) : null;
    this.strengths = view.strength ? decoded(view.strength, Float32Array) : null;
    this.shown = view.shown ? decoded(view.shown, Float32Array) : null;
    this.lit = view.lit ? decoded(view.lit, Float32Array) : null;
    this.links = view.links ? decoded(view.links, Int32Array) : null;  // this unit's match on the other board, -1: none
    this.likeness = view.likeness ? decoded(view.likeness, Float32Array) : null;
    this.player.hidden = !view.frames;
    this.focusClass = view.focus_class ? this.model.classes.indexOf(view.focus_class) : -1;
    this.selected = view.selected ? this.indices(view.selected)[0] ?? -1 : -1;
    this.root.classList.toggle("board-dark", Boolean(view.dark));
    this.input = null;
    if (view.input) {
      const picture = new Image();
      picture.onload = () => { this.input = picture; this.resize(); };
      picture.src = view.input;
    }
    this.colors();
    if (view.frames) return this.start();
    this.bars();
    this.resize();
  }

  indices(text) {  // "relu2:3,5-7;relu3:0" -> numbers of tiles; what does not exist is left out
    const found = [];
    for (const part of text.split(";")) {
      const colon = part.lastIndexOf(":"), layer = this.model.layers[this.byName.get(part.slice(0, colon))];
      if (!layer) continue;
      for (const range of part.slice(colon + 1).split(",")) {
        const [first, last] = range.split("-").map(Number);
        for (let unit = first; unit <= Math.min(last ?? first, layer.units - 1); unit++) found.push(layer.start + unit);
      }
    }
    return found;
  }

  text(indices) {  // the way back
    const byLayer = new Map();
    for (const index of [...indices].sort((a, b) => a - b)) {
      const layer = this.model.layers[this.layerOf[index]], unit = index - layer.start;
      const ranges = byLayer.get(layer.name) ?? byLayer.set(layer.name, []).get(layer.name);
      if (ranges.length && ranges.at(-1)[1] === unit - 1) ranges.at(-1)[1] = unit;
      else ranges.push([unit, unit]);
    }
    const told = ranges => ranges.map(([a, b]) => a === b ? `${a}` : `${a}-${b}`).join(",");
    return [...byLayer].map(([name, ranges]) => `${name}:${told(ranges)}`).join(";");
  }

  name(index) {
    const layer = this.model.layers[this.layerOf[index]];
    return `${layer.name}:${index - layer.start}`;
  }

  // ---------------------------------------------------------------------------------------------------- colors

  colors() {
    const dark = Boolean(this.view.dark), palette = this.model.palette[dark ? "dark" : "light"];
    this.ink = palette.ink;
    this.ground = dark ? [23, 26, 33] : [244, 245, 247];
    this.hues = this.model.classes.map((name, index) =>
      this.model.classes.length <= palette.classes.length ? palette.classes[index]
        : index === this.focusClass ? palette.classes[7] : palette.heat);
    this.plain = palette.other;
    this.ramps = new Map();
    const [lost, none, gained] = palette.change.map(rgb);
    this.changes = Array.from({length: 2 * LEVELS + 1}, (_, step) => step < LEVELS
      ? mixed(none, lost, (LEVELS - step) / LEVELS) : mixed(none, gained, (step - LEVELS) / LEVELS));
  }

  ramp(hue) {
    if (!this.ramps.has(hue)) {
      const full = rgb(hue);
      this.ramps.set(hue, Array.from({length: LEVELS + 1}, (_, step) =>
        mixed(this.ground, full, 0.1 + 0.9 * step / LEVELS)));
    }
    return this.ramps.get(hue);
  }

  strength(index) {  // 0..1: how active on the input shown, else how selective
    const value = (this.lit ?? this.strengths ?? this.si)[index];
    return Math.min(1, Math.max(0, value || 0)) ** 0.7;
  }

  // ---------------------------------------------------------------------------------------------------- layout

  resize() {
    if (!this.model || !this.stage.clientWidth) return;
    const width = this.stage.clientWidth, height = this.stage.clientHeight, scale = window.devicePixelRatio || 1;
    for (const canvas of [this.base, this.top]) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    this.scale = scale;
    this.layout(width, height);
    this.paint();
  }

  layout(width, height) {
    const left = this.input ? Math.min(92, 0.16 * width) : 0, room = height - HEAD - 4;
    this.inputBox = this.input ? {x: 0, y: HEAD + room / 2 - left / 2, size: left - 12} : null;
    const single = this.model.layers.map(layer =>
      ({title: layer.name, stage: layer.stage, start: layer.start, count: layer.units}));
    this.columns = this.fit(single, left, width - left, room);
    this.canFold = single.length > 10 && (single.length > MAX_COLUMNS || this.columns[0].tile < 8);
    if (this.canFold) this.columns = this.folded(left, width - left, room);
    for (const column of this.columns) {
      column.rows = Math.ceil(column.count / column.across);
      column.y = HEAD + Math.max(0, (room - column.rows * column.tile) / 2);
    }
  }

  fit(columns, x, width, height) {  // the largest square tile with which all columns fit
    const gap = columns.length > 12 ? GUTTER - 2 : Math.min(30, Math.max(GUTTER, width / 34));
    const across = (column, tile) => Math.ceil(column.count / Math.max(1, Math.floor(height / tile)));
    const total = tile => columns.reduce((sum, column) => sum + across(column, tile) * tile, 0);
    const space = width - gap * (columns.length - 1);
    let tile = 0.5;
    for (let size = MAX_TILE; size >= 0.5; size -= size > 6 ? 1 : 0.25) if (total(size) <= space) { tile = size; break; }
    const spare = Math.max(0, space - total(tile)) / Math.max(1, columns.length - 1);
    const step = gap + Math.min(spare, 60);
    let at = x + Math.max(0, (width - total(tile) - step * (columns.length - 1)) / 2);
    return columns.map(column => {
      const placed = {...column, tile, across: across(column, tile), x: at};
      at += placed.across * tile + step;
      return placed;
    });
  }

  folded(x, width, height) {  // a strip for each stage; one of them may be unfolded into its layers
    const stages = [];
    for (const layer of this.model.layers) {
      const last = stages.at(-1);
      if (last?.title === layer.stage) { last.count += layer.units; last.layers.push(layer); }
      else stages.push({title: layer.stage, start: layer.start, count: layer.units, layers: [layer], fold: layer.stage});
    }
    const open = stages.find(stage => stage.title === this.unfolded);
    const weight = stage => open ? STRIP : Math.sqrt(stage.count);
    const closed = stages.filter(stage => stage !== open);
    const sum = closed.reduce((total, stage) => total + weight(stage), 0);
    const share = open ? sum : width - GUTTER * (stages.length - 1);
    let at = x;
    return stages.flatMap(stage => {
      if (stage === open) {
        const room = width - sum - GUTTER * (stages.length - 1);
        const inner = stage.layers.map(layer => ({title: layer.name.slice(layer.name.indexOf(".") + 1) || layer.name,
          start: layer.start, count: layer.units, fold: stage.title, open: true}));
        const placed = this.fit(inner, at, room, height);
        at += room + GUTTER;
        return placed;
      }
      const wide = weight(stage) / sum * share;
      let tile = Math.sqrt(wide * height / stage.count);
      while (Math.floor(wide / tile) < 1 || Math.ceil(stage.count / Math.floor(wide / tile)) * tile > height) tile *= 0.98;
      const placed = {...stage, tile: Math.min(tile, MAX_TILE), across: Math.floor(wide / tile), x: at};
      at += wide + GUTTER;
      return [placed];
    });
  }

  box(index) {
    const column = this.columns.find(one => index >= one.start && index < one.start + one.count);
    const place = index - column.start, tile = column.tile;
    return {x: column.x + place % column.across * tile, y: column.y + Math.floor(place / column.across) * tile, tile, column};
  }

  at(event) {  // the tile under the pointer, -1 where there is none
    const frame = this.top.getBoundingClientRect(), x = event.clientX - frame.left, y = event.clientY - frame.top;
    for (const column of this.columns ?? []) {
      const across = Math.floor((x - column.x) / column.tile), down = Math.floor((y - column.y) / column.tile);
      if (across < 0 || across >= column.across || down < 0 || down >= column.rows) continue;
      const place = down * column.across + across;
      if (place < column.count) return column.start + place;
    }
    return -1;
  }

  headAt(event) {
    const frame = this.top.getBoundingClientRect(), x = event.clientX - frame.left, y = event.clientY - frame.top;
    if (y > HEAD) return null;
    return this.columns.find(column => x >= column.x - 4 && x <= column.x + Math.max(STRIP, column.across * column.tile));
  }

  // ---------------------------------------------------------------------------------------------------- drawing

  paint() {
    if (!this.columns) return;
    const pen = this.base.getContext("2d");
    pen.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    pen.clearRect(0, 0, this.base.width, this.base.height);
    pen.imageSmoothingEnabled = false;
    this.ribbons(pen);
    if (this.inputBox && this.input) {
      const {x, y, size} = this.inputBox;
      pen.drawImage(this.input, x, y, size, size);
      pen.fillStyle = this.ink;
      pen.font = "12px system-ui, sans-serif";
      pen.fillText(this.view.input_label || "input", x, y - 6, size + 8);
    }
    const stages = this.stagesTogether(pen);
    for (const column of this.columns) {
      this.title(pen, column, stages);
      for (let place = 0; place < column.count; place++) {
        const x = column.x + place % column.across * column.tile, y = column.y + Math.floor(place / column.across) * column.tile;
        if (this.shown && !this.shown[column.start + place]) pen.globalAlpha = 0.13;
        this.tile(pen, column.start + place, x, y, column.tile);
        pen.globalAlpha = 1;
      }
    }
    this.overlay();
  }

  ribbons(pen) {  // what leads from layer to layer
    pen.fillStyle = this.view.dark ? "rgba(150,160,180,.10)" : "rgba(90,100,120,.09)";
    const ends = column => [column.y, column.y + column.rows * column.tile];
    const boxes = this.columns.map(column => ({left: column.x, right: column.x + column.across * column.tile, ends: ends(column)}));
    if (this.inputBox && this.input) {
      const {x, y, size} = this.inputBox;
      boxes.unshift({left: x, right: x + size, ends: [y, y + size]});
    }
    for (let number = 1; number < boxes.length; number++) {
      const a = boxes[number - 1], b = boxes[number], middle = (a.right + b.left) / 2;
      pen.beginPath();
      pen.moveTo(a.right, a.ends[0]);
      pen.bezierCurveTo(middle, a.ends[0], middle, b.ends[0], b.left, b.ends[0]);
      pen.lineTo(b.left, b.ends[1]);
      pen.bezierCurveTo(middle, b.ends[1], middle, a.ends[1], a.right, a.ends[1]);
      pen.fill();
    }
  }

  stagesTogether(pen) {  // where single layers have no room for their names: one name for the layers of each stage
    pen.font = "600 12px system-ui, sans-serif";
    return !this.canFold && this.columns.length > 8
      && this.columns.some(column => pen.measureText(column.title).width > this.room(column));
  }

  room(column, last = column) {  // pixels for a title, up to the column after the last one
    const next = this.columns[this.columns.indexOf(last) + 1];
    return next ? next.x - column.x - 4 : Math.max(column.across * column.tile, this.stage.clientWidth - column.x);
  }

  title(pen, column, stages) {
    const wide = this.room(column);
    pen.fillStyle = this.ink;
    pen.font = "600 12px system-ui, sans-serif";
    if (stages) {
      const of = this.columns.filter(one => one.stage === column.stage);
      if (of[0] === column) pen.fillText(this.cut(pen, column.stage, this.room(column, of.at(-1))), column.x, 11);
    } else {
      const folds = column.fold ? (column.open ? "▾ " : "▸ ") : "";
      pen.fillText(this.cut(pen, folds + column.title, wide), column.x, 11);
    }
    pen.globalAlpha = 0.75;
    pen.font = "11px system-ui, sans-serif";
    const more = column.layers?.length > 1 ? ` in ${column.layers.length} layers` : "";
    pen.fillText(this.cut(pen, `${column.count.toLocaleString("en")}${wide > 60 ? " units" : ""}${more}`, wide), column.x, 24);
    pen.globalAlpha = 1;
  }

  cut(pen, text, width) {
    if (pen.measureText(text).width <= width) return text;
    let end = text.length;
    while (end > 1 && pen.measureText(text.slice(0, end) + "…").width > width) end--;
    return text.slice(0, end) + "…";
  }

  tile(pen, index, x, y, tile) {
    const gap = tile >= 14 ? 3 : tile >= 8 ? 2 : tile >= 4 ? 1 : 0, size = tile - gap;
    if (this.silent.has(index)) return this.darkTile(pen, x, y, size);
    const dead = this.preferred[index] < 0;
    if (dead) {
      pen.strokeStyle = this.plain;
      pen.lineWidth = 1;
      if (size >= 3) pen.strokeRect(x + 0.5, y + 0.5, size - 1, size - 1);
      return;
    }
    const strength = this.strength(index), hue = this.hues[this.preferred[index]];
    if (this.values) {
      const value = Math.min(1, Math.max(-1, this.values[index] || 0));
      pen.fillStyle = this.changes[Math.round(LEVELS + LEVELS * value)];
      pen.fillRect(x, y, size, size);
      return;
    }
    const color = this.ramp(hue)[Math.round(LEVELS * strength)];
    const sheet = this.sprites.pictures, about = this.model.pictures;
    if (!sheet || tile < PICTURE_TILE) {
      pen.fillStyle = color;
      pen.fillRect(x, y, Math.max(size, 0.5), Math.max(size, 0.5));
      return;
    }
    const frame = Math.max(2, Math.round(size / 9)), inner = size - 2 * frame;
    pen.fillStyle = color;
    pen.fillRect(x, y, size, size);
    const before = pen.globalAlpha;
    pen.globalAlpha = before * (this.lit ? 0.15 + 0.85 * strength : 0.45 + 0.55 * strength);
    pen.drawImage(sheet, index % about.across * about.size, Math.floor(index / about.across) * about.size,
      about.size, about.size, x + frame, y + frame, inner, inner);
    pen.globalAlpha = before;
  }

  darkTile(pen, x, y, size) {
    pen.fillStyle = this.view.dark ? "#000000" : "#1b1d23";
    pen.fillRect(x, y, Math.max(size, 0.5), Math.max(size, 0.5));
    if (size < 3) return;
    pen.strokeStyle = this.view.dark ? "#8d94a3" : "#f4f5f7";
    pen.lineWidth = size >= 14 ? 2 : 1;
    pen.beginPath();
    pen.moveTo(x + 0.22 * size, y + 0.78 * size);
    pen.lineTo(x + 0.78 * size, y + 0.22 * size);
    pen.stroke();
    if (this.view.dark && size >= 6) {
      pen.lineWidth = 1;
      pen.strokeRect(x + 0.5, y + 0.5, size - 1, size - 1);
    }
  }

  overlay() {  // what moves with the pointer, on a canvas of its own
    if (!this.columns) return;
    const pen = this.top.getContext("2d");
    pen.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    pen.clearRect(0, 0, this.top.width, this.top.height);
    const ring = (index, color, width) => {
      if (index < 0 || index >= this.count) return;
      const {x, y, tile} = this.box(index);
      pen.strokeStyle = color;
      pen.lineWidth = width;
      pen.strokeRect(x - 1.5, y - 1.5, Math.max(tile, 5) + 1, Math.max(tile, 5) + 1);
    };
    for (const index of this.marked) ring(index, this.ink, 1.5);
    ring(this.selected, this.ink, 3);
    ring(this.hover, this.ink, 2);
    ring(this.linked, this.ink, 3);
    const focused = this.top.getRootNode().activeElement === this.top;
    if (focused) ring(this.focus, "#2F8FCF", 3);
    if (this.drag?.moved) {
      const {x, y, toX, toY} = this.drag;
      pen.fillStyle = "rgba(47,143,207,.14)";
      pen.strokeStyle = "#2F8FCF";
      pen.lineWidth = 1.5;
      pen.fillRect(x, y, toX - x, toY - y);
      pen.strokeRect(x, y, toX - x, toY - y);
    }
  }

  // ---------------------------------------------------------------------------------------------------- outputs

  bars() {
    const {before, after, accuracy_before: was, accuracy_after: now} = this.view;
    this.outputs.hidden = !before;
    if (!before) return;
    const changed = after && (this.silent.size > 0 || this.view.compared);
    this.accuracy.replaceChildren();
    if (this.view.headline) {
      element("b", "", this.accuracy, this.view.headline);
      element("span", "", this.accuracy, this.view.headline_note);
    } else {
      element("b", "", this.accuracy, percent(changed ? now : was));
      element("span", "", this.accuracy, changed ? `accuracy, was ${percent(was)}` : "accuracy");
    }
    const shown = this.classesShown(before, after ?? before);
    if (this.rows.dataset.classes !== shown.join()) {
      this.rows.dataset.classes = shown.join();
      this.rows.replaceChildren(...shown.map(index => this.bar(index)));
    }
    shown.forEach((index, row) => {
      const line = this.rows.children[row], end = (after ?? before)[index];
      line.style.setProperty("--hue", this.hues[index] ?? this.plain);
      line.style.setProperty("--before", `${100 * (before[index] ?? 0)}%`);
      line.style.setProperty("--after", `${100 * (end ?? 0)}%`);
      line.classList.toggle("board-focus", index === this.focusClass);
      line.querySelector(".board-value").textContent = end === null ? "–" : percent(end);
      line.title = `${this.model.classes[index]}: ${percent(before[index] ?? 0)} before`
        + (changed ? `, ${percent(end ?? 0)} now` : "") + (this.view.class_action ? `. ${this.view.class_action}` : "");
    });
    const rest = this.model.classes.length - shown.length;
    let more = this.outputs.querySelector(".board-more");
    if (!more) more = element("div", "board-more", this.outputs);
    more.textContent = rest > 0 ? `and ${rest} other classes; those that changed most are shown` : "";
  }

  classesShown(before, after) {
    const every = before.map((_, index) => index);
    if (every.length <= MAX_BARS) return every;
    const change = index => Math.abs((after[index] ?? 0) - (before[index] ?? 0));
    const most = [...every].sort((a, b) => change(b) - change(a) || a - b).slice(0, MAX_BARS);
    if (this.focusClass >= 0 && !most.includes(this.focusClass)) most[most.length - 1] = this.focusClass;
    return most.sort((a, b) => a - b);
  }

  bar(index) {
    const row = element("button", "board-row");
    row.type = "button";
    element("span", "board-class", row, this.model.classes[index]);
    const track = element("span", "board-track", row);
    element("span", "board-before", track);
    element("span", "board-after", track);
    element("span", "board-value", row);
    row.addEventListener("click", () => this.emit("class", this.model.classes[index]));
    return row;
  }

  // ---------------------------------------------------------------------------------------------------- playing

  start() {
    this.slider.max = this.view.frames.length - 1;
    this.frame(Math.min(this.frameAt ?? 0, this.view.frames.length - 1), false);
    this.resize();
  }

  frame(number, together = true) {  // the state after so many steps, on the other board too
    if (!this.view.frames?.[number]) return;
    this.frameAt = number;
    const {silent, accuracy, classes} = this.view.frames[number];
    this.silent = new Set(this.indices(silent));
    Object.assign(this.view, {accuracy_after: accuracy, after: classes});
    this.slider.value = number;
    this.playLabel.textContent = `${this.silent.size} silent`;
    this.playButton.textContent = this.timer ? "❚❚ Pause" : "▶ Play";
    this.bars();
    this.paint();
    if (together) this.findPeer()?.frame(number, false);
  }

  play(on) {
    if (!on && !this.timer) return;
    clearInterval(this.timer);
    this.timer = null;
    const last = (this.view.frames?.length ?? 0) - 1;
    if (on) {
      this.findPeer()?.play(false);
      if (this.frameAt >= last) this.frameAt = -1;
      this.timer = setInterval(() => this.frameAt + 1 < last ? this.frame(this.frameAt + 1) : this.end(last), FRAME_MS);
    }
    this.frame(Math.max(0, this.frameAt ?? 0));
  }

  end(last) {  // the last step, with nothing left to pause
    this.frameAt = last;
    this.play(false);
  }

  // ---------------------------------------------------------------------------------------------------- pointer and keys

  press(event) {
    if (event.button) return;
    const head = this.canFold ? this.headAt(event) : null;
    if (head?.fold) {
      this.unfolded = this.unfolded === head.fold ? null : head.fold;
      return this.resize();
    }
    this.top.focus({preventScroll: true});
    const frame = this.top.getBoundingClientRect(), x = event.clientX - frame.left, y = event.clientY - frame.top;
    this.drag = {x, y, toX: x, toY: y, moved: false, shift: event.shiftKey, index: this.at(event)};
    if (event.pointerType === "mouse") this.top.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (this.drag && event.pointerType === "mouse") {
      const frame = this.top.getBoundingClientRect();
      this.drag.toX = event.clientX - frame.left;
      this.drag.toY = event.clientY - frame.top;
      this.drag.moved ||= Math.hypot(this.drag.toX - this.drag.x, this.drag.toY - this.drag.y) > 6;
      if (this.drag.moved) { this.mark(this.drag); return this.overlay(); }
    }
    this.point(this.at(event));
  }

  release(event) {
    const drag = this.drag;
    this.drag = null;
    if (!drag) return;
    if (drag.moved) return this.offer();
    if (this.marked.size) { this.marked.clear(); this.offer(); }
    if (drag.index < 0 || drag.index !== this.at(event)) return this.overlay();
    this.focus = drag.index;
    if (event.pointerType !== "mouse") this.point(drag.index);
    if (this.view.mode === "silence" || drag.shift) this.toggle([drag.index]);
    else if (this.view.mode === "open") this.open(drag.index);
    else if (this.view.mode !== "look") this.emit("select", this.name(drag.index));
    this.overlay();
  }

  mark({x, y, toX, toY}) {
    const [left, right] = [x, toX].sort((a, b) => a - b), [up, down] = [y, toY].sort((a, b) => a - b);
    this.marked.clear();
    for (const column of this.columns) {
      for (let place = 0; place < column.count; place++) {
        const middleX = column.x + (place % column.across + 0.5) * column.tile;
        const middleY = column.y + (Math.floor(place / column.across) + 0.5) * column.tile;
        if (middleX >= left && middleX <= right && middleY >= up && middleY <= down) this.marked.add(column.start + place);
      }
    }
  }

  offer() {  // what can be done with the marked tiles
    const all = [...this.marked].every(index => this.silent.has(index)), count = this.marked.size;
    this.action.hidden = !count || !this.view.silencing;
    this.action.textContent = `${all ? "Put back" : "Silence"} ${count} ${count === 1 ? "unit" : "units"} (S)`;
    this.overlay();
  }

  silenceMarked() {
    this.toggle([...this.marked]);
    this.marked.clear();
    this.offer();
  }

  toggle(indices) {  // silent at once; what it changes comes from the server
    if (!this.view.silencing || !indices.length) return;
    const back = indices.every(index => this.silent.has(index));
    for (const index of indices) back ? this.silent.delete(index) : this.silent.add(index);
    const pen = this.base.getContext("2d");
    for (const index of indices) {
      const {x, y, tile} = this.box(index);
      pen.clearRect(x, y, tile, tile);
      this.tile(pen, index, x, y, tile);
    }
    this.say(indices[0]);
    this.emit("silent", this.text(this.silent));
  }

  open(index) {
    if (index >= 0 && this.view.opening) this.emit("open", this.name(index));
  }

  key(event) {
    const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (steps[key]) this.step(...steps[key]);
    else if (key === "s" || key === " ") {
      if (this.marked.size) this.silenceMarked();
      else if (this.focus >= 0) this.toggle([this.focus]);
    }
    else if (key === "Enter") this.open(this.focus);
    else if (key === "Escape") { this.marked.clear(); this.offer(); this.tip.hidden = true; }
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  step(dx, dy) {
    if (this.focus < 0) return this.go(Math.max(0, this.selected));
    const {column} = this.box(this.focus), place = this.focus - column.start;
    const across = place % column.across + dx, down = Math.floor(place / column.across) + dy;
    const number = this.columns.indexOf(column) + (across < 0 ? -1 : across >= column.across ? 1 : 0);
    if (number < 0 || number >= this.columns.length || down < 0) return;
    const target = this.columns[number];
    const x = target === column ? across : dx < 0 ? target.across - 1 : 0;
    const y = target === column ? down : Math.round((column.y - target.y + (down + 0.5) * column.tile) / target.tile - 0.5);
    const last = target.rows - 1, to = Math.min(Math.max(0, y), last) * target.across + x;
    if (target === column && to >= column.count) return;
    this.go(target.start + Math.min(to, target.count - 1));
  }

  go(index) {
    this.focus = index;
    this.point(index);
    this.say(index);
  }

  say(index) {
    this.spoken.textContent = this.facts(index).join(", ");
  }

  facts(index) {
    const layer = this.model.layers[this.layerOf[index]], facts = [`unit ${index - layer.start} of ${layer.name}`];
    if (this.preferred[index] < 0) facts.push("dead: never active on the evaluation images");
    else {
      facts.push(`prefers ${this.model.classes[this.preferred[index]]}`);
      facts.push(`SI ${this.si[index].toFixed(2)}, null ${this.null[index].toFixed(2)}`);
    }
    if (this.values && this.view.value_label) facts.push(`${this.view.value_label} ${this.view.value_scale ?
      (this.values[index] * this.view.value_scale).toFixed(1).replace("-", "−") + " points" : this.values[index].toFixed(2)}`);
    if (this.lit && this.preferred[index] >= 0) facts.push(`activation ${Math.round(100 * this.lit[index])} % of its largest`);
    const match = this.links?.[index] ?? -1, other = this.findPeer();
    if (match >= 0 && other?.model) {
      facts.push(`most like ${other.name(match)} of ${this.view.peer_label}, r ${this.likeness[index].toFixed(2)}`);
    } else if (this.links && this.preferred[index] >= 0) facts.push("not matched");
    if (this.silent.has(index)) facts.push("silent");
    return facts;
  }

  point(index) {
    if (index === this.hover && index >= 0) return;
    this.hover = index;
    this.tip.hidden = index < 0;
    if (index >= 0) this.fillTip(index);
    if (this.links) this.findPeer()?.link(index < 0 ? -1 : this.links[index]);
    this.overlay();
  }

  link(index) {  // what is pointed at on the other board
    this.linked = index;
    this.tip.hidden = index < 0;
    if (index >= 0) this.fillTip(index);
    this.overlay();
  }

  fillTip(index) {
    const [unit, ...facts] = this.facts(index), {x, y, tile} = this.box(index);
    this.tip.replaceChildren();
    element("b", "", this.tip, unit);
    for (const fact of facts) element("div", "", this.tip, fact);
    const about = this.model.images;
    if (about && this.topImages) {
      const strip = element("div", "board-strip", this.tip), wide = 44;
      for (const image of this.topImages.slice(3 * index, 3 * index + 3)) {
        if (image < 0) continue;
        const picture = element("span", "", strip);
        picture.style.cssText = `width:${wide}px;height:${wide}px;background-image:url(${about.uri});`
          + `background-size:${about.across * wide}px auto;`
          + `background-position:${-(image % about.across) * wide}px ${-Math.floor(image / about.across) * wide}px`;
      }
    }
    const width = this.stage.clientWidth, wide = 190, right = x + tile + 10;
    this.tip.style.left = `${Math.max(0, right + wide > width ? x - wide - 10 : right)}px`;
    this.tip.style.top = `${Math.max(0, Math.min(y - 20, this.stage.clientHeight - this.tip.offsetHeight - 4))}px`;
  }
}
