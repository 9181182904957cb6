// The page: passes what comes from the stream to the parts that show it.

import { setUpControls, updateControls } from "./controls.js";
import { loadEvents, loadParts, setUpLog, showAlarms, showPartsTab } from "./events.js";
import { $, clock, element, setText, zone } from "./format.js";
import { loadFinds, setUpGallery, shownList, updateCorrections } from "./gallery.js";
import { followPictures, followState } from "./live.js";
import { setUpGolden, updateGolden } from "./golden.js";
import { setUpRecipe, updateRecipe } from "./recipe.js";
import { Trend } from "./trend.js";
import { isLost, showNoConnection, showNumbers, showVerdict, verdictOf } from "./verdict.js";

const trend = new Trend($("trend"));
const UNSEEN = { pictures: "", events: -1, parts: 0 };
const seen = { run: 0, ...UNSEEN };
let selected = 0;
let isOverlay = true;
let isConnected = false;
let latest = null;
let clockOffset = 0;
let presses = 0; // what passed changes all the time: it is listed as it was when that was asked for

function onState(state) {
  const isFirst = state.run !== seen.run;
  Object.assign(seen, isFirst ? { run: state.run, ...UNSEEN } : {});
  latest = state;
  isConnected = true;
  clockOffset = state.now - Date.now() / 1000;
  const source = state.sources.find((row) => row.index === selected) ?? state.sources[0];
  if (source && source.index !== selected) selected = source.index;
  if (isFirst) trend.show(trend.span, selected);
  showVerdict(source, state);
  showNumbers(state, state.sources.length < 2, source);
  showAlarms(state.alarms);
  showHeader(state, source);
  trend.update(source?.trend ?? [], state.now, state.threshold);
  updateControls(state);
  updateRecipe(state);
  updateGolden(state);
  updateCorrections(state);
  showPartsTab(state.parts > 0);
  refreshPictures();
  refresh("events", state.events, loadEvents);
  refresh("parts", state.parts, loadParts);
  if (source?.serial && $("veil").textContent.startsWith("Waiting")) $("veil").textContent = "";
  else if (source && $("veil").textContent === "No connection") $("veil").textContent = "";
}

function refreshPictures() {
  const list = shownList();
  refresh("pictures", list === "finds" ? `finds ${latest.finds}` : `passes ${presses}`, () => loadFinds(latest.sources.length < 2));
}

// Reloads a list when its number has changed; after a failure, tries again with the next state.
function refresh(name, number, load) {
  if (seen[name] === number) return;
  seen[name] = number;
  load().catch(() => (seen[name] = -1));
}

function onSilence(why) {
  if (isConnected || why !== $("connection").textContent) {
    isConnected = false;
    setConnection("off", why);
    showNoConnection(why);
    $("veil").textContent = why;
  }
}

// Anything but live or paused dims the picture, which is not what the camera sees now.
function setConnection(kind, text) {
  $("connection").dataset.state = kind;
  document.querySelector(".stage").dataset.stale = kind === "off";
  setText("connection", text);
}

function showHeader(state, source) {
  const { name, method, precision, backend } = state.bundle;
  setText("product", name || "Live inspection");
  $("statistics").hidden = !state.database;
  setText("model", [method, precision, backend].filter(Boolean).join(" · "));
  if (isLost(source, state)) setConnection("off", "No signal");
  else setConnection(state.paused ? "paused" : "live", state.paused ? "Paused" : "Live");
  const word = verdictOf(source, state)[1];
  document.title = `${word} · ${name || "edge-ad"}`;
  showSources(state);
}

function showSources(state) {
  const list = $("sources");
  list.hidden = state.sources.length < 2;
  if (list.hidden) return;
  if (list.children.length !== state.sources.length) {
    list.replaceChildren(...state.sources.map((row) => sourceButton(row)));
  }
  state.sources.forEach((row, position) => {
    const button = list.children[position];
    button.dataset.state = verdictOf(row, state)[0];
    button.setAttribute("aria-pressed", row.index === selected);
  });
}

function sourceButton(row) {
  const button = element("button", { type: "button", title: row.name }, row.name.split("/").pop());
  button.addEventListener("click", () => {
    selected = row.index;
    trend.show(trend.span, selected);
    if (latest) onState(latest);
  });
  return button;
}

function setUpView() {
  $("overlay").addEventListener("click", () => {
    isOverlay = !isOverlay;
    $("overlay").setAttribute("aria-pressed", isOverlay);
  });
  for (const button of document.querySelectorAll("[data-span]")) {
    button.addEventListener("click", () => {
      for (const other of document.querySelectorAll("[data-span]")) other.setAttribute("aria-pressed", other === button);
      trend.show(button.dataset.span, selected);
    });
  }
  setInterval(() => {
    const now = Date.now() / 1000 + clockOffset;
    setText("clock", `${clock(now)} ${zone(now)}`);
  }, 1000);
}

setUpControls();
setUpRecipe();
setUpGolden();
setUpGallery(() => {
  presses += 1;
  if (latest) refreshPictures();
});
setUpLog();
setUpView();
followState(onState, onSilence);
followPictures($("picture"), () => `source=${selected}&view=${isOverlay ? "overlay" : "plain"}`, () => {
  if (isConnected) $("veil").textContent = "";
});
