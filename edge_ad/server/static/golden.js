// The golden check: whether master parts are asked for, and the dialog to show them, sign and waive.

import { get, post } from "./ask.js";
import { $, element, setText } from "./format.js";
import { myName, rememberName } from "./name.js";

const LINES = {
  due: "Golden check due",
  "under way": "Golden check under way",
  unsigned: "Golden check to be signed",
  failed: "Golden check failed",
  overdue: "Golden check not done in time",
  valid: "Golden check passed",
};
let state = null;
let shown = "";

export function updateGolden(next) {
  state = next.golden;
  const isAsked = state.state !== "none";
  $("golden").hidden = !isAsked;
  const isTold = isAsked && state.state !== "valid";
  $("golden-bar").hidden = !isTold;
  $("golden-bar").dataset.state = isBad() ? "bad" : "asked";
  if (isTold) setText("golden-line", line());
  if ($("golden-dialog").open) show();
}

const isBad = () => state.state === "failed" || state.state === "overdue";

function line() {
  const left = state.due_s === null ? "" : `, ${time(state.due_s)} left`;
  return `${LINES[state.state]}${left}${state.blocking ? ": parts are not judged" : ""}`;
}

const time = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)} s` : seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);

export function setUpGolden() {
  for (const id of ["golden", "golden-open"]) $(id).addEventListener("click", open);
  $("golden-close").addEventListener("click", () => $("golden-dialog").close());
  $("golden-begin").addEventListener("click", () => ask("begin"));
  $("golden-sign").addEventListener("click", () => ask("sign"));
  $("golden-waive").addEventListener("click", () => ask("waive", { why: $("golden-why").value.trim() }));
}

function open() {
  if (state === null) return;
  $("golden-by").value = myName();
  $("golden-wrong").textContent = "";
  $("golden-dialog").showModal();
  shown = "";
  show();
}

function show() {
  const now = JSON.stringify([state.state, state.next, state.parts]);
  $("golden-state").textContent = state.state === "valid" ? `Passed; the next one is due in ${time(state.due_s)}.` : `${line()}.`;
  if (now === shown) return;
  shown = now;
  $("golden-how").textContent = how();
  $("golden-parts").replaceChildren(...state.parts.map(row));
  const isOpen = state.state !== "valid";
  $("golden-begin").hidden = state.identify === "barcode";
  $("golden-begin").textContent = state.state === "under way" ? "Begin again" : "Begin";
  $("golden-sign").hidden = state.state !== "unsigned";
  $("golden-waiving").hidden = !isOpen;
}

function how() {
  if (state.identify === "barcode") return "Show each master part; it is known by its code.";
  if (state.identify === "order") return "Press Begin, then show the master parts in this order.";
  return "Press Begin. Put a master part in place and press Next at it: the next verdict counts for it.";
}

function row(part) {
  const said = part.verdict === null ? "–" : part.verdict;
  const item = element("li", {}, element("b", {}, part.id), element("span", { className: "muted" }, part.note), element("span", {}, `must be ${part.expect}`), element("strong", {}, said));
  item.dataset.state = part.right === null ? "" : part.right ? "ok" : "ng";
  if (state.next === part.id) item.dataset.next = "true";
  if (state.identify === "operator" && state.state === "under way") {
    const button = element("button", { type: "button", className: "small operator" }, state.next === part.id ? "Show it now" : "Next");
    button.addEventListener("click", () => ask("part", { part: part.id }));
    item.append(button);
  }
  return item;
}

async function ask(what, more = {}) {
  const by = $("golden-by").value.trim();
  try {
    $("golden-wrong").textContent = "";
    await post(`/api/golden/${what}`, { by, ...more });
    rememberName(by);
    state = await get("/api/golden");
    show();
  } catch (error) {
    $("golden-wrong").textContent = error.message;
  }
}
