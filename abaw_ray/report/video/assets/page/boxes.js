// Boxes, names and expressions of the people over the picture, on a canvas of the size of the stage.
class BoxLayer {
  constructor(canvas, data) { Object.assign(this, { canvas, data, context: canvas.getContext("2d"), mode: "all" }); }

  // Where the picture lies inside the stage: it keeps its aspect ratio, with bars at two sides in full screen.
  pictureArea() {
    const { width, height } = this.canvas.getBoundingClientRect();
    const scale = Math.min(width / this.data.width, height / this.data.height);
    const shown = { width: this.data.width * scale, height: this.data.height * scale };
    return { stage: { width, height }, left: (width - shown.width) / 2, top: (height - shown.height) / 2, ...shown };
  }

  draw(row, selected) {
    const area = this.pictureArea(), ratio = window.devicePixelRatio || 1, { context } = this;
    const size = [Math.round(area.stage.width * ratio), Math.round(area.stage.height * ratio)];
    if (this.canvas.width !== size[0] || this.canvas.height !== size[1]) [this.canvas.width, this.canvas.height] = size;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, area.stage.width, area.stage.height);
    if (this.mode === "none") return;
    const people = this.mode === "selected" ? [selected] : [...this.data.people.filter((person) => person !== selected), selected];
    const labels = [];
    for (const person of people) {
      const state = person.at(row);
      if (state && state.box) labels.unshift(this.drawBox(area, person, state, person === selected));
    }
    const placed = [];
    for (const label of labels) this.placeLabel(area, label, placed); // the selected person's first
    for (const label of placed.reverse()) this.drawLabel(label); // and on top
  }

  drawBox(area, person, state, selected) {
    const { context } = this, unit = this.data.boxUnits, color = state.label === null ? "#8a949c" : this.data.colors[state.label];
    const [x0, y0, x1, y1] = state.box.map((v, i) => i % 2 ? area.top + v / unit * area.height : area.left + v / unit * area.width);
    const width = selected ? 3 : 2;
    for (const [style, extra] of [["rgba(0, 0, 0, 0.45)", 2], [color, 0]]) {
      context.strokeStyle = style; context.lineWidth = width + extra;
      context.beginPath(); context.roundRect(x0, y0, x1 - x0, y1 - y0, 4); context.stroke();
    }
    const expression = state.label === null ? "not scored" : this.data.names[state.label], small = area.width < 520 && !selected;
    const percent = state.label === null || small ? "" : ` ${formatPercent(state.confidence)}`;
    return { x0, y0, y1, color, small, name: this.data.people.length > 1 && !small ? person.name : "", expression: expression + percent };
  }

  // Above the box; below it, or inside, where there is no space.
  placeLabel(area, label, placed) {
    const size = label.small ? 10.5 : Math.min(22, Math.max(12, area.width / 58)), height = size + 8, gap = label.name ? 7 : 0;
    const font = `600 ${size}px system-ui, sans-serif`;
    this.context.font = font;
    const nameWidth = this.context.measureText(label.name).width, width = nameWidth + gap + this.context.measureText(label.expression).width + 14;
    const x = Math.min(Math.max(label.x0 - 1, area.left), area.left + area.width - width);
    const inside = (y) => y >= area.top && y + height <= area.top + area.height;
    const free = (y) => placed.every((p) => x + width < p.x || p.x + p.width < x || y + height < p.y || p.y + p.height < y);
    const y = [label.y0 - height - 3, label.y1 + 3, label.y0 + 4].find((y) => inside(y) && free(y)) ?? Math.max(area.top, label.y0 + 4);
    placed.push({ ...label, font, x, y, width, height, textX: x + 7 + nameWidth + gap });
  }

  drawLabel({ x, y, width, height, font, color, name, expression, textX }) {
    const { context } = this;
    context.font = font;
    context.fillStyle = color; context.beginPath(); context.roundRect(x, y, width, height, 4); context.fill();
    context.fillStyle = textColor(color); context.textBaseline = "middle"; context.textAlign = "left";
    context.globalAlpha = 0.88; context.fillText(name, x + 7, y + height / 2 + 0.5);
    context.globalAlpha = 1; context.fillText(expression, textX, y + height / 2 + 0.5);
  }
}
