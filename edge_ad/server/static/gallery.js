// The newest defective parts, and one of them at full size.

import { get } from "./ask.js";
import { $, clock, day, element, score, zone } from "./format.js";

let finds = [];
let opened = null;
let isOverlay = true;

const address = (find, kind) => `/api/finds/${find.number}?kind=${kind}&version=${find.version}`;

export async function loadFinds(isSingle) {
  finds = await get("/api/finds");
  const list = $("finds");
  const known = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const items = finds.map((find) => known.get(keyOf(find)) ?? thumbnail(find, isSingle));
  list.replaceChildren(...(items.length ? items : [element("li", { className: "none" }, "None since the stream began.")]));
  $("finds-note").textContent = finds.length ? `the newest ${finds.length}` : "";
  if (opened !== null) show(opened);
}

const keyOf = (find) => `${find.number}.${find.version}.${find.frames > 1}`;

function thumbnail(find, isSingle) {
  const words = `Defective part at ${clock(find.at_unix)} ${zone(find.at_unix)}, score ${score(find.score)}${find.path ? `, ${find.path}` : isSingle ? "" : `, ${find.source}`}`;
  const image = element("img", { src: address(find, "thumbnail"), alt: "", loading: "lazy", width: 148, height: 96 });
  const foot = element("span", {}, clock(find.at_unix), element("b", {}, score(find.score)));
  const button = element("button", { type: "button", "aria-label": words, title: words }, image, foot);
  button.addEventListener("click", () => open(find.number));
  const item = element("li", {}, button);
  item.dataset.key = keyOf(find);
  return item;
}

function open(number) {
  opened = number;
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
  const frames = find.frames > 1 ? ` · worst of ${find.frames} frames` : "";
  $("find-facts").textContent = `Score ${score(find.score)} · threshold ${score(find.threshold)} · frame ${find.frame} · ${find.path || find.source}${frames}`;
  $("find-newer").disabled = index === 0;
  $("find-older").disabled = index === finds.length - 1;
}

function step(by) {
  const index = finds.findIndex((find) => find.number === opened) + by;
  if (index < 0 || index >= finds.length) return;
  opened = finds[index].number;
  show(opened);
}

export function setUpGallery() {
  $("find-newer").addEventListener("click", () => step(-1));
  $("find-older").addEventListener("click", () => step(1));
  $("find-close").addEventListener("click", () => $("find").close());
  $("find").addEventListener("close", () => (opened = null));
  $("find").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  $("find-view").addEventListener("click", () => {
    isOverlay = !isOverlay;
    $("find-view").setAttribute("aria-pressed", isOverlay);
    show(opened);
  });
}
