// Keeps the page as the server has it. In this order: what the server says, how the list renews,
// the history (below the heading “What happened”), a press of a button, and what each second does.
"use strict";

const MOST = 20; // lines of the history
const AUDIO = { playing: "is playing", over: "is over", stopped: "has stopped" };
const part = (id) => document.getElementById(id);
const home = part("home").getAttribute("href");
let listedAt = part("main").dataset.now; // when the list was made, by the server's clock
let told = new Map(); // the callers as the history has them, by the id of their row
let unreached = []; // ids of the callers whom the last press did not reach
let pressesWaiting = 0; // for their answer
let requests = 0; // so far: a request's number is its place among them
let shown = 0; // the number of the request whose answer the page shows
let isRefused = false;

/** A time, in ISO 8601, as HH:MM:SS in the browser's zone. */
function clock(at) {
  return new Date(at).toTimeString().slice(0, 8);
}

function showLocalTimes(page) {
  for (const time of page.querySelectorAll("time")) time.textContent = clock(time.dateTime);
}

// What the server says

/** An address of this server, without the user and password that the page was opened with. */
function addressOf(path) {
  return new URL(path, location.origin);
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

/** Ask for a page; gives its number, its lines, and the page itself if there is a list in it. */
async function ask(path, request) {
  const at = new Date().toISOString();
  requests += 1;
  const number = requests;
  const response = await load(path, request);
  if (response === null) {
    const line = { at, text: "The server cannot be reached.", bad: true };
    return { number, lines: [line], fresh: null };
  }
  isRefused = response.status === 401 || response.status === 403;
  const fresh = new DOMParser().parseFromString(response.text, "text/html");
  showLocalTimes(fresh);
  const lines = lineElements(fresh).map(readLine);
  if (fresh.getElementById("now")) return { number, lines, fresh };
  if (lines.length === 0) {
    lines.push({ at, text: `The server answered ${response.status}.`, bad: true });
  }
  return { number, lines, fresh: null };
}

// How the list renews

/** Show who is on the line by a fresh page, which may be the answer to a press. */
function show(fresh, isAnswer) {
  const before = readCallers(document);
  const after = readCallers(fresh);
  if (isAnswer) unreached = markedRows(fresh);
  else keepMarks(fresh, before, after);
  renewInPlace(fresh);
  if ((before.size === 0) !== (after.size === 0)) part("steps").open = after.size === 0;
  listedAt = fresh.getElementById("main").dataset.now;
  part("icon").href = fresh.getElementById("icon").getAttribute("href");
  document.title = fresh.title;
  if (isAnswer) putOffAudio(after);
  tellChanges(after, isAnswer || pressesWaiting > 0);
  keepHistory();
}

/** Renew what may differ; what is under the pointer, or else has focus, stays in its place. */
function renewInPlace(fresh) {
  const pointed = document.querySelector(":is(a, button, input):hover");
  const held = pointed ?? document.activeElement;
  const { top } = held.getBoundingClientRect();
  if (!pointed) document.querySelector("#said.past")?.remove();
  for (const id of ["now", "setup", "steps-list"]) renew(part(id), fresh.getElementById(id));
  if (held.isConnected) scrollBy(0, held.getBoundingClientRect().top - top);
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

// The history: lines of {at, text, bad}, the newest first. Below `news`, which is read out when it
// changes, `before` has what a reload has restored.

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

function addLines(lines) {
  part("news").prepend(...lines.map(createLine));
}

/** Add lines for who came, who left, and what became of their audio, since it was last told. */
function tellChanges(callers, isOurPress) {
  const lines = [];
  for (const [id, { name }] of told) {
    if (!callers.has(id)) lines.push({ at: listedAt, text: `${name} left`, bad: false });
  }
  for (const [id, { name, joined }] of callers) {
    if (!told.has(id)) lines.push({ at: joined, text: `${name} joined`, bad: false });
  }
  const groups = new Map(); // callers whose audio has changed, by what is known of it now
  for (const [id, caller] of callers) {
    if (!isNew(caller, told.get(id))) continue;
    if (isOurPress && isFromPress(caller.audio)) continue; // the answer says it
    groups.set(caller.audio, [...(groups.get(caller.audio) ?? []), caller]);
  }
  for (const [audio, group] of groups) {
    const at = group.map((caller) => caller.audioAt).sort().pop();
    lines.push({ at, text: inWords(audio, group), bad: audio.startsWith("could not") });
  }
  addLines(lines.sort((one, other) => one.at.localeCompare(other.at)).reverse());
  told = callers;
}

/** Leave what Vonage says of the audio to the next renewal, which finds it said of more callers. */
function putOffAudio(callers) {
  for (const [id, caller] of callers) {
    if (!told.has(id) || isFromPress(caller.audio)) continue;
    caller.audio = told.get(id).audio;
    caller.audioAt = told.get(id).audioAt;
  }
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

/** Forget all but the newest lines, and let a reload find the rest. */
function keepHistory() {
  for (const line of lineElements(document).slice(MOST)) line.remove();
  keepNewestInView();
  const lines = lineElements(document).map(readLine);
  try {
    sessionStorage.setItem(home, JSON.stringify({ lines, told: [...told] }));
  } catch {
    // A browser that blocks cookies has no such storage: then a reload forgets.
  }
}

/** Show the lines from before a reload, and take up from there. */
function restoreHistory() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(home));
    part("before").replaceChildren(...kept.lines.map(createLine));
    told = new Map(kept.told);
  } catch {
    told = readCallers(document); // nothing is kept
  }
}

