// The board's outputs: the bars of the classes, and what plays. Second of the board's three files (board.js).

class BoardOutputs extends BoardPicture {
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
      element("span", "", this.accuracy, !changed ? "accuracy"
        : this.view.estimate ? `${this.view.estimate}, was ${percent(was)}` : `accuracy, was ${percent(was)}`);
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
}
