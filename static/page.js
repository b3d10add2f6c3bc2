// Keeps the page fresh: asks for it every second, and touches only what differs.
"use strict";

const form = document.querySelector("form");
const headers = { Accept: "text/html" };
if (form.elements.token) headers.Authorization = `Bearer ${form.elements.token.value}`;

const part = (id) => document.getElementById(id);

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
  const callers = [...document.querySelectorAll("#callers > li")];
  return new Map(callers.map((li) => [li.id, li.querySelector("bdi").textContent]));
}

/** Show the fresh page, but for what just happened, and say who came and who left. */
function show(fresh) {
  const before = names();
  renew(part("icon"), fresh.getElementById("icon"));
  renew(part("now"), fresh.getElementById("now"));
  document.title = fresh.title;
  const after = names();
  const came = [...after].filter(([id]) => !before.has(id));
  const left = [...before].filter(([id]) => !after.has(id));
  const news = [
    ...came.map(([, name]) => `${name} is on the line.`),
    ...left.map(([, name]) => `${name} has left.`),
  ];
  if (news.length) say("arrivals", news.join(" "));
}

/** Ask the server for the page and show it; gives the fresh page if there is one. */
async function load(address, request) {
  let trouble = "The server cannot be reached";
  try {
    const response = await fetch(address, { ...request, headers, cache: "no-store" });
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    if (fresh.getElementById("now")) {
      show(fresh);
      say("stale", "");
      return fresh;
    }
    trouble = `The server answers ${response.status}`;
  } catch {
    // The network's own words differ from browser to browser, and help nobody.
  }
  say("stale", `${trouble}: this is what was last seen.`);
  return null;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = new URLSearchParams(new FormData(form));
  const button = event.submitter;
  if (button.name) body.set(button.name, button.value);
  say("happened", "Asking Vonage …");
  const fresh = await load(button.formAction, { method: "POST", body });
  part("happened").replaceChildren(...(fresh ? fresh.getElementById("happened").childNodes : []));
});

async function keepFresh() {
  await load("/", { signal: AbortSignal.timeout(5000) });
  setTimeout(keepFresh, 1000);
}
setTimeout(keepFresh, 1000);
