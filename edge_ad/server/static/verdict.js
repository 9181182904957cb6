// The verdict and the numbers. Shows no verdict without frames, while paused, or without a connection.

import { $, ago, count, milliseconds, score, setText, share } from "./format.js";

const OLD_S = 2;
const MARKS = { ok: "M4.5 12.8 9.6 18 19.5 6.5", ng: "M6 6 18 18M18 6 6 18", warn: "M12 4.5v9M12 18.6v.1", wait: "" };
const REASONS = {
  black: "The picture is black",
  "over-exposed": "The picture is over-exposed",
  frozen: "The picture does not change",
  corrupt: "The picture is damaged",
  paused: "Parts pass unjudged",
  "golden check": "Golden check: parts are not judged",
};

// What to show for a source: state, word, and a line below it.
export function verdictOf(source, state) {
  if (state.paused) return ["warn", "PAUSED", "Parts pass unjudged"];
  if (isLost(source, state)) return ["warn", "NO SIGNAL", "The camera does not answer"];
  if (state.golden?.blocking) return ["warn", "STOPPED", "Golden check: parts are not judged"];
  if (!source || (source.score === undefined && !source.reason)) return ["wait", "–", "Waiting for the first frame"];
  if (source.reason === "paused") return ["wait", "–", "Waiting for the next frame"];
  if (source.reason) return ["warn", "NO VERDICT", REASONS[source.reason] ?? source.reason];
  if (whyNot(source)) return ["ng", "NG", whyNot(source)];
  return source.defective ? ["ng", "NG", "Defective"] : ["ok", "OK", "Good"];
}

// Why a part is defective whatever its score: it could not be judged, or a number is not finite; else empty.
function whyNot(source) {
  if (source.why && source.why !== "not finite") return `Not judged: ${source.why}`;
  if (!Number.isFinite(source.score)) return "The score is not finite";
  if (!Number.isFinite(source.threshold)) return "The threshold is not finite";
  return source.why ? "The anomaly map is not finite" : "";
}

export function isLost(source, state) {
  return state.alarms.some((alarm) => alarm.kind === "source lost" && (!alarm.source || alarm.source === source?.name));
}

export function showVerdict(source, state) {
  const [kind, word, line] = verdictOf(source, state);
  const isOld = (kind === "ok" || kind === "ng") && source.seen_s > OLD_S;
  show(kind, word, isOld ? `${whyNot(source) || "Last part"}, ${ago(source.seen_s)}` : line, isOld);
  const hasScore = kind === "ok" || kind === "ng";
  $("bar").style.width = hasScore ? `${100 * Math.min(1, source.normalised ?? 1)}%` : "0";
  setText("score", hasScore ? score(source.score) : "–");
  setText("threshold", score(state.threshold));
}

export function showNoConnection(why) {
  show("wait", "–", `${why}: nothing here is up to date`, false);
  $("bar").style.width = "0";
  setText("score", "–");
}

function show(kind, word, line, isOld) {
  const card = $("verdict");
  card.dataset.state = kind;
  card.dataset.old = isOld;
  $("word").dataset.long = word.length > 3;
  setText("word", word);
  setText("why", line);
  $("stroke").setAttribute("d", MARKS[kind]);
  $("mark").style.display = MARKS[kind] && word.length <= 3 ? "" : "none";
}

export function showNumbers(state, isSingle, source) {
  const all = state.progress;
  const unjudged = Object.values(all.unjudged).reduce((sum, value) => sum + value, 0);
  const reasons = Object.entries(all.unjudged).filter(([, value]) => value).map(([reason, value]) => `${count(value)} ${reason}`);
  if (all.dropped) reasons.unshift(`${count(all.dropped)} dropped`);
  if (all.corrupt) reasons.push(`${count(all.corrupt)} corrupt`);
  number("fps", all.fps.toFixed(1), isSingle ? "" : "all sources");
  number("frames", count(all.frames), uptime(all.seconds));
  number("defective", count(all.defective), share(all.defective, all.frames));
  number("latency", milliseconds(source?.latency_ms), all.latency_p99_ms ? `p99 ${milliseconds(all.latency_p99_ms)}` : "");
  number("age", milliseconds(source?.age_ms), all.age_p99_ms ? `p99 ${milliseconds(all.age_p99_ms)}` : "");
  number("lost", count(unjudged + all.dropped + all.corrupt), reasons.join(", "));
}

function number(id, text, small) {
  const target = $(id);
  if (target.dataset.shown === text + small) return;
  target.dataset.shown = text + small;
  const note = document.createElement("small");
  note.textContent = note.title = small;
  target.replaceChildren(text, note);
}

function uptime(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `in ${Math.floor(seconds)} s`;
  if (minutes < 60) return `in ${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `in ${hours} h ${minutes % 60} min` : `in ${Math.floor(hours / 24)} days`;
}
