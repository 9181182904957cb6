// Events, the parts that are over, and the alarms that are not cleared.

import { get } from "./ask.js";
import { $, clock, day, element, score, setText, zone } from "./format.js";

const BAD = new Set(["alarm", "source lost", "drift", "scene changed", "bundle refused", "recipe refused", "golden check due", "golden check failed", "corrupt", "request lost", "another shape", "frame size"]);

export async function loadEvents() {
  const events = await get("/api/events");
  const items = events.map((event) => {
    const item = element("li", {}, time(event.at), element("span", {}, sentence(event)));
    item.dataset.kind = BAD.has(event.kind) ? "bad" : "";
    return item;
  });
  $("events").replaceChildren(...(items.length ? items : [element("li", { className: "none" }, "Nothing yet.")]));
}

export async function loadParts() {
  const parts = await get("/api/parts");
  $("parts").replaceChildren(...parts.map(partItem));
}

function partItem(part) {
  const name = part.part_id || part.part;
  const counts = `${part.defective} of ${part.frames} frames defective`;
  const why = [part.reason, counts, `score ${score(part.score)}`, part.source].filter(Boolean).join(" · ");
  const item = element("li", {}, time(part.at), element("span", {}, `Part ${name} `, element("b", {}, part.verdict)), element("small", {}, why));
  item.dataset.kind = part.verdict === "OK" ? "" : "bad";
  return item;
}

export function setUpLog() {
  for (const button of document.querySelectorAll("[data-log]")) {
    button.addEventListener("click", () => {
      for (const other of document.querySelectorAll("[data-log]")) {
        other.setAttribute("aria-pressed", other === button);
        $(other.dataset.log).hidden = other !== button;
      }
      setText("log-title", button.textContent);
    });
  }
}

export const showPartsTab = (hasParts) => ($("log-tabs").hidden = !hasParts);

let shown = "";

export function showAlarms(alarms) {
  const key = JSON.stringify(alarms);
  if (key === shown) return;
  shown = key;
  const items = alarms.map((alarm) =>
    element("p", { className: "alarm" }, element("span", {}, sentence(alarm)), time(alarm.at)),
  );
  $("alarms").replaceChildren(...items);
}

// Only the time fits; hovering shows the day and the zone.
const time = (at) => element("time", { title: `${day(at)} ${clock(at)} ${zone(at)}` }, clock(at));

const sentence = (event) => event.text || [event.kind, event.source].filter(Boolean).join(": ");
