// Events, and the alarms that are not cleared.

import { get } from "./ask.js";
import { $, clock, day, element, zone } from "./format.js";

const BAD = new Set(["alarm", "source lost", "drift", "scene changed", "bundle refused", "corrupt", "request lost", "another shape", "frame size"]);

export async function loadEvents() {
  const events = await get("/api/events");
  const items = events.map((event) => {
    const item = element("li", {}, time(event.at), element("span", {}, sentence(event)));
    item.dataset.kind = BAD.has(event.kind) ? "bad" : "";
    return item;
  });
  $("events").replaceChildren(...(items.length ? items : [element("li", { className: "none" }, "Nothing yet.")]));
}

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
