// Keeps the page fresh, touching only what differs, and says what happened.
"use strict";

const MOST = 20; // lines of what happened
const AUDIO = { playing: "is playing", over: "is over", stopped: "has stopped" };
const part = (id) => document.getElementById(id);
const home = part("home").getAttribute("href");
let seen = part("main").dataset.now; // when the list was made, by the server's clock
let unreached = []; // ids of the callers whom the last press did not reach
let asking = 0; // presses that wait for their answer
let asked = 0; // requests so far, which are numbered
let newest = 0; // the last of them that the page shows
let isRefused = false;

/** An address of this server, without the user and password that the page was opened with. */
function addressOf(path) {
  return new URL(path, location.origin);
}

/** A time, in ISO 8601, as HH:MM:SS in the browser's zone. */
function clock(at) {
  return new Date(at).toTimeString().slice(0, 8);
}

function showLocalTimes(page) {
  for (const time of page.querySelectorAll("time")) time.textContent = clock(time.dateTime);
}

/** Make an element of the page like its fresh version; what is the same is not touched. */
function renew(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
  if (fresh.querySelector(":scope > [id]")) {
    renewChildren(old, fresh);
  } else {
    old.replaceChildren(...fresh.childNodes);
  }
}

/** The same for its children, which have ids: those that stay keep focus and scroll. */
function renewChildren(old, fresh) {
  const staying = new Set([...fresh.children].map((child) => child.id));
  for (const child of [...old.children]) {
    if (!staying.has(child.id)) child.remove();
  }
  let at = old.firstElementChild;
  for (const child of [...fresh.children]) {
    if (at?.id === child.id) {
      renew(at, child);
      at = at.nextElementSibling;
    } else {
      old.insertBefore(child, at);
    }
  }
  while (at) {
    const next = at.nextElementSibling;
    at.remove();
    at = next;
  }
}

// What happened: lines of {at, text, bad}, the newest first. Below `news`, which is read out when
// it changes, `before` has what a reload has restored.

function lineElements(page) {
  return [...page.querySelectorAll("#said:not(.past) p, #news p:not(.asking), #before p")];
}

function readLine(element) {
  return {
    at: element.querySelector("time").dateTime,
    text: element.querySelector("span").textContent,
    bad: element.classList.contains("bad"),
  };
}

function createLine({ at, text, bad }) {
  const time = document.createElement("time");
  time.dateTime = at;
  time.textContent = clock(at);
  const words = document.createElement("span");
  words.textContent = text;
  const line = document.createElement("p");
  line.append(time, " ", words);
  line.classList.toggle("bad", bad);
  return line;
}

/** Who is on the line, by the id of their row. */
function readCallers(page) {
  const callers = new Map();
  for (const row of page.querySelectorAll("#callers li")) {
    callers.set(row.id, {
      name: row.dataset.name,
      joined: row.querySelector(".since time").dateTime,
      audio: row.dataset.audio,
      audioAt: row.dataset.audioAt,
    });
  }
  return callers;
}

/** Forget all but the newest lines, and let a reload find the rest. */
function keepLines() {
  for (const line of lineElements(document).slice(MOST)) line.remove();
  measureLines();
  const lines = lineElements(document).map(readLine);
  const callers = [...readCallers(document)];
  try {
    sessionStorage.setItem(home, JSON.stringify({ lines, callers }));
  } catch {
    // A browser that blocks cookies has no such storage: then a reload forgets.
  }
}

/** Say how many pixels of what happened may be below the window: all but what happened last. */
function measureLines() {
  const happened = part("history");
  const { top, bottom } = happened.getBoundingClientRect();
  const news = [...document.querySelectorAll("#news p")];
  let shown = 0;
  for (const line of news) {
    if (readLine(line).at !== readLine(news[0]).at) break;
    shown = line.getBoundingClientRect().bottom - top + 4;
  }
  shown = Math.min(shown, innerHeight * 0.4);
  happened.style.setProperty("--below", `${bottom - top - shown}px`);
}