/** Say how many pixels of the history may be below the window: all but what happened last. */
function keepNewestInView() {
  const section = part("history");
  const { top, bottom } = section.getBoundingClientRect();
  const news = [...document.querySelectorAll("#news p")];
  let height = 0;
  for (const line of news) {
    if (readLine(line).at < readLine(news[0]).at) break;
    height = line.getBoundingClientRect().bottom - top + 4;
  }
  height = Math.min(height, innerHeight * 0.4);
  section.style.setProperty("--below", `${bottom - top - height}px`);
}

// A press of a button

/** Do what a button says, and put what came of it where “Asking Vonage …” stood. */
async function press(event) {
  event.preventDefault();
  const path = event.submitter.getAttribute("formaction");
  const body = new URLSearchParams(new FormData(event.target));
  const waiting = createLine({ at: new Date().toISOString(), text: "Asking Vonage …", bad: false });
  waiting.className = "asking";
  movePastAnswer();
  part("news").prepend(waiting);
  keepNewestInView();
  pressesWaiting += 1;
  const { lines, fresh } = await ask(path, { method: "POST", body });
  pressesWaiting -= 1;
  waiting.replaceWith(...lines.map(createLine)); // below what Vonage has said since of its music
  if (fresh) {
    shown = requests; // what was asked before a press was answered is older than its answer
    show(fresh, true);
  }
  if (isRefused) showTrouble(lines, fresh);
  keepHistory();
}

/** Move the error that the page was opened with into the history, but keep its place empty. */
function movePastAnswer() {
  addLines([...document.querySelectorAll("#said:not(.past) p")].map(readLine));
  part("said")?.classList.add("past");
}

// Each second

/** Ask for the page, and show what is new. */
async function refresh() {
  const { number, lines, fresh } = await ask(home, { signal: AbortSignal.timeout(5000) });
  if (!part("now")) { // the list was unavailable when this page was opened
    if (fresh) location.replace(home);
    return;
  }
  if (fresh && number > shown) { // answers may overtake each other
    shown = number;
    show(fresh, false);
  }
  showTrouble(lines, fresh);
}

/** Do so each second; a page that is refused asks no more. */
async function keepFresh() {
  if (isRefused) return;
  await refresh();
  setTimeout(keepFresh, 1000);
}

/** Say above the list that it is old, and what to do. */
function showTrouble(lines, fresh) {
  let trouble = "";
  if (fresh === null) {
    trouble = `${lines.map(({ text }) => text).join(" ")} This list is of ${clock(listedAt)}.`;
  }
  if (isRefused) trouble += " Reload this page, with the password if asked.";
  // A live region is read out whenever it is written to.
  if (part("trouble").textContent !== trouble) part("trouble").textContent = trouble;
}

// As the page opens

showLocalTimes(document);
// At /stream a reload would play again. This keeps the user and password of the address.
history.replaceState(null, "", home);
if (part("now")) {
  const isAnswer = lineElements(document).length > 0;
  unreached = markedRows(document);
  restoreHistory();
  tellChanges(readCallers(document), isAnswer);
  keepHistory();
  document.addEventListener("submit", press);
  addEventListener("resize", keepNewestInView);
}
setTimeout(keepFresh, 1000);
