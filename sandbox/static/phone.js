// Dials, and plays what is heard: the server says what, in events of one request a call.
"use strict";

const part = (id) => document.getElementById(id);
const audio = part("audio");
const keys = [...part("keys").children];
// Chromium plays nothing in a hidden tab where nothing has played yet: this plays as you dial.
const SILENCE = "data:audio/wav;base64,UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA==";

let call = null; // the events of the call, while there is one
let gain = null; // how loud: an element's own volume stops at 1
let left = 0; // how often the audio plays again, after this time
let turn = 0; // counts what is heard, so that what comes late is not played
let barges = false; // whether a key ends what is being said

function tell(line) {
  const item = document.createElement("li");
  item.textContent = line;
  part("story").append(item);
  item.scrollIntoView({ block: "nearest" });
}

function ask(what, body) {
  return fetch(`/calls/${call.uuid}/${what}`, { method: "POST", body }).catch(() => {});
}

function silence() {
  turn += 1;
  audio.pause();
  window.speechSynthesis?.cancel();
}

/** Play what the server has fetched: so many times, 0 for ever; -1 is silent, 1 twice as loud. */
async function play(times, level) {
  silence();
  const mine = turn;
  // As a blob: an element that loads from the server keeps one of the six connections to it.
  const response = await fetch(`/calls/${call.uuid}/audio`);
  const url = URL.createObjectURL(await response.blob());
  if (mine !== turn) return;
  URL.revokeObjectURL(audio.src);
  audio.src = url;
  audio.loop = times === 0;
  left = times - 1;
  gain.gain.value = 1 + level;
  await audio.play();
}

/** Speak, where the browser can, and tell the server when that is done. */
function say(text, level, lines) {
  silence();
  let done = () => {
    done = () => {};
    ask("spoken", String(lines));
  };
  const words = new SpeechSynthesisUtterance(text.replace(/<[^<>]*>/g, ""));
  words.volume = Math.min(1, 1 + level);
  words.onend = words.onerror = () => done(); // without voices, an error at once
  setTimeout(() => done(), 2000 + 100 * text.length); // a browser may forget to say either
  window.speechSynthesis.speak(words);
}

function hear(heard) {
  if (heard.uuid) {
    call.uuid = heard.uuid;
    part("number").textContent = heard.number;
  }
  if (heard.line) tell(heard.line);
  barges = heard.say ? heard.barges : barges;
  if (heard.stop) silence();
  // pause() makes a play() under way fail with an AbortError, which says nothing.
  if ("play" in heard) play(heard.play, heard.level).catch((e) => e.name === "AbortError" || tell(String(e)));
  if ("say" in heard) say(heard.say, heard.level, heard.lines);
  if (heard.over) end();
}

function end() {
  silence();
  call?.close(); // or else it would dial again
  call = null;
  show();
}

function show() {
  part("dial").disabled = call !== null;
  for (const button of [part("hang-up"), ...keys]) button.disabled = call === null;
}

part("dial").addEventListener("click", () => {
  if (!gain) {
    const context = new AudioContext();
    gain = context.createGain();
    context.createMediaElementSource(audio).connect(gain).connect(context.destination);
  }
  gain.context.resume();
  audio.src = SILENCE;
  audio.play().catch(() => {});
  part("story").replaceChildren();
  call = new EventSource("/dial");
  call.onmessage = (event) => hear(JSON.parse(event.data));
  call.onerror = () => {
    tell("The sandbox has ended.");
    end();
  };
  show();
  part("hang-up").focus();
});
part("hang-up").addEventListener("click", () => ask("hang-up"));
for (const key of keys) {
  key.addEventListener("click", () => {
    if (barges) window.speechSynthesis?.cancel();
    ask("press", key.textContent);
  });
}
audio.addEventListener("ended", () => {
  if (left > 0) audio.play().catch(() => {});
  left -= 1;
});
