// The rows of the timeline, each drawn from the arrays of one person. A pixel column shows the mean of the frames that are shown in its time.
const EXPRESSION_COUNT = 8;

// Rows from top to bottom: label at the left, share of the height (0 takes the rest), painter.
function tracksOf(person, data) {
  return [
    { key: "label", text: "expression", share: 0.07, paint: paintLabels },
    { key: "probability", text: "probability", share: 0, paint: paintStack },
    { key: "seen", text: "face", share: 0.035, paint: (plot, columns) => paintFlag(plot, columns, 1) },
    ...(data.people.some((one) => one.flags.some((flags) => flags & 2)) ? [{ key: "heard", text: "voice", share: 0.035, paint: (plot, columns) => paintFlag(plot, columns, 2) }] : []),
    ...(person.gate ? [{ key: "gate", text: "face / voice", share: 0.13, paint: paintGate }] : []),
    ...(data.audio ? [{ key: "audio", text: "audio level", share: 0.12, paint: paintAudio }] : []),
  ];
}

// Means over each pixel column of a view of [from, to] seconds. "scored" is the fraction of the column's frames that are scored.
function columnsOf(person, data, from, to, count) {
  const result = { count, scored: new Float32Array(count), label: new Int8Array(count).fill(-1), sums: new Float32Array(count * EXPRESSION_COUNT), gate: new Float32Array(count).fill(-1), flags: [null, new Float32Array(count), new Float32Array(count)], from, to };
  const votes = new Int32Array(EXPRESSION_COUNT), step = (to - from) / count;
  let row = data.rowAt(from);
  for (let c = 0; c < count; c++) {
    const start = from + c * step, stop = start + step;
    while (row + 1 < data.count && data.times[row + 1] <= start) row++;
    if (data.times[row] >= stop || start >= data.end) continue; // before the first or after the last frame
    let last = row;
    while (last + 1 < data.count && data.times[last + 1] < stop) last++;
    addColumn(result, c, person, row, last, votes);
  }
  return result;
}

function addColumn(result, c, person, first, last, votes) {
  let frames = 0, scored = 0, gates = 0, gateSum = 0;
  votes.fill(0);
  for (let row = first; row <= last; row++) {
    frames++;
    const i = person.index(row);
    if (i < 0) continue;
    if (person.flags[i] & 1) result.flags[1][c]++;
    if (person.flags[i] & 2) result.flags[2][c]++;
    if (person.label[i] === MISSING_BYTE) continue;
    scored++;
    votes[person.label[i]]++;
    for (let e = 0; e < EXPRESSION_COUNT; e++) {
      const byte = person.probability[EXPRESSION_COUNT * i + e];
      if (byte !== MISSING_BYTE) result.sums[EXPRESSION_COUNT * c + e] += byte;
    }
    if (person.gate && person.gate[i] !== MISSING_BYTE) { gates++; gateSum += person.gate[i] / MAX_BYTE; }
  }
  result.scored[c] = scored / frames;
  for (const flag of [1, 2]) result.flags[flag][c] /= frames;
  if (2 * scored >= frames && scored) result.label[c] = votes.indexOf(Math.max(...votes));
  if (gates) result.gate[c] = gateSum / gates;
}

// plot: { context, data, style, left, top, height, pixel } with pixel the width of a column.
function fillColumns(plot, columns, colorOf, topOf, heightOf) {
  const { context } = plot;
  for (let c = 0; c < columns.count;) {
    const color = colorOf(c), top = topOf(c), height = heightOf(c);
    let end = c + 1; // equal neighbors are one rectangle
    while (end < columns.count && colorOf(end) === color && topOf(end) === top && heightOf(end) === height) end++;
    if (color !== null && height > 0) { context.fillStyle = color; context.fillRect(plot.left + c * plot.pixel, top, (end - c) * plot.pixel, height); }
    c = end;
  }
}

function paintLabels(plot, columns) {
  fillColumns(plot, columns, (c) => columns.label[c] < 0 ? null : plot.data.colors[columns.label[c]], () => plot.top, () => plot.height);
}

// Stacked probabilities, first expression at the top. The blank part of a column is its fraction of frames without a score.
function paintStack(plot, columns) {
  const { context } = plot, bottom = plot.top + plot.height, edge = Float32Array.from(columns.scored, (scored) => plot.top + (1 - scored) * plot.height);
  for (let e = 0; e < EXPRESSION_COUNT; e++) { // each area reaches down to the bottom, under the next one: no seams between areas
    context.fillStyle = plot.data.colors[e];
    context.beginPath();
    for (let c = 0; c < columns.count; c++) {
      if (!columns.scored[c]) continue;
      let end = c + 1;
      while (end < columns.count && columns.scored[end] && edge[end] === edge[c]) end++;
      context.rect(plot.left + c * plot.pixel, edge[c], (end - c) * plot.pixel, bottom - edge[c]);
      c = end - 1;
    }
    context.fill();
    for (let c = 0; c < columns.count; c++) {
      if (!columns.scored[c]) continue;
      const sums = columns.sums.subarray(EXPRESSION_COUNT * c, EXPRESSION_COUNT * (c + 1));
      edge[c] += sums[e] / (sums.reduce((a, b) => a + b, 0) || 1) * columns.scored[c] * plot.height;
    }
  }
}

// A bar of full height where any frame of the column has the flag, more transparent the fewer have it.
function paintFlag(plot, columns, flag) {
  const share = columns.flags[flag];
  plot.context.save();
  for (let c = 0; c < columns.count;) {
    let end = c + 1;
    while (end < columns.count && share[end] === share[c]) end++;
    plot.context.globalAlpha = share[c];
    plot.context.fillStyle = plot.style.track;
    plot.context.fillRect(plot.left + c * plot.pixel, plot.top, (end - c) * plot.pixel, plot.height);
    c = end;
  }
  plot.context.restore();
}

// The face's weight from the bottom, the voice's weight above it.
function paintGate(plot, columns) {
  const { style } = plot, split = (c) => plot.top + (1 - Math.max(0, columns.gate[c])) * plot.height;
  fillColumns(plot, columns, (c) => columns.gate[c] < 0 ? null : style.voice, () => plot.top, (c) => columns.gate[c] < 0 ? 0 : split(c) - plot.top);
  fillColumns(plot, columns, (c) => columns.gate[c] < 0 ? null : style.face, split, (c) => plot.top + plot.height - split(c));
}

function paintAudio(plot, columns) {
  const { time, level } = plot.data.audio, step = (columns.to - columns.from) / columns.count, middle = plot.top + plot.height / 2;
  plot.context.fillStyle = plot.style.track;
  for (let c = 0, i = lastAtOrBefore(time, columns.from); c < columns.count && time.length; c++) {
    const start = columns.from + c * step, stop = start + step;
    while (i + 1 < time.length && time[i + 1] <= start) i++;
    if (start < time[0] || start > time[time.length - 1] + 0.2) continue;
    let loudest = level[i] === MISSING_BYTE ? -1 : level[i];
    for (let j = i + 1; j < time.length && time[j] < stop; j++) if (level[j] !== MISSING_BYTE) loudest = Math.max(loudest, level[j]);
    if (loudest < 0) continue;
    const half = Math.max(0.5, loudest / MAX_BYTE * plot.height / 2);
    plot.context.fillRect(plot.left + c * plot.pixel, middle - half, plot.pixel, 2 * half);
  }
}
