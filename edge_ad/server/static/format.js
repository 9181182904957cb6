// Numbers, times and elements, written the same way everywhere on the page.

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-")) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

export function setText(id, text) {
  const target = $(id);
  if (target.textContent !== text) target.textContent = text;
}

// Missing before the first frame; null stands for a number that JSON does not have.
export function score(value) {
  if (value === undefined) return "–";
  if (!Number.isFinite(value)) return "not finite";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return value.toPrecision(4).includes("e") ? String(Math.round(value)) : value.toPrecision(4);
}

export const count = (value) => value.toLocaleString("en-US").replaceAll(",", "\u202f");

export function milliseconds(value) {
  if (!value) return "–";
  if (value >= 10000) return `${(value / 1000).toFixed(0)} s`;
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ms`;
}

export const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(part && part / whole < 0.01 ? 2 : 1)} %` : "");

const pad = (value) => String(value).padStart(2, "0");

export function clock(seconds, hasSeconds = true) {
  const date = new Date(seconds * 1000);
  return `${pad(date.getHours())}:${pad(date.getMinutes())}${hasSeconds ? `:${pad(date.getSeconds())}` : ""}`;
}

export function day(seconds) {
  const date = new Date(seconds * 1000);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}

// Offset of the browser's clock from UTC at that moment; it differs in summer.
export function zone(seconds) {
  const minutes = -new Date(seconds * 1000).getTimezoneOffset();
  const size = Math.abs(minutes);
  return `UTC${minutes < 0 ? "−" : "+"}${pad(Math.floor(size / 60))}:${pad(size % 60)}`;
}

export function ago(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  return `${Math.round(seconds / 3600)} h ago`;
}
