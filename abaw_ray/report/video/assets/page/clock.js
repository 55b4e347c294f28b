// Which frame of the video is on screen. Four things make this more than reading currentTime:
// - currentTime runs ahead of the picture; requestVideoFrameCallback gives the presentation time of the frame that is shown.
// - Some browsers start a late video at 0, others at its first presentation time: see alignClock.
// - The table may be that of a part of the video: a frame outside of it has the row -1 or that after the last one.
// - With a variable frame rate, a seek may show a frame beside the wanted one: see checkSeek.
const SEEK_ATTEMPTS = 9;
const SETTLE_MS = 100; // after a seek, the time in which the browser reports the frame

class VideoClock {
  // onChange(cursor, shown): rows of the position and of the frame on screen; they differ only while the browser seeks, and outside of the table,
  // where the cursor stays at its end.
  constructor(video, data, onChange) {
    Object.assign(this, { video, data, onChange, cursor: 0, shown: 0, time: 0, soughtTime: 0, shift: 0, target: null, wanted: null, attempt: 0, timer: 0, reported: false });
    this.playable = Boolean(video);
    if (!video) return;
    if (video.requestVideoFrameCallback) this.followFrames(); else this.followTime();
    video.addEventListener("seeked", () => this.checkSeek());
    video.addEventListener("play", () => { this.target = this.wanted = null; clearTimeout(this.timer); });
  }

  get paused() { return !this.playable || this.video.paused; }

  followFrames() {
    this.video.requestVideoFrameCallback((now, metadata) => {
      this.alignClock(metadata.mediaTime);
      this.showFrame(metadata.mediaTime + this.shift);
      this.followFrames();
    });
  }

  // For browsers without requestVideoFrameCallback: the frame at currentTime, up to one frame early while the video plays.
  followTime() {
    const update = () => { const t = this.video.currentTime + this.shift + 1e-3, row = this.data.shownRow(t); this.showFrame(t, this.data.isRow(row) ? this.data.rowAt(t) : row); };
    const loop = () => { if (this.video.paused) return; update(); requestAnimationFrame(loop); };
    this.video.addEventListener("play", loop);
    for (const name of ["loadeddata", "seeked", "timeupdate", "pause"]) this.video.addEventListener(name, update);
  }

  // The table has the times of the file. A frame before its first one can only mean that the browser moved the start of the file to 0.
  alignClock(mediaTime) {
    const { videoStart, interval } = this.data;
    if (mediaTime + this.shift < videoStart - interval / 2) this.shift = videoStart - mediaTime;
  }

  showFrame(time, row = this.data.shownRow(time)) {
    Object.assign(this, { time, shown: row });
    const opened = !this.reported;
    this.reported = true;
    if (opened && this.paused && this.target === null && row !== 0) { this.seek(0); return; } // with late audio, some files open in the middle
    if (this.target === null) this.cursor = this.data.clampRow(row);
    this.onChange(this.cursor, this.shown);
  }

  seek(row) {
    this.cursor = this.data.clampRow(row);
    if (!this.playable) { this.shown = this.cursor; this.onChange(this.cursor, this.shown); return; }
    this.target = this.wanted = this.cursor;
    this.onChange(this.cursor, this.shown);
    if (!this.video.seeking) this.startSeek(); // otherwise checkSeek goes on to the new target
  }

  startSeek() {
    const start = this.data.times[this.target], duration = Math.min(this.data.endOf(this.target) - start, 1);
    Object.assign(this, { sought: this.target, attempt: 0, low: -Infinity, high: Infinity });
    this.setTime(start + duration / 2 - this.shift);
  }
  setTime(time) {
    this.soughtTime = Math.min(Math.max(0, time), this.video.duration || Infinity);
    this.video.currentTime = this.soughtTime;
  }

  checkSeek() {
    clearTimeout(this.timer);
    if (this.target === null) return;
    if (this.target !== this.sought) { this.startSeek(); return; }
    if (!this.video.paused) { this.target = this.wanted = null; return; } // the next frame follows anyway
    this.timer = setTimeout(() => {
      if (this.target === null || this.video.seeking || this.shown !== this.target && this.seekBeside()) return;
      this.target = null;
      this.cursor = this.data.clampRow(this.shown); // what is on screen counts, even if it is not the wanted frame
      this.onChange(this.cursor, this.shown);
    }, SETTLE_MS);
  }

  // Chromium shows the first frame whose time plus a mean duration reaches the wanted time. With a variable frame rate this is often another
  // one, so the time that gives the wanted frame is found by bisection. Returns whether there is another time to try.
  seekBeside() {
    if (this.shown < this.target) this.low = this.soughtTime; else this.high = this.soughtTime;
    const step = 2 ** this.attempt * (this.data.end - this.data.start) / this.data.count, before = this.soughtTime;
    if (++this.attempt >= SEEK_ATTEMPTS) return false;
    if (this.low === -Infinity) this.setTime(this.soughtTime - step); else if (this.high === Infinity) this.setTime(this.soughtTime + step);
    else this.setTime((this.low + this.high) / 2);
    return Math.abs(this.soughtTime - before) > 1e-4;
  }

  // Arrow keys: relative to the wanted frame, so that fast key presses add up, and a frame that the browser cannot show is passed.
  step(rows) { this.pause(); this.seek((this.wanted ?? this.shown) + rows); }
  pause() { if (this.playable && !this.video.paused) this.video.pause(); }
  // The file is missing, or the browser has no decoder for it: the page goes on without pictures.
  disable() { this.playable = false; clearTimeout(this.timer); this.target = null; this.shown = this.cursor; this.onChange(this.cursor, this.shown); }

  toggle() {
    if (!this.playable) return;
    if (!this.video.paused) { this.video.pause(); return; }
    this.video.play().catch((error) => { if (error.name !== "AbortError") throw error; }); // a pause right after play aborts it
  }
}
