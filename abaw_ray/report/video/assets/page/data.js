// Data of the page (encode.py) -> typed arrays. A row is the index of a frame of the video, from 0.
class Person {
  constructor(raw, states) {
    Object.assign(this, { name: raw.name, first: raw.first, count: raw.count, states });
    for (const key of ["label", "probability", "flags", "gate"]) this[key] = decodeBase64(raw[key]);
    this.box = new Int16Array(decodeBase64(raw.box).buffer);
  }

  // Index into the person's arrays; -1 where the person has no row.
  index(row) { const i = row - this.first; return i >= 0 && i < this.count ? i : -1; }

  // Everything about one frame; null where the person has no row.
  at(row) {
    const i = this.index(row);
    if (i < 0) return null;
    const probability = [...this.probability.subarray(8 * i, 8 * i + 8)].map((byte) => byte === MISSING_BYTE ? null : byte / MAX_BYTE);
    const label = this.label[i] === MISSING_BYTE ? null : this.label[i], flags = this.flags[i], box = this.box.subarray(4 * i, 4 * i + 4);
    return {
      label, probability, confidence: label === null ? null : probability[label],
      box: box[0] === -32768 ? null : [...box], source: this.states[flags >> 3],
      seen: Boolean(flags & 1), heard: Boolean(flags & 2), scored: Boolean(flags & 4),
      gate: this.gate && this.gate[i] !== MISSING_BYTE ? this.gate[i] / MAX_BYTE : null,
    };
  }
}

class VideoData {
  constructor(raw) {
    Object.assign(this, { width: raw.width, height: raw.height, names: raw.expressions, colors: raw.colors, boxUnits: raw.boxUnits });
    Object.assign(this, { firstFrame: raw.firstFrame, end: raw.end, from: raw.from ?? -Infinity, to: raw.to ?? Infinity });
    this.frames = raw.frames && new Int32Array(decodeBase64(raw.frames).buffer); // only where some frames have no row
    const steps = new Uint32Array(decodeBase64(raw.steps).buffer);
    this.count = steps.length + 1;
    this.times = new Float64Array(this.count);
    let ticks = raw.firstTime; // whole microseconds, so that rounding errors do not add up
    for (let i = 0; i < this.count; ticks += steps[i++]) this.times[i] = ticks / 1e6;
    this.videoStart = raw.videoStart ?? this.start;
    this.people = raw.people.map((person) => new Person(person, raw.states));
    this.audio = raw.audio && { time: new Float32Array(decodeBase64(raw.audio.time).buffer), level: decodeBase64(raw.audio.level) };
  }

  get start() { return this.times[0]; }
  // Mean time between two frames of the video, near its first rows.
  get interval() { return (this.endOf(0) - this.start) / (this.count > 1 ? this.frame(1) - this.frame(0) : 1); }
  frame(row) { return this.frames ? this.frames[row] : this.firstFrame + row; }
  rowOf(frame) { return this.frames ? this.frames.indexOf(frame) : frame - this.firstFrame; }
  // Time from which the next frame is shown.
  endOf(row) { return row + 1 < this.count ? this.times[row + 1] : this.end; }
  clampRow(row) { return Math.min(Math.max(row, 0), this.count - 1); }
  // The frame that is shown at a time.
  rowAt(t) { return lastAtOrBefore(this.times, t); }
  // The frame with this presentation time; containers and browsers round times differently.
  nearestRow(t) {
    const row = this.rowAt(t);
    return row + 1 < this.count && this.times[row + 1] - t < t - this.times[row] ? row + 1 : row;
  }
  // The same for a frame of the whole video: -1 before the analyzed part and the number of rows after it, where no person has a box.
  shownRow(t) { return t < this.from ? -1 : t >= this.to ? this.count : this.nearestRow(t); }
  isRow(row) { return row >= 0 && row < this.count; }
}

// Black or white, whichever is easier to read on a color "#rrggbb".
function textColor(color) {
  const [r, g, b] = [1, 3, 5].map((at) => (parseInt(color.slice(at, at + 2), 16) / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.3 ? "#101418" : "#ffffff";
}
