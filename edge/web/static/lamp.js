"use strict";

// Every ten seconds, in the visible tab; what is older than a minute is not shown as if it were so now.
const EVERY_SECONDS = 10;
const OLD_SECONDS = 60;
let at = Number(document.body.dataset.at);
let heard = performance.now();

const put = (id, text) => {
  const place = document.getElementById(id);
  if (place.textContent !== text) place.textContent = text;
};

function age() {
  const seconds = Math.round((performance.now() - heard) / 1000);
  if (seconds >= OLD_SECONDS) {
    document.body.dataset.lamp = "silent";
    put("word", "No news");
  }
  const since = new Date(at * 1000).toLocaleTimeString();
  put("age", seconds < 2 * EVERY_SECONDS ? `As of ${since}` : `No news since ${since}`);
}

async function look() {
  if (document.visibilityState !== "visible") return;
  try {
    const answer = await fetch("/lamp/state", { signal: AbortSignal.timeout(8000) });
    if (!answer.ok) throw new Error(answer.statusText);
    const shown = await answer.json();
    document.body.dataset.lamp = shown.lamp;
    document.title = `Outpost: ${shown.word}`;
    for (const id of ["word", "sentence", "more", "site"]) put(id, shown[id]);
    at = shown.at;
    heard = performance.now();
  } catch {
    // Said by its age.
  }
  age();
}

age();
setInterval(look, EVERY_SECONDS * 1000);
document.addEventListener("visibilitychange", look);
