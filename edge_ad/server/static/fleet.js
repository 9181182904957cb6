// The page of a fleet: asks for what the devices said, and shows it. It changes nothing.

import { get } from "./ask.js";
import { $, ago, count, element, setText } from "./format.js";

const EVERY_MS = 2000;
const WORDS = { failed: "Failed", lost: "Lost", waiting: "Waiting", working: "Working", current: "Current" };
let latest = null;
let listed = ""; // one standing, or all

async function update() {
  try {
    latest = await get("/api/devices");
    show(latest);
  } catch {
    showConnection("off", "No connection");
    document.body.dataset.stale = "true";
  }
  setTimeout(update, EVERY_MS);
}

function show(facts) {
  document.body.dataset.stale = String(!facts.broker.is_connected);
  setText("broker", facts.broker.address);
  $("logout").hidden = !facts.has_login;
  if (facts.broker.is_connected) showConnection("live", "Live");
  else showConnection("off", "The broker does not answer");
  showCounts(facts.counts);
  showDevices();
  $("left-out").hidden = !facts.left_out;
  setText("left-out", `At least ${count(facts.left_out)} more ${facts.left_out === 1 ? "device is" : "devices are"} not shown: there are too many for one page. Start one for each part of the fleet.`);
}

function showConnection(state, text) {
  $("connection").dataset.state = state;
  setText("connection", text);
}

function showCounts(counts) {
  for (const [standing, word] of Object.entries(WORDS)) {
    const id = `count-${standing}`;
    const button = $(id) ?? $("counts").appendChild(countButton(id, standing));
    button.replaceChildren(`${word} `, element("b", { textContent: count(counts[standing]) }));
    button.disabled = !counts[standing] && listed !== standing;
    button.setAttribute("aria-pressed", String(listed === standing));
  }
}

function countButton(id, standing) {
  const button = element("button", { id, type: "button", className: "small", "data-standing": standing });
  button.addEventListener("click", () => {
    listed = listed === standing ? "" : standing;
    showCounts(latest.counts);
    showDevices();
  });
  return button;
}

function showDevices() {
  if (!latest) return;
  const words = $("search").value.trim().toLowerCase();
  const found = latest.devices.filter((device) => isListed(device, words));
  const rows = $("devices");
  for (const [place, device] of found.entries()) {
    const row = rows.children[place] ?? rows.appendChild(emptyRow());
    fill(row, device);
  }
  while (rows.children.length > found.length) rows.lastChild.remove();
  $("none").hidden = found.length > 0;
  setText("none", latest.devices.length ? "No device like this." : "No device has said anything yet: edge-ad follow … --mqtt URL");
}

function isListed(device, words) {
  if (listed && device.standing !== listed) return false;
  return !words || `${device.name} ${device.reference} ${device.digest}`.toLowerCase().includes(words);
}

const CELLS = ["State", "Device", "Tag", "Digest", "Step", "Stream", "Last word"];

function emptyRow() {
  return element("tr", {}, ...CELLS.map((name) => name === "Device" ? element("th", { scope: "row", "data-name": name }) : element("td", { "data-name": name })));
}

function fill(row, device) {
  row.dataset.standing = device.standing;
  row.dataset.stale = String(device.is_stale);
  row.dataset.stream = device.stream;
  const [host, tag] = tagOf(device.reference);
  const contents = [
    [WORDS[device.standing] ?? device.standing, "", ""],
    [device.name, device.version && `edge-ad ${device.version}`, ""],
    [tag, host, device.reference],
    [shortened(device.digest) || "none", "", device.digest],
    [device.step, shortened(device.message), device.message],
    [...streamOf(device), ""],
    [...lastWord(device), device.at],
  ];
  for (const [place, [text, small, title]] of contents.entries()) write(row.children[place], text, small, title);
}

function write(cell, text, small, title) {
  const key = `${text}\n${small}\n${title}`;
  if (cell.dataset.key === key) return;
  cell.dataset.key = key;
  cell.title = title;
  cell.replaceChildren(element("span", { textContent: text }), ...(small ? [element("small", { textContent: small })] : []));
}

const shortened = (text) => text.replaceAll(/sha256:([0-9a-f]{12})[0-9a-f]{52}/g, "$1");

function tagOf(reference) {
  const place = reference.indexOf("/");
  return place < 0 ? ["", reference] : [reference.slice(0, place), reference.slice(place + 1)];
}

function streamOf(device) {
  if (!device.stream) return ["–", ""];
  if (!device.health) return ["does not answer", ""];
  const { fps, alarms } = device.health;
  return [`${fps.toFixed(1)} fps`, alarms ? `${alarms} ${alarms === 1 ? "alarm" : "alarms"}` : "no alarms"];
}

function lastWord(device) {
  const age = device.age_s === null ? "unknown" : ago(device.age_s);
  if (device.is_online === false) return [age, "agent is offline"];
  return [age, device.is_stale ? "stale" : ""];
}

$("search").addEventListener("input", showDevices);
update();
