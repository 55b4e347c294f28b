// What is shown in text: the expression of the current frame with all probabilities, position, and the tables of the selected person.
class Panel {
  constructor(data) {
    this.data = data;
    this.find = (name) => document.querySelector(`[data-show="${name}"]`);
    this.bars = [...document.querySelectorAll("[data-bar]")].map((bar) => ({ index: Number(bar.dataset.bar), fill: bar.querySelector("i"), text: bar.querySelector("output") }));
    this.episodes = [];
    this.current = null;
  }

  setPerson(person) {
    this.person = person;
    for (const section of document.querySelectorAll("[data-person]")) section.hidden = section.dataset.person !== person.name;
    const open = document.querySelector("[data-person]:not([hidden])");
    this.episodes = open ? [...open.querySelectorAll("tr[data-first]")].map((line) => ({ line, first: Number(line.dataset.first), last: Number(line.dataset.last) })) : [];
    this.markEpisode(null);
  }

  describe(state) {
    if (!state) return "not in this part of the video";
    return state.label === null ? "not scored" : `${this.data.names[state.label]} ${formatPercent(state.confidence)}`;
  }

  // time: of the frame on screen, where that is outside of the analyzed part.
  show(cursor, shown, time) {
    const { data } = this, state = this.person.at(shown), analyzed = data.isRow(shown);
    this.find("time").textContent = formatClock(analyzed ? data.times[cursor] : time);
    this.find("frame").textContent = analyzed ? `frame ${data.frame(cursor).toLocaleString("en")}` : "not analyzed";
    this.find("label").textContent = !analyzed ? "not analyzed" : state && state.label !== null ? data.names[state.label] : this.describe(state);
    this.find("label").classList.toggle("missing", !state || state.label === null);
    this.find("confidence").textContent = state && state.label !== null ? formatPercent(state.confidence) : "";
    this.find("swatch").style.background = state && state.label !== null ? data.colors[state.label] : "transparent";
    this.find("facts").textContent = this.facts(state);
    for (const bar of this.bars) {
      const value = state ? state.probability[bar.index] : null;
      bar.fill.style.width = `${100 * (value ?? 0)}%`;
      bar.text.textContent = value === null ? "–" : formatPercent(value);
    }
    const frame = analyzed ? data.frame(shown) : NaN;
    this.markEpisode(this.episodes.find(({ first, last }) => first <= frame && frame <= last) ?? null);
  }

  facts(state) {
    if (!state) return "";
    const parts = [state.seen ? `face ${state.source}` : "no face", state.heard ? "voice" : "no voice"];
    if (state.gate !== null) parts.push(`weight of the face ${state.gate.toFixed(2)}`);
    return parts.join(" · ");
  }

  markEpisode(episode) {
    if (episode === this.current) return;
    this.current?.line.removeAttribute("aria-current");
    this.current = episode;
    if (!episode) return;
    episode.line.setAttribute("aria-current", "true");
    const list = episode.line.closest(".scroll"); // scrolls the list only, never the page
    const top = episode.line.offsetTop - list.scrollTop, visible = list.clientHeight - episode.line.offsetHeight;
    if (top < 40 || top > visible) list.scrollTop = episode.line.offsetTop - visible / 2;
  }
}
