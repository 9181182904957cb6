// The two feeds of the stream: its state, and the pictures. Both pause while the page is hidden.

import { mustLogIn, picture } from "./ask.js";

const RETRY_MS = 2000;
const SILENT_MS = 3000;

// Calls onState with every state, and onSilence with a reason when there is none for three seconds.
export function followState(onState, onSilence) {
  let source = null;
  let heardAt = performance.now();

  function open() {
    source?.close();
    source = new EventSource("/api/live");
    source.onmessage = (event) => {
      heardAt = performance.now();
      onState(JSON.parse(event.data));
    };
    source.onerror = () => {
      source.close(); // it would reconnect by itself, but without giving a reason
      explain();
    };
  }

  async function explain() {
    try {
      const response = await fetch("/api/events");
      if (mustLogIn(response)) location.assign("/login");
      else onSilence(response.ok ? "Too many viewers" : "No connection");
    } catch {
      onSilence("No connection");
    }
    setTimeout(() => document.hidden || open(), RETRY_MS);
  }

  setInterval(() => {
    if (!document.hidden && performance.now() - heardAt > SILENT_MS) onSilence("No connection");
  }, 500);
  document.addEventListener("visibilitychange", () => {
    heardAt = performance.now();
    if (document.hidden) source?.close();
    else open();
  });
  open();
}

// Draws the newest picture of the view that view() names; one request at a time, so that none queues up.
export async function followPictures(canvas, view, onPicture) {
  let shown = { key: "", serial: 0 };
  for (;;) {
    await isVisible();
    const key = view();
    if (key !== shown.key) shown = { key, serial: 0 };
    try {
      const found = await picture(`/api/picture?${key}&after=${shown.serial}`, AbortSignal.timeout(15000));
      if (found !== null && key === view()) {
        shown.serial = found.serial;
        await draw(canvas, found.blob);
        onPicture();
      }
    } catch {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

async function draw(canvas, blob) {
  const bitmap = await createImageBitmap(blob);
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}

function isVisible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}
