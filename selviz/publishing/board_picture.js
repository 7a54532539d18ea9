// The board's picture: colors, where each tile is, and the drawing of it. First of the board's three files (board.js).

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

class BoardPicture {
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
    const titles = this.titles();
    const single = this.model.layers.map((layer, index) =>
      ({title: titles[index], stage: layer.stage, start: layer.start, count: layer.units}));
    this.columns = this.fit(single, left, width - left, room);
    this.canFold = single.length > 10 && (single.length > MAX_COLUMNS || this.columns[0].tile < 8);
    if (this.canFold) this.columns = this.folded(left, width - left, room);
    this.pictured = this.columns.every(column => column.tile >= PICTURE_TILE);
    for (const column of this.columns) {
      column.rows = Math.ceil(column.count / column.across);
      column.x = Math.round(column.x);
      column.y = Math.round(HEAD + Math.max(0, (room - column.rows * column.tile) / 2));
    }
  }

  titles() {  // the layers' names, without the parts between dots that all begin with or end in
    const parts = this.model.layers.map(layer => layer.name.split("."));
    const spare = Math.min(...parts.map(part => part.length)) - 1;
    const shared = position => parts.length > 1 && parts.every(part => part.at(position) === parts[0].at(position));
    let first = 0, last = 0;
    while (first < spare && shared(first)) first++;
    while (last < spare - first && shared(-1 - last)) last++;
    const named = from => parts.map(part => part.slice(from, part.length - last).join("."));
    return first && named(first).some(title => /^\d+$/.test(title)) ? named(first - 1) : named(first);
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
    const stages = this.stagesTogether(pen), heads = this.heads(pen);
    for (const column of this.columns) {
      this.title(pen, column, stages, heads);
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

  heads(pen) {  // what to call each column: where "layer 1" has no room, all are called L1, L2, ...
    pen.font = "600 12px system-ui, sans-serif";
    const narrow = this.columns.some(column => pen.measureText(column.title).width > this.room(column));
    return column => narrow ? column.title.replace(/^layer (?=\d+$)/, "L") : column.title;
  }

  room(column, last = column) {  // pixels for a title, up to the column after the last one
    const next = this.columns[this.columns.indexOf(last) + 1];
    return next ? next.x - column.x - 4 : Math.max(column.across * column.tile, this.stage.clientWidth - column.x);
  }

  title(pen, column, stages, heads) {
    const wide = this.room(column);
    pen.fillStyle = this.ink;
    pen.font = "600 12px system-ui, sans-serif";
    if (stages) {
      const of = this.columns.filter(one => one.stage === column.stage);
      if (of[0] === column) pen.fillText(this.cut(pen, column.stage, this.room(column, of.at(-1))), column.x, 11);
    } else {
      const folds = column.fold ? (column.open ? "▾ " : "▸ ") : "";
      pen.fillText(this.cut(pen, folds + heads(column), wide), column.x, 11);
    }
    pen.globalAlpha = 0.75;
    pen.font = "11px system-ui, sans-serif";
    const count = column.count.toLocaleString("en"), units = `${count} ${column.count === 1 ? "unit" : "units"}`;
    const sizes = [units, count];  // as much of it as there is room for
    if (column.layers?.length > 1) sizes.unshift(`${units} in ${column.layers.length} layers`);
    pen.fillText(sizes.find(text => pen.measureText(text).width <= wide) ?? this.cut(pen, count, wide), column.x, 24);
    pen.globalAlpha = 1;
  }

  cut(pen, text, width) {  // the middle is left out: layers' names begin alike and end in what tells them apart
    if (pen.measureText(text).width <= width) return text;
    let kept = text.length - 1, short = text;
    do {
      const end = kept > 6 ? Math.ceil(0.6 * kept) : 0;
      short = `${text.slice(0, kept - end)}…${text.slice(text.length - end)}`;
    } while (--kept > 0 && pen.measureText(short).width > width);
    return short;
  }

  tile(pen, index, x, y, tile) {
    const gap = tile >= 14 ? 3 : tile >= 8 ? 2 : tile >= 4 ? 1 : 0, size = tile - gap;
    if (this.silent.has(index)) return this.darkTile(pen, x, y, size);
    const fill = color => {
      const [left, up, right, down] = this.edges(x, y, tile);
      pen.fillStyle = color;
      pen.fillRect(left, up, Math.max(right - left - gap, 0.5), Math.max(down - up - gap, 0.5));
    };
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
      return fill(this.changes[Math.round(LEVELS + LEVELS * value)]);
    }
    const color = this.ramp(hue)[Math.round(LEVELS * strength)];
    const sheet = this.sprites.pictures, about = this.model.pictures;
    if (!sheet || !this.pictured) return fill(color);
    const frame = Math.max(2, Math.round(size / 9)), inner = size - 2 * frame;
    pen.fillStyle = color;
    pen.fillRect(x, y, size, size);
    const before = pen.globalAlpha;
    pen.globalAlpha = before * (this.lit ? 0.15 + 0.85 * strength : 0.45 + 0.55 * strength);
    pen.drawImage(sheet, index % about.across * about.size, Math.floor(index / about.across) * about.size,
      about.size, about.size, x + frame, y + frame, inner, inner);
    pen.globalAlpha = before;
  }

  edges(x, y, tile) {  // from pixel to pixel, as edges between pixels make small tiles a weave
    return [x, y, x + tile, y + tile].map(end => Math.round(end * this.scale) / this.scale);
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
}
