// The timeline of one person: tracks, axis, playhead, and an overview of the whole video with the visible part marked.
const AXIS_HEIGHT = 24, TRACK_GAP = 7, MIN_SPAN = 0.5;

class Timeline {
  // onSeek(row): a click or drag in the timeline. elements: slider, plot, overview, playhead, tip.
  constructor(elements, data, onSeek) {
    Object.assign(this, { ...elements, data, onSeek, person: data.people[0], from: data.start, to: data.end, cursor: 0, hover: null });
    this.slider.addEventListener("pointerdown", (event) => this.scrub(event));
    this.slider.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") this.showTip(event); });
    this.slider.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    this.slider.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.overview.addEventListener("pointerdown", (event) => this.dragOverview(event));
    new ResizeObserver(() => this.draw()).observe(this.slider);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  get zoomed() { return this.to - this.from < this.data.end - this.data.start - 1e-9; }
  setPerson(person) { this.person = person; this.draw(); }

  setRange(from, to) {
    const { start, end } = this.data, span = Math.min(Math.max(to - from, MIN_SPAN), end - start);
    this.from = Math.min(Math.max(from, start), end - span);
    this.to = this.from + span;
    this.draw();
  }
  // Keep a time at its place on the screen.
  zoom(factor, around = this.data.times[this.cursor]) {
    const anchor = around >= this.from && around <= this.to ? around : (this.from + this.to) / 2;
    this.setRange(anchor - (anchor - this.from) * factor, anchor + (this.to - anchor) * factor);
  }
  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return; // the wheel alone scrolls the page; pinching on a touchpad has ctrlKey
    event.preventDefault();
    this.zoom(Math.exp(event.deltaY / 300), this.eventTime(event));
  }

  // Width of the labels at the left, in CSS pixels.
  get gutter() { return this.slider.clientWidth < 560 ? 76 : 88; }
  toX(t) { return this.gutter + (t - this.from) / (this.to - this.from) * (this.slider.clientWidth - this.gutter); }
  eventTime(event) {
    const box = this.slider.getBoundingClientRect(), x = Math.min(Math.max(event.clientX - box.left, this.gutter), box.width);
    return this.from + (x - this.gutter) / (box.width - this.gutter) * (this.to - this.from);
  }

