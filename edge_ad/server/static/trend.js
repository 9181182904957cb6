// The trend of the scores: a range for each slice of time, dots for defective frames, a line for the threshold.

import { get } from "./ask.js";
import { clock, score } from "./format.js";

const SPANS = { "5m": { seconds: 300, slice: 0.5, refresh: 60 }, "24h": { seconds: 86400, slice: 60, refresh: 30 } };
const HIGHEST_IN_THRESHOLDS = 4; // higher scores are drawn at the edge: one of them must not flatten the rest
const COLOURS = { scores: "#5bb8f5", band: "rgb(91 184 245 / .38)", ng: "#ff6b75", limit: "#ffb224", grid: "#2a3947", text: "#a3b4c5" };
const [START, LOW, HIGH, , DEFECTIVE, LIMIT] = [0, 1, 2, 3, 4, 5];

export class Trend {
  constructor(canvas) {
    this.canvas = canvas;
    this.span = "5m";
    this.source = 0;
    this.rows = new Map();
    this.loadedAt = 0;
    this.drawnAt = 0;
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  async show(span, source) {
    this.span = span;
    this.source = source;
    this.rows.clear();
    await this.load();
  }

  async load() {
    const [span, source] = [this.span, this.source];
    this.loadedAt = performance.now();
    try {
      const found = await get(`/api/trend?span=${span}&source=${source}`);
      if (span !== this.span || source !== this.source) return;
      this.rows.clear();
      this.add(found.rows);
      this.draw();
    } catch {
      this.loadedAt = 0; // tried again with the next state
    }
  }

  update(rows, now, limit) {
    this.now = now;
    this.limit = limit;
    if (performance.now() - this.loadedAt > 1000 * SPANS[this.span].refresh) this.load();
    if (this.span === "5m") this.add(rows);
    if (performance.now() - this.drawnAt > 400) this.draw();
  }

  // The start of a row can shift a little, since it is wall-clock time: rows are matched by slice.
  add(rows) {
    const { slice } = SPANS[this.span];
    for (const row of rows) this.rows.set(Math.round(row[START] / slice), row);
  }

  draw() {
    this.drawnAt = performance.now();
    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height || !this.now) return;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const plot = this.plot(width, height);
    grid(pen, plot);
    scores(pen, plot);
    limits(pen, plot);
  }

  plot(width, height) {
    const { seconds, slice } = SPANS[this.span];
    const first = this.now - seconds;
    for (const [key, row] of this.rows) if (row[START] < first - slice) this.rows.delete(key);
    const rows = [...this.rows.values()].sort((a, b) => a[START] - b[START]);
    const lows = rows.map((row) => row[LOW]).filter((value) => value !== null);
    const highs = rows.map((row) => row[HIGH]).filter((value) => value !== null);
    if (Number.isFinite(this.limit)) lows.push(this.limit);
    if (!lows.length) lows.push(0);
    const top = this.limit > 0 ? Math.min(Math.max(...highs, 1.35 * this.limit), HIGHEST_IN_THRESHOLDS * this.limit) : Math.max(...highs, ...lows);
    const bottom = Math.min(...lows);
    const margin = 0.06 * (top - bottom || 1);
    const box = { left: 62, right: width - 14, top: 8, bottom: height - 26 };
    const range = { low: bottom > 0 && bottom < 0.5 * top ? 0 : bottom - margin, high: top + margin };
    return {
      box, range, rows, slice, seconds, limit: this.limit, now: this.now,
      x: (at) => box.right - ((this.now - at) / seconds) * (box.right - box.left),
      y: (value) => box.bottom - ((Math.min(value, range.high) - range.low) / (range.high - range.low)) * (box.bottom - box.top),
    };
  }
}

function grid(pen, { box, range, x, y, seconds, now }) {
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = COLOURS.text;
  pen.strokeStyle = COLOURS.grid;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  const step = niceStep((range.high - range.low) / 3);
  for (let value = Math.ceil(range.low / step) * step; value <= range.high; value += step) {
    line(pen, box.left, y(value), box.right, y(value));
    pen.fillText(score(Math.abs(value) < step / 1e6 ? 0 : value).replace(/\.?0+$/, "") || "0", box.left - 8, y(value));
  }
  pen.textBaseline = "top";
  pen.textAlign = "center";
  const every = seconds > 3600 ? (box.right - box.left > 600 ? 10800 : 21600) : 60;
  const shift = new Date(now * 1000).getTimezoneOffset() * 60;
  for (let at = Math.ceil((now - seconds - shift) / every) * every + shift; at <= now; at += every) {
    if (x(at) > box.left + 18 && x(at) < box.right - 18) pen.fillText(clock(at, false), x(at), box.bottom + 8);
  }
}

function scores(pen, { box, rows, slice, x, y, range }) {
  const width = Math.max(1.5, x(slice) - x(0) + 0.5);
  for (const row of rows) {
    if (row[HIGH] === null || x(row[START] + slice) < box.left) continue;
    const [top, bottom] = [y(row[HIGH]), y(row[LOW])];
    pen.fillStyle = COLOURS.band;
    pen.fillRect(x(row[START]), top, width, Math.max(1.5, bottom - top));
    pen.fillStyle = COLOURS.scores;
    pen.fillRect(x(row[START]), top - 0.75, width, 1.5);
  }
  pen.fillStyle = COLOURS.ng;
  for (const row of rows) {
    if (!row[DEFECTIVE]) continue;
    const at = x(row[START]) + width / 2;
    if (at < box.left) continue;
    pen.beginPath();
    if (row[HIGH] === null || row[HIGH] > range.high) triangle(pen, at, box.top);
    else pen.arc(at, y(row[HIGH]), 3.5, 0, 7);
    pen.fill();
  }
}

function limits(pen, { box, rows, slice, x, y, limit }) {
  pen.strokeStyle = COLOURS.limit;
  pen.lineWidth = 2;
  pen.setLineDash([7, 5]);
  pen.beginPath();
  let last = null;
  for (const row of rows) {
    if (row[LIMIT] === null) continue; // not finite: no place in the plot
    const at = Math.max(box.left, x(row[START]));
    if (last === null) pen.moveTo(box.left, y(row[LIMIT]));
    else if (row[LIMIT] !== last) pen.lineTo(at, y(last));
    pen.lineTo(at, y(row[LIMIT]));
    last = row[LIMIT];
  }
  const now = Number.isFinite(limit) ? limit : last;
  if (now === null) return pen.setLineDash([]);
  if (last === null) pen.moveTo(box.left, y(now));
  pen.lineTo(box.right, y(last ?? now));
  if (last !== null && last !== now) pen.lineTo(box.right, y(now));
  pen.stroke();
  pen.setLineDash([]);
  pen.lineWidth = 1;
}

function triangle(pen, at, top) {
  pen.moveTo(at - 5, top + 9);
  pen.lineTo(at + 5, top + 9);
  pen.lineTo(at, top);
}

function line(pen, x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, Math.round(y1) + 0.5);
  pen.lineTo(x2, Math.round(y2) + 0.5);
  pen.stroke();
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
}
