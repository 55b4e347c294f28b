"use strict";
// Shared by all pages: decoding of the data (encoding.py) and small functions of time axes.
const MISSING_BYTE = 255, MAX_BYTE = 254;

// Base64 text -> Uint8Array; null stays null.
function decodeBase64(text) {
  if (text === null) return null;
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

// Index of the last time at or before t, 0 if there is none; times ascend.
function lastAtOrBefore(times, t) {
  let low = 0, high = times.length - 1;
  while (low < high) { const mid = (low + high + 1) >> 1; if (times[mid] <= t) low = mid; else high = mid - 1; }
  return low;
}

// Seconds between two ticks of an axis that spans this many seconds.
function tickStep(span, maxTicks) {
  return [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600].find((step) => span / step <= maxTicks) || 7200;
}