  scrub(event) {
    if (event.button) return;
    this.slider.setPointerCapture(event.pointerId);
    const seek = (moved) => this.onSeek(this.data.rowAt(Math.min(this.eventTime(moved), this.data.end - 1e-6)));
    this.drag(this.slider, seek);
    seek(event);
  }
  drag(element, onMove) {
    const stop = new AbortController();
    element.addEventListener("pointermove", onMove, { signal: stop.signal });
    for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, () => stop.abort(), { signal: stop.signal });
  }
  // A drag inside the marked part moves it; elsewhere it marks another part; a click shows the place at the same zoom.
  dragOverview(event) {
    const box = this.overview.getBoundingClientRect(), { start, end } = this.data, span = this.to - this.from;
    const toTime = (moved) => start + Math.min(Math.max((moved.clientX - box.left) / box.width, 0), 1) * (end - start);
    const grabbed = toTime(event), inside = this.zoomed && grabbed >= this.from && grabbed <= this.to, offset = inside ? grabbed - this.from : span / 2;
    this.overview.setPointerCapture(event.pointerId);
    if (!inside && this.zoomed) this.setRange(grabbed - offset, grabbed - offset + span);
    this.drag(this.overview, (moved) => {
      const time = toTime(moved);
      if (inside) this.setRange(time - offset, time - offset + span);
      else if (Math.abs(moved.clientX - event.clientX) > 4) this.setRange(Math.min(grabbed, time), Math.max(grabbed, time));
    });
  }

  showTip(event) {
    const row = this.data.rowAt(this.eventTime(event)), state = this.person.at(row), box = this.slider.getBoundingClientRect();
    const what = !state || state.label === null ? "not scored" : `${this.data.names[state.label]} ${formatPercent(state.confidence)}`;
    this.tip.textContent = `${formatClock(this.data.times[row])} · ${what}`;
    this.tip.hidden = false;
    const x = Math.min(Math.max(event.clientX - box.left, this.tip.offsetWidth / 2), box.width - this.tip.offsetWidth / 2);
    this.tip.style.transform = `translate(${x - this.tip.offsetWidth / 2}px, -100%)`;
  }

  // Follow the position: while the video plays, the visible part moves on page by page.
  setCursor(row, visible) {
    this.cursor = row;
    this.playhead.hidden = this.marker.hidden = !visible;
    const time = this.data.times[row], span = this.to - this.from;
    if (time < this.from || time >= this.to) this.setRange(time - 0.05 * span, time + 0.95 * span); else this.placePlayhead();
  }
  placePlayhead() {
    const time = this.data.times[this.cursor];
    this.playhead.style.transform = `translateX(${this.toX(time)}px)`;
    this.marker.style.left = `${100 * (time - this.data.start) / (this.data.end - this.data.start || 1)}%`;
  }

  // A canvas of the size of its element; returns its context and its size in CSS pixels.
  prepare(canvas) {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight, context = canvas.getContext("2d");
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return { context, width, height, ratio };
  }

  draw() {
    const css = getComputedStyle(this.slider), style = Object.fromEntries(["ink", "soft", "plot", "track", "face", "voice"].map((name) => [name, css.getPropertyValue(`--${name}`)]));
    const { context, width, height, ratio } = this.prepare(this.plot), left = this.gutter, tracks = tracksOf(this.person, this.data);
    const columns = columnsOf(this.person, this.data, this.from, this.to, Math.max(1, Math.round((width - left) * ratio)));
    const free = height - AXIS_HEIGHT - TRACK_GAP * tracks.length, fixed = tracks.reduce((sum, track) => sum + track.share, 0);
    context.font = `${left < 80 ? 11 : 12}px system-ui, sans-serif`;
    let top = 0;
    for (const track of tracks) {
      const trackHeight = Math.round(free * (track.share || 1 - fixed));
      context.fillStyle = style.plot;
      context.fillRect(left, top, width - left, trackHeight);
      track.paint({ context, data: this.data, style, left, top, height: trackHeight, pixel: (width - left) / columns.count }, columns);
      context.fillStyle = style.soft; context.textAlign = "right"; context.textBaseline = "middle";
      context.fillText(track.text, left - 8, top + trackHeight / 2);
      top += trackHeight + TRACK_GAP;
    }
    this.drawAxis(context, width, top, style);
    this.drawOverview(style);
    this.placePlayhead();
  }

  drawAxis(context, width, top, style) {
    const span = this.to - this.from, step = tickStep(span, (width - this.gutter) / 64);
    context.fillStyle = style.soft; context.textBaseline = "top";
    for (let t = Math.ceil(this.from / step - 1e-9) * step; t <= this.to + 1e-9; t += step) {
      const x = this.toX(t), text = formatClock(Math.max(0, t), step < 1 ? 1 : 0), half = context.measureText(text).width / 2;
      context.textAlign = "center";
      context.fillRect(Math.min(Math.round(x), width - 1), top - TRACK_GAP + 2, 1, 5);
      context.fillText(text, Math.min(Math.max(x, this.gutter + half - 6), width - half), top + 3);
    }
  }

  drawOverview(style) {
    const { context, width, height, ratio } = this.prepare(this.overview), { start, end } = this.data;
    const columns = columnsOf(this.person, this.data, start, end, Math.max(1, Math.round(width * ratio)));
    context.fillStyle = style.plot; context.fillRect(0, 0, width, height);
    paintLabels({ context, data: this.data, left: 0, top: 0, height, pixel: width / columns.count }, columns);
    const [x0, x1] = [this.from, this.to].map((t) => (t - start) / (end - start || 1) * width);
    this.window.style.left = `${100 * x0 / width}%`; this.window.style.width = `${100 * (x1 - x0) / width}%`;
    this.window.hidden = !this.zoomed;
  }
}
