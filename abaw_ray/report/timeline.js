"use strict";
// Renders one timeline at a time from the bytes in the page; timelines.py defines their encoding.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const canvas = at("timeline"), pen = canvas.getContext("2d");
  const names = data.classes, colours = names.map((name) => data.colours[name]);
  const NONE = 255, TOP = 254, GUTTER = 96, AXIS = 26;
  let video = null, from = 0, to = 1, cursor = null, drag = null, width = 0, height = 0, scale = 1;

  const bytes = (text) => text === null ? null : Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  function open(raw) {
    const time = new Float32Array(bytes(raw.time).buffer);
    const fields = Object.fromEntries(["label", "predicted", "probability", "seen", "heard", "gate"].map((key) => [key, bytes(raw[key])]));
    return { ...raw, ...fields, time, count: time.length };
  }

  // Rows of the canvas from top to bottom: [key, text at the left, share of the height].
  function rows() {
    const list = [];
    if (video.label) list.push(["label", "true", 0.065], ["differ", "", 0.02]);
    list.push(["predicted", "predicted", 0.065], ["probability", "probability", 0]);
    list.push(["seen", "face", 0.035], ["heard", "audio", 0.035]);
    if (video.gate) list.push(["gate", "visual weight", 0.11]);
    const gap = 7, free = height - AXIS - gap * list.length;
    const fixed = list.reduce((sum, row) => sum + row[2], 0);
    let top = 2;
    return list.map(([key, text, part]) => {
      const tall = free * (part || 1 - fixed), row = { key, text, top, tall };
      top += tall + (key === "label" || key === "differ" ? 2 : gap);
      return row;
    });
  }

  const start = (i) => i < video.count ? video.time[i] : video.end;
  const across = (t) => GUTTER + (t - from) / (to - from) * (width - GUTTER);
  const back = (x) => from + (x - GUTTER) / (width - GUTTER) * (to - from);
  const snap = (x) => Math.round(x * scale) / scale; // whole device pixels: no seams between neighbours
  function column(t) {
    let low = 0, high = video.count - 1;
    while (low < high) { const mid = (low + high + 1) >> 1; if (video.time[mid] <= t) low = mid; else high = mid - 1; }
    return low;
  }
  function* visible() {
    for (let i = column(from); i < video.count && start(i) < to; i++) {
      const x = snap(Math.max(GUTTER, across(start(i)))), end = snap(Math.min(width, across(start(i + 1))));
      yield [i, x, Math.max(1 / scale, end - x)];
    }
  }

  const paint = {
    label: (row) => strip(row, (i) => video.label[i] === NONE ? null : colours[video.label[i]]),
    predicted: (row) => strip(row, (i) => video.predicted[i] === NONE ? null : colours[video.predicted[i]]),
    differ: (row) => strip(row, (i) => video.label[i] !== NONE && video.predicted[i] !== NONE && video.label[i] !== video.predicted[i] ? "#1d2429" : null),
    seen: (row) => strip(row, (i) => `rgba(70, 95, 115, ${video.seen[i] / TOP})`, "#e9edef"),
    heard: (row) => strip(row, (i) => `rgba(70, 95, 115, ${video.heard[i] / TOP})`, "#e9edef"),
    probability(row) { ground(row, "#f4f6f7"); at("lines").checked ? names.forEach((_, c) => curve(row, 8, c, colours[c])) : stacked(row); },
    gate(row) { ground(row, "#f4f6f7"); curve(row, 1, 0, "#24527a", video.gate); },
  };
  function ground(row, colour) { pen.fillStyle = colour; pen.fillRect(GUTTER, row.top, width - GUTTER, row.tall); }
  function strip(row, colourOf, under) {
    if (under) ground(row, under);
    for (const [i, x, wide] of visible()) {
      const colour = colourOf(i);
      if (colour) { pen.fillStyle = colour; pen.fillRect(x, row.top, wide, row.tall); }
    }
  }
  function stacked(row) {
    for (const [i, x, wide] of visible()) {
      const parts = video.probability.subarray(8 * i, 8 * i + 8);
      if (parts[0] === NONE) { pen.fillStyle = "#fff"; pen.fillRect(x, row.top, wide, row.tall); continue; }
      const sum = parts.reduce((a, b) => a + b, 0) || 1;
      let y = row.top;
      parts.forEach((part, c) => {
        const tall = part / sum * row.tall;
        pen.fillStyle = colours[c]; pen.fillRect(x, y, wide, tall);
        y += tall;
      });
    }
  }
  function curve(row, step, offset, colour, values = video.probability) {
    pen.strokeStyle = colour; pen.lineWidth = 1.8; pen.beginPath();
    let down = false;
    for (const [i, x, wide] of visible()) {
      const value = values[step * i + offset];
      if (value === NONE) { down = false; continue; }
      const y = row.top + 1 + (1 - value / TOP) * (row.tall - 2);
      down ? pen.lineTo(x, y) : pen.moveTo(x, y);
      pen.lineTo(x + wide, y); down = true;
    }
    pen.stroke();
  }
  function axis() {
    const span = to - from, most = (width - GUTTER) / 60;
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600].find((s) => span / s <= most) || 7200;
    pen.fillStyle = "#5b6670"; pen.textAlign = "center"; pen.textBaseline = "alphabetic";
    for (let t = Math.ceil(from / step) * step; t <= to + 1e-9; t += step) {
      const x = across(t), text = span < 120 ? `${+t.toFixed(1)} s` : `${Math.floor(t / 60)}:${String(Math.round(t % 60)).padStart(2, "0")}`;
      pen.fillRect(x, height - AXIS, 1, 5);
      pen.fillText(text, Math.min(x, width - 16), height - 6);
    }
  }
  function draw() {
    const box = canvas.getBoundingClientRect();
    scale = window.devicePixelRatio || 1; width = box.width; height = box.height;
    canvas.width = width * scale; canvas.height = height * scale;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = "12px system-ui, sans-serif";
    for (const row of rows()) {
      pen.fillStyle = "#5b6670"; pen.textAlign = "right"; pen.textBaseline = "middle";
      pen.fillText(row.text, GUTTER - 8, row.top + row.tall / 2);
      paint[row.key](row);
    }
    axis();
    if (drag) { pen.fillStyle = "rgba(36, 82, 122, 0.18)"; pen.fillRect(Math.min(drag.x, drag.now), 0, Math.abs(drag.now - drag.x), height - AXIS); }
    if (cursor !== null) { pen.fillStyle = "#1d2429"; pen.fillRect(across(cursor), 0, 1, height - AXIS); }
  }
  function read() {
    if (cursor === null || !video.count) { at("readout").textContent = ""; return; }
    const i = column(cursor), first = i * video.per + video.first_frame, last = Math.min(video.first_frame + video.frames, first + video.per) - 1;
    const said = [`${video.time[i].toFixed(2)} s, frame${last > first ? `s ${first} to ${last}` : ` ${first}`}`];
    const name = (value) => value === NONE ? "none" : names[value];
    if (video.label) said.push(`true: ${name(video.label[i])}`);
    said.push(`predicted: ${video.predicted[i] === NONE ? "not scored" : names[video.predicted[i]]}`);
    if (video.probability[8 * i] !== NONE) {
      const order = names.map((text, c) => [video.probability[8 * i + c] / TOP, text]).sort((a, b) => b[0] - a[0]);
      said.push(order.slice(0, 3).map(([p, text]) => `${text} ${p.toFixed(2)}`).join(", "));
    }
    said.push(`${video.seen[i] > TOP / 2 ? "face" : "no face"}, ${video.heard[i] > TOP / 2 ? "audio" : "no audio"}`);
    if (video.gate && video.gate[i] !== NONE) said.push(`visual weight ${(video.gate[i] / TOP).toFixed(2)}`);
    at("readout").textContent = said.join(" · ");
  }
  function show(low, high) {
    const span = Math.max(0.2, Math.min(high - low, video.end - video.first));
    from = Math.min(Math.max(low, video.first), video.end - span);
    to = from + span;
    draw(); read();
  }
  function zoom(factor) {
    const middle = cursor !== null && cursor > from && cursor < to ? cursor : (from + to) / 2, half = (to - from) * factor / 2;
    show(middle - half, middle + half);
  }
  function pick(index) {
    at("pick").value = index;
    video = open(data.videos[index]);
    video.first = video.count ? video.time[0] : 0;
    video.end = Math.max(video.end, video.first + 0.2);
    cursor = null; drag = null;
    at("facts").textContent = video.facts + (video.per > 1 ? `; each column aggregates ${video.per} frames` : "");
    canvas.setAttribute("aria-label", `Timeline of ${video.name}`);
    show(video.first, video.end);
  }

  const groups = new Map();
  data.videos.forEach((raw, index) => {
    const group = raw.group || "videos";
    if (!groups.has(group)) groups.set(group, Object.assign(document.createElement("optgroup"), { label: group }));
    groups.get(group).append(Object.assign(document.createElement("option"), { value: index, textContent: raw.name }));
  });
  at("pick").append(...groups.values());
  at("pick").addEventListener("change", () => pick(Number(at("pick").value)));
  const step = (by) => pick((Number(at("pick").value) + by + data.videos.length) % data.videos.length);
  at("before").addEventListener("click", () => step(-1));
  at("after").addEventListener("click", () => step(1));
  at("lines").addEventListener("change", draw);
  at("closer").addEventListener("click", () => zoom(0.5));
  at("further").addEventListener("click", () => zoom(2));
  at("whole").addEventListener("click", () => show(video.first, video.end));
  const place = (event) => Math.min(width, Math.max(GUTTER, event.clientX - canvas.getBoundingClientRect().left));
  canvas.addEventListener("pointerdown", (event) => { drag = { x: place(event), now: place(event) }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => { cursor = back(place(event)); if (drag) drag.now = place(event); draw(); read(); });
  canvas.addEventListener("pointerup", () => {
    const done = drag; drag = null;
    if (done && Math.abs(done.now - done.x) > 6) show(...[back(done.x), back(done.now)].sort((a, b) => a - b)); else draw();
  });
  canvas.addEventListener("pointercancel", () => { drag = null; draw(); });
  canvas.addEventListener("pointerleave", () => { cursor = null; draw(); read(); });
  canvas.addEventListener("dblclick", () => show(video.first, video.end));
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -0.2, ArrowRight: 0.2 }[event.key], factor = { "+": 0.5, "-": 2 }[event.key];
    if (move) show(from + move * (to - from), to + move * (to - from)); else if (factor) zoom(factor); else return;
    event.preventDefault();
  });
  window.addEventListener("resize", draw);
  pick(0);
})();