/** Show the lines from before a reload; gives who was on the line then, or else is now. */
function restoreLines() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(home));
    part("before").replaceChildren(...kept.lines.map(createLine));
    return new Map(kept.callers);
  } catch {
    return readCallers(document); // nothing is kept
  }
}

/** Add lines for who came, who left, and what became of their audio. */
function compareCallers(before, after, isOurPress) {
  const lines = [];
  for (const [id, { name }] of before) {
    if (!after.has(id)) lines.push({ at: seen, text: `${name} left`, bad: false });
  }
  for (const [id, { name, joined }] of after) {
    if (!before.has(id)) lines.push({ at: joined, text: `${name} joined`, bad: false });
  }
  const groups = new Map(); // callers whose audio has changed, by what is known of it now
  for (const [id, caller] of after) {
    if (!isNew(caller, before.get(id))) continue;
    if (isOurPress && isFromPress(caller.audio)) continue; // the answer says it
    groups.set(caller.audio, [...(groups.get(caller.audio) ?? []), caller]);
  }
  for (const [audio, callers] of groups) {
    const at = callers.map((caller) => caller.audioAt).sort().pop();
    lines.push({ at, text: inWords(audio, callers), bad: audio.startsWith("could not") });
  }
  lines.sort((one, other) => one.at.localeCompare(other.at));
  for (const line of lines) part("news").prepend(createLine(line));
}

/** Whether a note on audio says more than the last one: Vonage may send an event twice. */
function isNew(caller, before) {
  if (caller.audio === "") return false;
  if (caller.audio !== before?.audio) return true;
  return caller.audio.endsWith(" sent") && caller.audioAt !== before.audioAt;
}

/** Whether a note comes from pressing Play or Stop, here or elsewhere. */
function isFromPress(audio) {
  return audio.endsWith(" sent") || audio === "stopped";
}

function inWords(audio, callers) {
  let who = callers[0].name;
  let whose = `${who}'s`;
  if (callers.length > 1) {
    who = `${callers.length} callers`;
    whose = `${who}'`;
  }
  if (audio.endsWith(" sent")) return `${audio} to ${who}`;
  return `${whose} music ${AUDIO[audio] ?? audio}`;
}

/** The ids of the rows that an answer marks. */
function markedRows(page) {
  return [...page.querySelectorAll("li .mark")].map((mark) => mark.closest("li").id);
}

/** Mark the same rows in a page that comes from no press, but for those whose audio has changed. */
function keepMarks(fresh, before, after) {
  unreached = unreached.filter((id) => after.has(id) && !isNew(after.get(id), before.get(id)));
  for (const id of unreached) {
    const mark = document.createElement("p");
    mark.className = "mark bad";
    mark.textContent = "not reached";
    fresh.getElementById(id).querySelector(".audio").append(mark);
  }
}

/** Show who is on the line by a fresh page. */
function show(fresh, isAnswer) {
  if (!part("now")) return location.replace(home); // the list was unavailable, and is back
  const before = readCallers(document);
  const after = readCallers(fresh);
  seen = fresh.getElementById("main").dataset.now;
  if (isAnswer) unreached = markedRows(fresh);
  else keepMarks(fresh, before, after);
  const pointed = document.querySelector(":is(a, button, input):hover");
  const held = pointed ?? document.activeElement;
  const { top } = held.getBoundingClientRect();
  if (!pointed) document.querySelector("#said.past")?.remove();
  for (const id of ["now", "setup", "steps-list"]) renew(part(id), fresh.getElementById(id));
  if ((before.size === 0) !== (after.size === 0)) part("steps").open = after.size === 0;
  if (held.isConnected) scrollBy(0, held.getBoundingClientRect().top - top); // it stays in its place
  part("icon").href = fresh.getElementById("icon").getAttribute("href");
  document.title = fresh.title;
  compareCallers(before, after, isAnswer || asking > 0);
  keepLines();
}

