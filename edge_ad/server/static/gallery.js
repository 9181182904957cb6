// The newest defective parts and what passed, one of them at full size, and what a person says of it.

import { get, post } from "./ask.js";
import { Brush } from "./brush.js";
import { $, clock, count, day, element, score, zone } from "./format.js";
import { myName, rememberName } from "./name.js";

const VIEWS = {
  finds: { title: "Defective parts", one: "Defective part", none: "None since the stream began.", button: "False alarm", defect: "Defect" },
  passes: { title: "Passed", one: "Passed frame", none: "None since the stream began.", button: "", defect: "Missed defect" },
};
const TOLD = {
  good: () => "Marked as a false alarm: kept as a photo of a good part.",
  defect: (find) => `Marked as ${view === "finds" ? "a defect" : "a missed defect"}${find.kind ? ` (${find.kind})` : ""}: kept as a photo of a defective part.`,
};

let view = "finds";
let finds = [];
let corrections = null;
let onList = () => {}; // asks for the list again
let opened = null;
let isOverlay = true;
let brush = null;

const address = (find, kind) => `/api/finds/${find.number}?kind=${kind}&version=${find.version}`;

export const shownList = () => view;

export async function loadFinds(isSingle) {
  finds = await get(`/api/${view}`);
  const list = $("finds");
  const known = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const items = finds.map((find) => known.get(keyOf(find)) ?? thumbnail(find, isSingle));
  list.replaceChildren(...(items.length ? items : [element("li", { className: "none" }, VIEWS[view].none)]));
  $("finds-title").textContent = VIEWS[view].title;
  $("finds-note").textContent = finds.length ? note() : "";
  if (opened !== null) show(opened);
}

const note = () => (view === "finds" ? `the newest ${finds.length}` : `until ${clock(finds[0].at_unix)}: the highest score of each second; press again for newer ones`);

const keyOf = (find) => `${find.number}.${find.version}.${find.frames > 1}.${find.label}.${find.kind}`;
const wordOf = (find) => (find.label === "good" ? "false alarm" : find.kind || VIEWS[view].defect.toLowerCase());

function thumbnail(find, isSingle) {
  const words = `${VIEWS[view].one} at ${clock(find.at_unix)} ${zone(find.at_unix)}, score ${score(find.score)}${find.path ? `, ${find.path}` : isSingle ? "" : `, ${find.source}`}`;
  const image = element("img", { src: address(find, "thumbnail"), alt: "", loading: "lazy", width: 148, height: 96 });
  const foot = element("span", {}, clock(find.at_unix), element("b", { className: view }, score(find.score)));
  const button = element("button", { type: "button", "aria-label": words, title: words }, image, foot);
  button.addEventListener("click", () => open(find.number));
  const item = element("li", {}, button);
  item.dataset.key = keyOf(find);
  if (find.label !== null) button.append(element("em", {}, wordOf(find)));
  return item;
}

function open(number) {
  opened = number;
  forgetPlace();
  $("find-by").value = myName();
  $("find-wrong").textContent = "";
  show(number);
  $("find").showModal();
}

function show(number) {
  const index = finds.findIndex((find) => find.number === number);
  if (index < 0) return; // no longer kept; the open picture stays
  const find = finds[index];
  const source = address(find, isOverlay ? "overlay" : "plain");
  const image = $("find-picture");
  if (!image.src.endsWith(source)) image.src = source;
  image.alt = `Frame ${find.frame} of ${find.path || find.source}`;
  $("find-title").textContent = `${day(find.at_unix)} ${clock(find.at_unix)} ${zone(find.at_unix)}`;
  const frames = find.frames > 1 ? ` · highest score of ${find.frames} frames` : "";
  $("find-facts").textContent = `Score ${score(find.score)} · threshold ${score(find.threshold)} · frame ${find.frame} · ${find.path || find.source}${frames}`;
  showCorrection(find);
  $("find-newer").disabled = index === 0;
  $("find-older").disabled = index === finds.length - 1;
}

