// Keeps the page as the server has it: asks for it each second, and shows what is new.
"use strict";

const EVERY = 1000; // milliseconds from one answer to the next request
const PATIENCE = 5000; // for a renewal
const PRESS_PATIENCE = 20000; // the server itself gives Vonage 15 seconds
const part = (id) => document.getElementById(id);
const home = part("home").getAttribute("href");
let last; // the page that the server sent last, to see what is new in the next
let isRefused = false;

function localClock(at) {
  return new Date(at).toTimeString().slice(0, 8);
}

function writeLocalTimes(page) {
  for (const time of page.querySelectorAll("time")) time.textContent = localClock(time.dateTime);
}

/** Request a page of this server, without the user and password in this page's address. */
async function load(path, patience, request) {
  const response = await fetch(new URL(path, location.origin), {
    ...request,
    headers: { Accept: "text/html", "X-Page-Script": "1" },
    cache: "no-store",
    signal: AbortSignal.timeout(patience),
  });
  isRefused = response.status === 401 || response.status === 403;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  writeLocalTimes(page);
  return page;
}

/** Do so; null if the network fails, whose own words differ from browser to browser. */
async function ask(path, patience, request) {
  try {
    return await load(path, patience, request);
  } catch {
    return null;
  }
}

/** Show the page as it is now, or say why it cannot be shown. */
async function renew() {
  const page = await ask(home, PATIENCE);
  if (!page?.getElementById("main")) showTrouble(page);
  else if (part("main")) show(page, false);
  else location.replace(home); // the list was unavailable when this page was opened
}

/** Show a page, unless a newer one is shown (or the server's clock was set back). */
function show(page, isAnswer) {
  const fresh = page.getElementById("main");
  const age = new Date(part("main").dataset.now) - new Date(fresh.dataset.now); // milliseconds
  if (age > 0 && age < 60000) return;
  setTrouble("");
  const wasEmpty = part("callers") === null;
  keepInPlace(() => Idiomorph.morph(part("main"), fresh.cloneNode(true), {
    callbacks: {
      // What was wrong with the last press stays until the next.
      beforeNodeMorphed: (_, node) => isAnswer || (node.id !== "hint" && !isAsBefore(node)),
      // What is typed, and what is open, is the visitor's.
      beforeAttributeUpdated: (name) => name !== "value" && name !== "open",
    },
  }));
  last = page;
  const isEmpty = part("callers") === null;
  if (isEmpty !== wasEmpty) part("steps").open = isEmpty;
  document.title = page.title;
  part("icon").href = page.getElementById("icon").getAttribute("href");
}

/** Change the page; what is under the pointer, or else has focus, stays in its place. */
function keepInPlace(change) {
  const held = document.querySelector(":is(a, button, input):hover") ?? document.activeElement;
  const { top } = held.getBoundingClientRect();
  change();
  if (held.isConnected) scrollBy(0, held.getBoundingClientRect().top - top);
}

/** Whether a part is as the server sent it last: the browser may have translated it. */
function isAsBefore(node) {
  return node.id && node.id !== "main" && last.getElementById(node.id)?.isEqualNode(node);
}

/** Say why the list is old, by the server's own words where it has answered. */
function showTrouble(page) {
  let text = "The server cannot be reached.";
  if (page) text = page.querySelector("#answer p")?.textContent ?? "Something else answered.";
  if (isRefused) text += " Reload this page, with the password if asked.";
  else text += " Trying again each second. If this lasts, reload.";
  if (part("main")) text += ` This list is of ${localClock(part("main").dataset.now)}.`;
  setTrouble(text);
}

/** Show a text above the list, which is dimmed and its buttons off; or, without one, neither. */
function setTrouble(text) {
  if (part("trouble").textContent === text) return; // a live region is read out when written to
  part("trouble").replaceChildren(...(text ? [paragraph(text)] : []));
  document.body.classList.toggle("stale", text !== "");
  for (const button of document.querySelectorAll("button")) {
    if (text) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
  }
}

function paragraph(text) {
  const element = document.createElement("p");
  element.textContent = text;
  return element;
}

/** Do what a button says, and show the answer until the next press. */
async function press(event) {
  event.preventDefault();
  const button = event.submitter;
  if (button.hasAttribute("aria-disabled")) return;
  const body = new URLSearchParams(new FormData(event.target));
  showAnswer([paragraph("Asking Vonage …")]);
  const path = button.getAttribute("formaction");
  const page = await ask(path, PRESS_PATIENCE, { method: "POST", body });
  showAnswer(page?.getElementById("answer")?.children ?? []);
  if (page?.getElementById("main")) show(page, true);
  if (!page || isRefused) showTrouble(page);
  // A caller's row says what became of its own buttons.
  if (!button.closest("li")) part("answer").scrollIntoView({ block: "nearest" });
}

function showAnswer(elements) {
  keepInPlace(() => part("answer").replaceChildren(...elements));
}

async function keepFresh() {
  try {
    if (!isRefused) await renew();
  } finally {
    if (!isRefused) setTimeout(keepFresh, EVERY);
  }
}

writeLocalTimes(document);
last = document.cloneNode(true);
history.replaceState(null, "", home); // at /stream a reload would play again
document.addEventListener("submit", press);
setTimeout(keepFresh, EVERY);
