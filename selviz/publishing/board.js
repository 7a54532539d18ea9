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

class Board extends BoardOutputs {
  constructor(parent, emit) {
    super();
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

  answer(accuracies, silent) {  // what a click changed, which may come before the rest of the page
    Object.assign(this.view, accuracies);
    if (silent !== null) {
      this.silent = new Set(this.indices(silent));
      this.paint();
    }
    this.bars();
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
      const [left, up, right, down] = this.edges(x, y, tile);
      pen.clearRect(left, up, right - left, down - up);
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
