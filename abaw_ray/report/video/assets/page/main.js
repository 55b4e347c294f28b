// Connects clock, boxes, timeline, panel, controls and keys.
const data = new VideoData(JSON.parse(document.getElementById("data").textContent));
const element = (id) => document.getElementById(id);
const video = element("video"), slider = element("timeline"), status = element("status");
const layer = new BoxLayer(element("boxes"), data), panel = new Panel(data);
let person = data.people[0];

const clock = new VideoClock(video, data, update);
const timeline = new Timeline(
  { slider, plot: element("plot"), overview: element("overview"), window: element("window"), marker: element("marker"), playhead: element("playhead"), tip: element("tip") },
  data, (row) => clock.seek(row),
);

function update(cursor, shown) {
  const analyzed = data.isRow(shown);
  layer.draw(shown, person);
  timeline.setCursor(cursor, analyzed);
  panel.show(cursor, shown, clock.time);
  element("outside").hidden = analyzed;
  if (clock.paused) describePosition(cursor); // while the video plays, a screen reader would have to read thirty values a second
}

function describePosition(cursor) {
  slider.setAttribute("aria-valuenow", data.times[cursor].toFixed(2));
  if (!data.isRow(clock.shown)) { slider.setAttribute("aria-valuetext", `${formatClock(clock.time)}, not analyzed`); return; }
  slider.setAttribute("aria-valuetext", `${formatClock(data.times[cursor])}, frame ${data.frame(cursor)}, ${person.name}: ${panel.describe(person.at(cursor))}`);
}

function selectPerson(index) {
  if (!data.people[index]) return;
  person = data.people[index];
  document.querySelectorAll("[data-select]").forEach((button, i) => button.setAttribute("aria-pressed", i === index));
  panel.setPerson(person);
  timeline.setPerson(person);
  update(clock.cursor, clock.shown);
}

function setBoxes(mode) {
  layer.mode = mode;
  element("show").value = mode;
  layer.draw(clock.shown, person);
}

function showPlaying() {
  const playing = !clock.paused;
  element("play").setAttribute("aria-label", playing ? "Pause" : "Play");
  element("play").classList.toggle("playing", playing);
  if (!playing) describePosition(clock.cursor);
}

function disablePlayer(message) {
  element("stage").classList.add("empty");
  if (message) element("message").textContent = message;
  for (const id of ["play", "mute", "speed"]) element(id).disabled = true;
  clock.disable();
}

// Keys of the whole page; links, buttons and menus keep their own.
const seekSeconds = (seconds) => { clock.seek(data.nearestRow(data.times[clock.wanted ?? clock.cursor] + seconds)); };
const KEYS = {
  " ": () => clock.toggle(), k: () => clock.toggle(),
  ArrowLeft: (event) => event.shiftKey ? seekSeconds(-1) : clock.step(-1), ArrowRight: (event) => event.shiftKey ? seekSeconds(1) : clock.step(1),
  PageUp: () => seekSeconds(-10), PageDown: () => seekSeconds(10),
  Home: () => clock.seek(0), End: () => clock.seek(data.count - 1),
  "+": () => timeline.zoom(0.5), "=": () => timeline.zoom(0.5), "-": () => timeline.zoom(2), 0: () => timeline.setRange(data.start, data.end),
  b: () => setBoxes(layer.mode === "none" ? "all" : "none"), m: () => element("mute").click(), f: () => element("full").click(),
};
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { target } = event;
  if (target.closest("select, input, textarea")) return;
  if ((event.key === " " || event.key === "Enter") && target.closest("button, a, summary")) return;
  const action = /^[1-9]$/.test(event.key) ? () => announcePerson(Number(event.key) - 1) : KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action(event);
}
function announcePerson(index) {
  selectPerson(index);
  if (data.people[index]) status.textContent = `${person.name}: ${panel.describe(person.at(clock.cursor))}`;
}

function connectControls() {
  element("play").addEventListener("click", () => clock.toggle());
  element("back").addEventListener("click", () => clock.step(-1));
  element("forward").addEventListener("click", () => clock.step(1));
  element("speed").addEventListener("change", (event) => { video.playbackRate = Number(event.target.value); });
  element("show").addEventListener("change", (event) => setBoxes(event.target.value));
  element("full").addEventListener("click", () => document.fullscreenElement ? document.exitFullscreen() : element("stage").requestFullscreen());
  element("mute").addEventListener("click", () => { if (video) video.muted = !video.muted; });
  element("zoomin").addEventListener("click", () => timeline.zoom(0.5));
  element("zoomout").addEventListener("click", () => timeline.zoom(2));
  element("whole").addEventListener("click", () => timeline.setRange(data.start, data.end));
  element("stage").addEventListener("click", () => clock.toggle());
  document.querySelectorAll("[data-select]").forEach((button, index) => button.addEventListener("click", () => announcePerson(index)));
  document.querySelectorAll("button[data-seek]").forEach((button) => button.addEventListener("click", () => { clock.pause(); clock.seek(data.rowOf(Number(button.dataset.seek))); }));
  document.addEventListener("keydown", onKey);
  new ResizeObserver(() => layer.draw(clock.shown, person)).observe(element("stage"));
}

function connectVideo() {
  for (const name of ["play", "pause", "ended"]) video.addEventListener(name, showPlaying);
  video.addEventListener("volumechange", () => {
    element("mute").classList.toggle("muted", video.muted);
    element("mute").setAttribute("aria-label", video.muted ? "Unmute" : "Mute");
  });
  video.addEventListener("error", () => disablePlayer(video.error.code === MediaError.MEDIA_ERR_DECODE
    ? `The browser stopped at ${formatClock(clock.data.times[clock.shown])}: the file is damaged there. Boxes and timeline go on without pictures.`
    : "The browser cannot play this video: the file is missing, or it has no decoder for it."));
  video.addEventListener("loadedmetadata", () => {
    if (!video.videoWidth) { disablePlayer("The browser has no decoder for the pictures of this video."); return; }
    if (Math.abs(video.videoWidth / video.videoHeight - data.width / data.height) > 0.05) element("message").textContent = "The browser shows this video with another aspect ratio or rotation: boxes are in the wrong place.";
  });
  const content = element("content"); // a video inside the page
  video.src = content ? URL.createObjectURL(new Blob([decodeBase64(content.textContent)], { type: content.dataset.type })) : video.dataset.src;
}

connectControls();
selectPerson(0);
setBoxes("all");
if (video) connectVideo(); else disablePlayer("");