function step(by) {
  const index = finds.findIndex((find) => find.number === opened) + by;
  if (index < 0 || index >= finds.length) return;
  opened = finds[index].number;
  forgetPlace();
  $("find-wrong").textContent = "";
  show(opened);
}

function showCorrection(find) {
  $("find-correct").hidden = corrections === null;
  const isMarked = find.label !== null;
  $("find-label").textContent = isMarked ? "Take it back" : VIEWS[view].button;
  $("find-label").hidden = !isMarked && !VIEWS[view].button;
  $("find-defect").textContent = VIEWS[view].defect;
  for (const id of ["find-defect", "find-kind", "find-mark"]) $(id).hidden = isMarked;
  $("find-clear").hidden = isMarked || !brush.isOn;
  $("find-told").textContent = isMarked ? TOLD[find.label](find) : "";
}

function forgetPlace() {
  $("find-kind").value = "";
  brush.clear();
  mark(false);
}

function mark(isOn) {
  brush.turn(isOn);
  $("find-mark").setAttribute("aria-pressed", isOn);
  $("find-clear").hidden = !isOn;
}

async function correct(wanted) {
  const find = finds.find((one) => one.number === opened);
  if (!find) throw new Error("That frame is no longer kept.");
  const by = $("find-by").value.trim();
  const label = find.label === null ? wanted : null;
  const defect = label === "defect" ? { kind: $("find-kind").value.trim(), place: brush.place() } : {};
  const answer = await post(`/api/finds/${find.number}/label`, { label, by, frame: find.frame, ...defect });
  rememberName(by);
  Object.assign(find, { label: answer.label, kind: answer.kind });
  forgetPlace();
  show(find.number);
  onList();
}

export function updateCorrections(state) {
  corrections = state.corrections;
  $("finds-tabs").hidden = corrections === null;
  if (corrections === null) return;
  const kinds = state.kinds.join();
  if ($("kinds").dataset.kinds !== kinds) {
    $("kinds").dataset.kinds = kinds;
    $("kinds").replaceChildren(...state.kinds.map((kind) => element("option", { value: kind })));
  }
  $("finds-tabs").title = `In the folder: ${count(corrections.good)} of good parts, ${count(corrections.defect)} of defective ones`;
}

function setUpCorrections() {
  for (const button of document.querySelectorAll("[data-finds]")) {
    button.addEventListener("click", () => {
      for (const other of document.querySelectorAll("[data-finds]")) other.setAttribute("aria-pressed", other === button);
      view = button.dataset.finds;
      onList();
    });
  }
  brush = new Brush($("find-picture"), $("find-place"));
  $("find-mark").addEventListener("click", () => mark(!brush.isOn));
  $("find-clear").addEventListener("click", () => brush.clear());
  $("find-correct").addEventListener("submit", (event) => {
    event.preventDefault();
    $("find-wrong").textContent = "";
    const byDefault = VIEWS[view].button ? "good" : "defect"; // the return key
    const wanted = event.submitter?.id === "find-defect" ? "defect" : event.submitter?.id === "find-label" ? "good" : byDefault;
    correct(wanted).catch((error) => ($("find-wrong").textContent = error.message));
  });
}

export function setUpGallery(onChange) {
  onList = onChange;
  setUpCorrections();
  $("find-newer").addEventListener("click", () => step(-1));
  $("find-older").addEventListener("click", () => step(1));
  $("find-close").addEventListener("click", () => $("find").close());
  $("find").addEventListener("close", () => (opened = null));
  $("find").addEventListener("keydown", (event) => {
    if (["find-by", "find-kind"].includes(event.target.id)) return; // there they move the cursor
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  $("find-view").addEventListener("click", () => {
    isOverlay = !isOverlay;
    $("find-view").setAttribute("aria-pressed", isOverlay);
    show(opened);
  });
}
