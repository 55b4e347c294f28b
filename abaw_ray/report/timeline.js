// Renders one timeline at a time from the encoded bytes in the page; timelines.py defines the encoding.
(() => {
  const holder = document.getElementById("data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const element = (id) => document.getElementById(id);
  const canvas = element("timeline"), context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement), ink = (name) => style.getPropertyValue(name);
  const names = data.classes, colors = names.map((name) => data.colors[name]);
  const LABEL_WIDTH = 96, AXIS_HEIGHT = 26;
  let video = null, from = 0, to = 1, cursor = null, drag = null, width = 0, height = 0, scale = 1;

  function decodeTimeline(raw) {
    const time = new Float32Array(decodeBase64(raw.time).buffer);
    const fields = Object.fromEntries(["label", "predicted", "probability", "seen", "heard", "gate"].map((key) => [key, decodeBase64(raw[key])]));
    return { ...raw, ...fields, time, count: time.length };
  }

  // Rows of the canvas from top to bottom: [key, label at the left, fraction of the height; 0 takes the rest].
  function layoutRows() {
    const list = [];
    if (video.label) list.push(["label", "annotated", 0.065], ["differ", "", 0.02]);
    list.push(["predicted", "predicted", 0.065], ["probability", "probability", 0]);
    list.push(["seen", "face", 0.035], ["heard", "audio", 0.035]);
    if (video.gate) list.push(["gate", "visual weight", 0.11]);
    const gap = 7, free = height - AXIS_HEIGHT - gap * list.length;
    const fixed = list.reduce((sum, row) => sum + row[2], 0);
    let top = 2;
    return list.map(([key, text, fraction]) => {
      const rowHeight = free * (fraction || 1 - fixed), row = { key, text, top, rowHeight };
      top += rowHeight + (key === "label" || key === "differ" ? 2 : gap);
      return row;
    });
  }

  const startTime = (i) => i < video.count ? video.time[i] : video.end;
  const timeToX = (t) => LABEL_WIDTH + (t - from) / (to - from) * (width - LABEL_WIDTH);
  const xToTime = (x) => from + (x - LABEL_WIDTH) / (width - LABEL_WIDTH) * (to - from);
  const snap = (x) => Math.round(x * scale) / scale; // whole device pixels, so that there are no seams between columns
  const columnAt = (t) => lastAtOrBefore(video.time, t);
  function* visibleColumns() {
    for (let i = columnAt(from); i < video.count && startTime(i) < to; i++) {
      const x = snap(Math.max(LABEL_WIDTH, timeToX(startTime(i)))), end = snap(Math.min(width, timeToX(startTime(i + 1))));
      yield [i, x, Math.max(1 / scale, end - x)];
    }
  }

  const painters = {
    label: (row) => drawStrip(row, (i) => video.label[i] === MISSING_BYTE ? null : colors[video.label[i]]),
    predicted: (row) => drawStrip(row, (i) => video.predicted[i] === MISSING_BYTE ? null : colors[video.predicted[i]]),
    differ: (row) => drawStrip(row, (i) => video.label[i] !== MISSING_BYTE && video.predicted[i] !== MISSING_BYTE && video.label[i] !== video.predicted[i] ? ink("--ink") : null),
    seen: (row) => drawStrip(row, (i) => `rgba(110, 138, 160, ${video.seen[i] / MAX_BYTE})`, ink("--faint")),
    heard: (row) => drawStrip(row, (i) => `rgba(110, 138, 160, ${video.heard[i] / MAX_BYTE})`, ink("--faint")),
    probability(row) { fillBackground(row, ink("--back")); element("lines").checked ? names.forEach((_, c) => drawCurve(row, 8, c, colors[c])) : drawStacked(row); },
    gate(row) { fillBackground(row, ink("--back")); drawCurve(row, 1, 0, ink("--main"), video.gate); },
  };
  function fillBackground(row, color) { context.fillStyle = color; context.fillRect(LABEL_WIDTH, row.top, width - LABEL_WIDTH, row.rowHeight); }
  function drawStrip(row, colorOf, background) {
    if (background) fillBackground(row, background);
    for (const [i, x, columnWidth] of visibleColumns()) {
      const color = colorOf(i);
      if (color) { context.fillStyle = color; context.fillRect(x, row.top, columnWidth, row.rowHeight); }
    }
  }
  function drawStacked(row) {
    for (const [i, x, columnWidth] of visibleColumns()) {
      const parts = video.probability.subarray(8 * i, 8 * i + 8);
      if (parts[0] === MISSING_BYTE) { context.fillStyle = ink("--paper"); context.fillRect(x, row.top, columnWidth, row.rowHeight); continue; }
      const sum = parts.reduce((a, b) => a + b, 0) || 1;
      let y = row.top;
      parts.forEach((part, c) => {
        const segmentHeight = part / sum * row.rowHeight;
        context.fillStyle = colors[c]; context.fillRect(x, y, columnWidth, segmentHeight);
        y += segmentHeight;
      });
    }
  }
  function drawCurve(row, step, offset, color, values = video.probability) {
    context.strokeStyle = color; context.lineWidth = 1.8; context.beginPath();
    let connected = false;
    for (const [i, x, columnWidth] of visibleColumns()) {
      const value = values[step * i + offset];
      if (value === MISSING_BYTE) { connected = false; continue; }
      const y = row.top + 1 + (1 - value / MAX_BYTE) * (row.rowHeight - 2);
      connected ? context.lineTo(x, y) : context.moveTo(x, y);
      context.lineTo(x + columnWidth, y); connected = true;
    }
    context.stroke();
  }
  function drawAxis() {
    const span = to - from, maxTicks = (width - LABEL_WIDTH) / 60;
    const step = tickStep(span, maxTicks);
    context.fillStyle = ink("--soft"); context.textAlign = "center"; context.textBaseline = "alphabetic";
    for (let t = Math.ceil(from / step) * step; t <= to + 1e-9; t += step) {
      const x = timeToX(t), text = span < 120 ? `${+t.toFixed(1)} s` : `${Math.floor(t / 60)}:${String(Math.round(t % 60)).padStart(2, "0")}`;
      context.fillRect(x, height - AXIS_HEIGHT, 1, 5);
      context.fillText(text, Math.min(x, width - 16), height - 6);
    }
  }
  function draw() {
    const box = canvas.getBoundingClientRect();
    scale = window.devicePixelRatio || 1; width = box.width; height = box.height;
    canvas.width = width * scale; canvas.height = height * scale;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "12px system-ui, sans-serif";
    for (const row of layoutRows()) {
      context.fillStyle = ink("--soft"); context.textAlign = "right"; context.textBaseline = "middle";
      context.fillText(row.text, LABEL_WIDTH - 8, row.top + row.rowHeight / 2);
      painters[row.key](row);
    }
    drawAxis();
    if (drag) { context.fillStyle = "rgba(36, 82, 122, 0.18)"; context.fillRect(Math.min(drag.start, drag.current), 0, Math.abs(drag.current - drag.start), height - AXIS_HEIGHT); }
    if (cursor !== null) { context.fillStyle = ink("--ink"); context.fillRect(timeToX(cursor), 0, 1, height - AXIS_HEIGHT); }
  }
  function updateReadout() {
    if (cursor === null || !video.count) { element("readout").textContent = ""; return; }
    const i = columnAt(cursor), first = i * video.frames_per_column + video.first_frame, last = Math.min(video.first_frame + video.frames, first + video.frames_per_column) - 1;
    const facts = [`${video.time[i].toFixed(2)} s, frame${last > first ? `s ${first} to ${last}` : ` ${first}`}`];
    const labelName = (value) => value === MISSING_BYTE ? "unlabelled" : names[value];
    if (video.label) facts.push(`annotated: ${labelName(video.label[i])}`);
    facts.push(`predicted: ${video.predicted[i] === MISSING_BYTE ? "not scored" : names[video.predicted[i]]}`);
    if (video.probability[8 * i] !== MISSING_BYTE) {
      const order = names.map((text, c) => [video.probability[8 * i + c] / MAX_BYTE, text]).sort((a, b) => b[0] - a[0]);
      facts.push(order.slice(0, 3).map(([p, text]) => `${text} ${p.toFixed(2)}`).join(", "));
    }
    facts.push(`${video.seen[i] > MAX_BYTE / 2 ? "face" : "no face"}, ${video.heard[i] > MAX_BYTE / 2 ? "audio" : "no audio"}`);
    if (video.gate && video.gate[i] !== MISSING_BYTE) facts.push(`visual weight ${(video.gate[i] / MAX_BYTE).toFixed(2)}`);
    element("readout").textContent = facts.join(" · ");
  }
  function setRange(low, high) {
    const span = Math.max(0.2, Math.min(high - low, video.end - video.first));
    from = Math.min(Math.max(low, video.first), video.end - span);
    to = from + span;
    draw(); updateReadout();
  }
  function zoom(factor) {
    const middle = cursor !== null && cursor > from && cursor < to ? cursor : (from + to) / 2, half = (to - from) * factor / 2;
    setRange(middle - half, middle + half);
  }
  function selectVideo(index) {
    element("video").value = index;
    video = decodeTimeline(data.videos[index]);
    video.first = video.count ? video.time[0] : 0;
    video.end = Math.max(video.end, video.first + 0.2);
    cursor = null; drag = null;
    element("facts").textContent = video.facts + (video.frames_per_column > 1 ? `; each column aggregates ${video.frames_per_column} frames` : "");
    canvas.setAttribute("aria-label", `Timeline of ${video.name}`);
    setRange(video.first, video.end);
  }

  const groups = new Map();
  data.videos.forEach((raw, index) => {
    const group = raw.group || "videos";
    if (!groups.has(group)) groups.set(group, Object.assign(document.createElement("optgroup"), { label: group }));
    groups.get(group).append(Object.assign(document.createElement("option"), { value: index, textContent: raw.name }));
  });
  element("video").append(...groups.values());
  element("video").addEventListener("change", () => selectVideo(Number(element("video").value)));
  const step = (by) => selectVideo((Number(element("video").value) + by + data.videos.length) % data.videos.length);
  element("previous").addEventListener("click", () => step(-1));
  element("next").addEventListener("click", () => step(1));
  element("lines").addEventListener("change", draw);
  element("zoomin").addEventListener("click", () => zoom(0.5));
  element("zoomout").addEventListener("click", () => zoom(2));
  element("whole").addEventListener("click", () => setRange(video.first, video.end));
  const eventX = (event) => Math.min(width, Math.max(LABEL_WIDTH, event.clientX - canvas.getBoundingClientRect().left));
  canvas.addEventListener("pointerdown", (event) => { drag = { start: eventX(event), current: eventX(event) }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => { cursor = xToTime(eventX(event)); if (drag) drag.current = eventX(event); draw(); updateReadout(); });
  canvas.addEventListener("pointerup", () => {
    const finished = drag; drag = null;
    if (finished && Math.abs(finished.current - finished.start) > 6) setRange(...[xToTime(finished.start), xToTime(finished.current)].sort((a, b) => a - b)); else draw();
  });
  canvas.addEventListener("pointercancel", () => { drag = null; draw(); });
  canvas.addEventListener("pointerleave", () => { cursor = null; draw(); updateReadout(); });
  canvas.addEventListener("dblclick", () => setRange(video.first, video.end));
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -0.2, ArrowRight: 0.2 }[event.key], factor = { "+": 0.5, "-": 2 }[event.key];
    if (move) setRange(from + move * (to - from), to + move * (to - from)); else if (factor) zoom(factor); else return;
    event.preventDefault();
  });
  window.addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  selectVideo(0);
})();
