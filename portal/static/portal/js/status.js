// Keeps the status page up to date while somebody can see it, and tries whether images load in this browser.

const pause = 2_000; // ms between an answer and the next question
const patience = 4_000; // ms for an answer

const board = document.getElementById("status-board");
const lost = document.getElementById("status-lost");
const change = document.getElementById("status-change");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const calendar = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
});

let shown = null;
let summary = board.querySelector("[data-summary]").dataset.summary;
let answeredAt = new Date();
let reads = "unknown";
let readsSince = "";

document.documentElement.classList.add("has-script");
keepDoing(refresh, pause);
keepDoing(tryImages, 0);

async function keepDoing(what, wait) {
  if (wait) await later(wait);
  for (;;) {
    await visible();
    await what();
    await later(pause);
  }
}

function later(wait) {
  return new Promise((done) => setTimeout(done, wait));
}

function visible() {
  if (document.visibilityState === "visible") return Promise.resolve();
  return new Promise((done) => document.addEventListener("visibilitychange", done, { once: true })).then(visible);
}

async function refresh() {
  let html;
  try {
    const answer = await fetch(board.dataset.address, { cache: "no-store", signal: AbortSignal.timeout(patience) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    html = await answer.text();
  } catch {
    if (lost.hidden) announce("This portal itself does not answer.");
    document.getElementById("status-last").textContent = clock.format(answeredAt);
    lost.hidden = false;
    return;
  }
  answeredAt = new Date();
  if (!lost.hidden) announce("This portal answers again.");
  lost.hidden = true;
  if (html === shown) return;
  shown = html;
  board.innerHTML = html;
  board.dispatchEvent(new CustomEvent("seawall:replaced", { bubbles: true }));
  showReads();
  const told = board.querySelector("[data-summary]").dataset.summary;
  if (told !== summary) announce(told);
  summary = told;
}

function tryImages() {
  return new Promise((done) => {
    const image = new Image();
    const finish = (found) => {
      clearTimeout(timer);
      image.onload = image.onerror = null;
      if (found !== reads) {
        const first = reads === "unknown";
        if (!first) announce(found === "works" ? "Images load again." : "Images do not load in your browser.");
        reads = found;
        readsSince = calendar.format(new Date()) + (first ? " or longer" : "");
        showReads();
      }
      done();
    };
    const timer = setTimeout(() => { finish("fails"); image.src = ""; }, patience);
    image.onload = () => finish("works");
    image.onerror = () => finish("fails");
    image.src = `${board.dataset.probe}?${Date.now()}`;
  });
}

function showReads() {
  for (const element of board.querySelectorAll("[data-reads]")) {
    element.hidden = !element.dataset.reads.split(" ").includes(reads);
  }
  for (const element of board.querySelectorAll("[data-reads-since]")) {
    element.textContent = readsSince;
  }
}

function announce(text) {
  change.textContent = text;
}
