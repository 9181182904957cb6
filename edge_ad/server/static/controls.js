// Changes to the stream, each with a name and a confirmation; and the downloads.

import { get, post } from "./ask.js";
import { $, count, score } from "./format.js";
import { myName, rememberName } from "./name.js";

let state = null;
let isChecking = false;
let meantFor = ""; // content hash of the bundle that judged when the dialog was opened

const newValue = () => Number($("value").value.trim().replace(",", ".") || NaN);

export function updateControls(next) {
  state = next;
  const pause = $("pause");
  pause.setAttribute("aria-pressed", state.paused);
  pause.textContent = state.paused ? "Resume" : "Pause";
  $("logout").hidden = !state.login;
  $("kept").textContent = `${count(state.records)} are kept in memory.`;
}

export function setUpControls() {
  setUpPause();
  setUpThreshold();
  setUpDownload();
}

function setUpPause() {
  $("pause").addEventListener("click", () => {
    const verb = state?.paused ? "Resume" : "Pause";
    $("pause-title").textContent = `${verb} the inspection?`;
    $("pause-text").textContent = state?.paused ? "Parts are judged again from the next frame on." : "Parts pass unjudged until it is resumed.";
    $("pause-do").textContent = verb;
    $("pause-by").value = myName();
    $("pause-wrong").textContent = "";
    $("pause-dialog").showModal();
  });
  $("pause-cancel").addEventListener("click", () => $("pause-dialog").close());
  $("pause-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const verb = $("pause-do").textContent.toLowerCase();
    const by = $("pause-by").value.trim();
    attempt("pause-wrong", async () => {
      await post(`/api/${verb}`, { by });
      rememberName(by);
      $("pause-dialog").close();
    });
  });
}

function setUpThreshold() {
  let timer = 0;
  $("change").addEventListener("click", () => {
    if (state === null) return;
    $("value").value = Number.isFinite(state.threshold) ? score(state.threshold) : "";
    $("value-by").value = myName();
    meantFor = state.bundle.hash;
    $("old-value").textContent = score(state.threshold);
    $("own").textContent = score(state.bundle.threshold);
    $("own").disabled = !Number.isFinite(state.bundle.threshold);
    check(false);
    $("threshold-dialog").showModal();
    $("value").select();
    showEffect();
  });
  $("own").addEventListener("click", () => {
    $("value").value = String(state.bundle.threshold);
    showEffect();
  });
  $("value").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(showEffect, 250);
  });
  $("threshold-cancel").addEventListener("click", () => (isChecking ? check(false) : $("threshold-dialog").close()));
  $("threshold-form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt("threshold-wrong", isChecking ? change : review);
  });
}

async function review() {
  if (!Number.isFinite(newValue())) throw new Error("The threshold must be a number.");
  if (newValue() === state.threshold) throw new Error("That is the threshold already.");
  await showEffect();
  $("check-old").textContent = score(state.threshold);
  $("check-new").textContent = score(newValue());
  $("check-effect").textContent = $("effect").textContent;
  check(true);
}

async function change() {
  const by = $("value-by").value.trim();
  await post("/api/threshold", { value: newValue(), by, bundle: meantFor });
  rememberName(by);
  $("threshold-dialog").close();
}

function check(isNow) {
  isChecking = isNow;
  $("threshold-wrong").textContent = "";
  $("threshold-edit").hidden = isNow;
  $("threshold-check").hidden = !isNow;
  $("threshold-cancel").textContent = isNow ? "Back" : "Cancel";
  const next = $("threshold-next");
  next.textContent = isNow ? "Change it" : "Review";
  next.className = isNow ? "danger" : "primary";
  if (isNow) next.focus();
}

async function showEffect() {
  const value = newValue();
  if (!Number.isFinite(value)) {
    $("effect").textContent = "";
    return;
  }
  try {
    const found = await get(`/api/threshold/preview?value=${value}`);
    $("effect").textContent = `Of the newest ${count(found.frames)} frames, ${count(found.defective)} would be defective; with the present threshold ${count(found.defective_now)}.`;
  } catch (error) {
    $("effect").textContent = error.message;
  }
}

function setUpDownload() {
  const name = () => {
    $("as-csv").href = `/api/records.csv?newest=${$("newest").value}`;
    $("as-json").href = `/api/records.json?newest=${$("newest").value}`;
  };
  $("as-database").href = "/api/database.csv";
  $("newest").addEventListener("change", name);
  name();
  $("download").addEventListener("click", () => {
    $("as-database").hidden = !state?.database;
    $("download-dialog").showModal();
  });
  $("download-close").addEventListener("click", () => $("download-dialog").close());
}

async function attempt(place, action) {
  try {
    $(place).textContent = "";
    await action();
  } catch (error) {
    $(place).textContent = error.message;
  }
}
