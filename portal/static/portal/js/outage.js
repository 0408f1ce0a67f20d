// Takes back what a page says of an outage once it is over, and shows a page that had nothing else to say anew.

const pause = 2_000; // ms to the next question: with the second after which the portal knows, well within 5 s
const patience = 4_000; // ms for an answer

const bar = document.getElementById("outage");
const waiting = document.querySelector("[data-waits-for]");
const address = (bar ?? waiting)?.dataset.status;
let wasMissing = false;

async function look() {
  if (document.visibilityState !== "visible") return;
  let now;
  try {
    const answer = await fetch(address, {
      cache: "no-store", headers: { Accept: "application/json" }, signal: AbortSignal.timeout(patience),
    });
    if (!answer.ok) return;
    now = await answer.json();
  } catch {
    return; // the portal itself does not answer: nothing new is known
  }
  if (bar) showWhetherItLasts(bar, now.state === "works");
  if (waiting) {
    const up = now.dependencies.find((dependency) => dependency.name === waiting.dataset.waitsFor)?.state === "up";
    if (up && (wasMissing || !cameAnewLately())) comeAnew();
    wasMissing = wasMissing || !up;
  }
}

// Where it is not this page that was seen to wait, it comes anew once in a while at most: what fails may be something else.
function cameAnewLately() {
  return Date.now() - Number(sessionStorage.getItem("came-anew")) < 60_000;
}

function comeAnew() {
  sessionStorage.setItem("came-anew", String(Date.now()));
  location.reload();
}

function showWhetherItLasts(bar, over) {
  const after = bar.querySelector(".outage__after");
  bar.querySelector(".outage__while").hidden = over;
  bar.classList.toggle("outage--over", over);
  if (over && after.hidden) {
    const link = document.createElement("a");
    link.href = location.href;
    link.textContent = "Reload this page";
    after.hidden = false;
    after.replaceChildren("Everything works again. ", link, " to see all of it.");
  } else if (!over) {
    after.hidden = true;
    after.replaceChildren();
  }
}

async function keepLooking() {
  for (;;) {
    await new Promise((done) => setTimeout(done, pause));
    await look();
  }
}

if (address) keepLooking();
