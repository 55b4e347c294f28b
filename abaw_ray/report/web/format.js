"use strict";
// Numbers as text, for the page of a video and the list of videos.

// Seconds as 0:03.42 or 1:02:03.42.
function formatClock(seconds, digits = 2) {
  const rounded = Number(seconds.toFixed(digits)), whole = Math.floor(rounded), minutes = Math.floor(whole / 60) % 60, hours = Math.floor(whole / 3600);
  const rest = (rounded - 60 * Math.floor(rounded / 60)).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

const formatPercent = (fraction) => `${Math.round(100 * fraction)} %`;
