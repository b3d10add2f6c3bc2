// Keeps the page fresh: asks for it every second, and touches only what differs.
"use strict";

const part = (id) => document.getElementById(id);
const clock = () => new Date().toLocaleTimeString();
let seen = clock();

/**
 * Make a part of the page like its fresh version. Where its parts have ids it is gone through,
 * else it is swapped whole; what is the same is not touched, so that focus and scroll stay.
 */
function renew(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (!fresh.querySelector(":scope > [id]")) {
    const focused = old === document.activeElement;
    old.replaceWith(fresh);
    if (focused) fresh.focus({ preventScroll: true });
    return;
  }
  const staying = new Set([...fresh.children].map((child) => child.id));
  for (const child of [...old.children]) if (!staying.has(child.id)) child.remove();
  let at = old.firstElementChild;
  for (const child of [...fresh.children]) {
    if (at?.id === child.id) {
      const next = at.nextElementSibling;
      renew(at, child);
      at = next;
    } else {
      old.insertBefore(child, at);
    }
  }
}

/** Write to a live region, which is read out whenever it changes. */
function say(id, text) {
  if (part(id).textContent !== text) part(id).textContent = text;
}

function names() {
  const callers = [...document.querySelectorAll("li[id]")];
  return new Map(callers.map((li) => [li.id, li.querySelector("bdi").textContent]));
}

/** Show who is on the line now, and say who came and who left. */
function show(fresh) {
  if (!part("now")) return location.replace("/"); // the list was unavailable, and is back
  const before = names();
  const held = document.querySelector("button:hover") ?? document.activeElement;
  const { top } = held.getBoundingClientRect();
  renew(part("icon"), fresh.getElementById("icon"));
  renew(part("now"), fresh.getElementById("now"));
  if (held.isConnected) scrollBy(0, held.getBoundingClientRect().top - top); // it stays in its place
  document.title = fresh.title;
  seen = clock();
  const after = names();
  const came = [...after].filter(([id]) => !before.has(id));
  const left = [...before].filter(([id]) => !after.has(id));
  const news = [
    ...came.map(([, name]) => `${name} is on the line.`),
    ...left.map(([, name]) => `${name} has left.`),
  ];
  if (news.length) say("news", news.join(" "));
}

/** Ask the server for a page and show its list; gives what it says, and whether it has a list. */
async function load(address, request) {
  const said = document.createElement("p");
  said.className = "error";
  said.textContent = "The server cannot be reached.";
  try {
    const headers = { Accept: "text/html" };
    const response = await fetch(address, { ...request, headers, cache: "no-store" });
    said.textContent = `The server answered ${response.status}.`;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const isFresh = Boolean(fresh.getElementById("now"));
    if (isFresh) show(fresh);
    return { said: [...(fresh.getElementById("said")?.childNodes ?? [said])], isFresh };
  } catch {
    return { said: [said], isFresh: false }; // the network's own words differ, and help no one
  }
}

document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const address = new URL(event.submitter.formAction);
  const { method } = event.target;
  if (method === "get") address.search = new URLSearchParams(new FormData(event.target));
  say("said", "Asking Vonage …");
  const { said } = await load(address, { method });
  part("said").replaceChildren(...said);
});

async function keepFresh() {
  const { said, isFresh } = await load("/", { signal: AbortSignal.timeout(5000) });
  const trouble = said.map((one) => one.textContent).join(" ");
  if (part("now")) say("stale", isFresh ? "" : `${trouble} This list is of ${seen}.`);
  setTimeout(keepFresh, 1000);
}
setTimeout(keepFresh, 1000);