/** Ask the server for a page; null if it cannot be reached, or says nothing for too long. */
async function load(path, request) {
  try {
    const headers = { Accept: "text/html" };
    const response = await fetch(addressOf(path), { ...request, headers, cache: "no-store" });
    return { status: response.status, text: await response.text() };
  } catch {
    return null; // the network's own words differ from browser to browser, and help no one
  }
}

/** Whether an answer is newer than what the page shows: answers may overtake each other. */
function isNewest(number, isAnswer) {
  if (isAnswer) {
    newest = asked; // what was asked before a press was answered is older than its answer
    return true;
  }
  if (number <= newest) return false;
  newest = number;
  return true;
}

/** Ask for a page and show its list; gives its lines, and whether it has a list. */
async function ask(path, request, isAnswer) {
  const at = new Date().toISOString();
  asked += 1;
  const number = asked;
  const response = await load(path, request);
  if (response === null) {
    return { lines: [{ at, text: "The server cannot be reached.", bad: true }], hasList: false };
  }
  isRefused = response.status === 401 || response.status === 403;
  const fresh = new DOMParser().parseFromString(response.text, "text/html");
  showLocalTimes(fresh);
  const hasList = fresh.getElementById("now") !== null;
  if (hasList && isNewest(number, isAnswer)) show(fresh, isAnswer);
  const lines = lineElements(fresh).map(readLine);
  if (!hasList && lines.length === 0) {
    lines.push({ at, text: `The server answered ${response.status}.`, bad: true });
  }
  return { lines, hasList };
}

/** Say above all that this list is old, and what to do. */
function showTrouble(lines, hasList) {
  let trouble = "";
  if (!hasList) {
    trouble = `${lines.map(({ text }) => text).join(" ")} This list is of ${clock(seen)}.`;
  }
  if (isRefused) trouble += " Reload this page, with the password if asked.";
  // A live region is read out whenever it is written to.
  if (part("trouble").textContent !== trouble) part("trouble").textContent = trouble;
}

/** Take the error that the page was opened with out of sight, but not its place; gives its lines. */
function movePastAnswer() {
  const lines = [...document.querySelectorAll("#said:not(.past) p")].map(readLine);
  part("said")?.classList.add("past");
  return lines.map(createLine);
}

/** Do what a button says, and put what came of it on top of what happened. */
async function press(event) {
  event.preventDefault();
  const path = event.submitter.getAttribute("formaction");
  const body = new URLSearchParams(new FormData(event.target));
  const waiting = createLine({ at: new Date().toISOString(), text: "Asking Vonage …", bad: false });
  waiting.className = "asking";
  part("news").prepend(waiting, ...movePastAnswer());
  measureLines();
  asking += 1;
  const { lines, hasList } = await ask(path, { method: "POST", body }, true);
  asking -= 1;
  waiting.remove();
  part("news").prepend(...lines.map(createLine));
  if (isRefused) showTrouble(lines, hasList);
  keepLines();
}

/** Ask for the page, and show what is new. */
async function refresh() {
  const { lines, hasList } = await ask(home, { signal: AbortSignal.timeout(5000) }, false);
  if (part("now")) showTrouble(lines, hasList);
}

/** Do so each second; a page that is refused asks no more. */
async function keepFresh() {
  if (isRefused) return;
  await refresh();
  setTimeout(keepFresh, 1000);
}

showLocalTimes(document);
// At /stream a reload would play again. This keeps the user and password of the address.
history.replaceState(null, "", home);
if (part("now")) {
  const isAnswer = lineElements(document).length > 0;
  unreached = markedRows(document);
  compareCallers(restoreLines(), readCallers(document), isAnswer);
  keepLines();
  document.addEventListener("submit", press);
  addEventListener("resize", measureLines);
}
setTimeout(keepFresh, 1000);
