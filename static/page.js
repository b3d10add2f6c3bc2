// Keeps the page as the server has it: asks for it each second, and shows what is new.
"use strict";

const EVERY = 1000; // milliseconds from one answer to the next request
const PATIENCE = 5000; // for a renewal
const PRESS_PATIENCE = 20000; // the server itself answers within 15 seconds
const NO_ANSWER = '<p class="bad" role="alert">The server did not answer.</p>';
const part = (id) => document.getElementById(id);
const clock = (at) => new Date(at).toTimeString().slice(0, 8); // in the browser's zone
const home = part("home").getAttribute("href");
let last; // the page that the server sent last, to see what is new in the next
let isRefused = false;

function writeLocalTimes(page) {
  for (const time of page.querySelectorAll("time")) time.textContent = clock(time.dateTime);
}

/** Request a page of this server; null if the network fails or takes too long. */
async function ask(path, patience, request) {
  const url = new URL(path, location.origin); // without user and password
  const headers = { Accept: "text/html", "X-Page-Script": "1" };
  const signal = AbortSignal.timeout(patience);
  try {
    const response = await fetch(url, { ...request, headers, signal });
    isRefused = response.status === 401 || response.status === 403;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    writeLocalTimes(page);
    return page;
  } catch {
    return null;
  }
}

/** Show the page as it is now, or say why it cannot be shown. */
async function renew() {
  const page = await ask(home, PATIENCE);
  if (!page?.getElementById("main")) setTrouble(explain(page));
  else if (part("main")) show(page, false);
  else location.replace(home); // the list was unavailable when this page was opened
}

/** Show a page, unless a newer one is shown (or the server's clock was set back). */
function show(page, isAnswer) {
  const fresh = page.getElementById("main");
  const age = new Date(part("main").dataset.now) - new Date(fresh.dataset.now); // milliseconds
  if (age > 0 && age < 60000) return;
  setTrouble("");
  // What was wrong with the address of the last press stays until the next.
  const hint = part("hint");
  if (hint && !isAnswer) page.getElementById("hint")?.replaceWith(hint.cloneNode(true));
  keepInPlace(() => Idiomorph.morph(part("main"), fresh.cloneNode(true), {
    callbacks: {
      beforeNodeMorphed: (_, node) => !isAsBefore(node),
      beforeAttributeUpdated: (name) => name !== "value", // what is typed is the visitor's
    },
  }));
  last = page;
  document.title = page.title;
  part("icon").href = page.getElementById("icon").getAttribute("href");
}

/** Whether a part is as the server sent it last: visitor or browser may have changed it. */
function isAsBefore(node) {
  return node.id && last.getElementById(node.id)?.isEqualNode(node);
}

/** Change the page; what is under the pointer, or else has focus, stays in its place. */
function keepInPlace(change) {
  const held = document.querySelector(":is(a, button, input):hover") ?? document.activeElement;
  const { top } = held.getBoundingClientRect();
  change();
  if (held.isConnected) scrollBy(0, held.getBoundingClientRect().top - top);
}

/** Say why the list is old, by the server's own words where it has answered. */
function explain(page) {
  let text = "The server cannot be reached.";
  if (page) text = page.getElementById("answer")?.textContent ?? "Something else answered.";
  if (isRefused) text += " Reload this page, with the password if asked.";
  else text += " Trying again each second. If this lasts, reload.";
  if (part("main")) text += ` This list is of ${clock(part("main").dataset.now)}.`;
  return text;
}

/** Show a text above the list and turn its buttons off; "" undoes both. */
function setTrouble(text) {
  if (part("trouble").textContent === text) return; // a live region is read out when written to
  part("trouble").textContent = text;
  for (const button of document.querySelectorAll("button")) button.ariaDisabled = text ? true : null;
}

const showAnswer = (html) => keepInPlace(() => (part("answer").innerHTML = html));

/** Do what a button says, and show the answer until the next press. */
async function press(event) {
  event.preventDefault();
  const button = event.submitter;
  if (button.ariaDisabled) return;
  const body = new URLSearchParams(new FormData(event.target));
  showAnswer("Asking Vonage …");
  const path = button.getAttribute("formaction");
  const page = await ask(path, PRESS_PATIENCE, { method: "POST", body });
  showAnswer(page?.getElementById("answer")?.innerHTML ?? NO_ANSWER);
  if (page?.getElementById("main")) show(page, true);
  // A caller's row says what became of its own buttons.
  if (!button.closest("li")) part("answer").scrollIntoView({ block: "nearest" });
}

async function keepFresh() {
  try {
    await renew();
  } finally {
    if (!isRefused) setTimeout(keepFresh, EVERY);
  }
}

writeLocalTimes(document);
last = document.cloneNode(true);
history.replaceState(null, "", home); // at /stream a reload would play again
document.addEventListener("submit", press);
setTimeout(keepFresh, EVERY);
