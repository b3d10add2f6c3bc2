// Dials, and plays what is heard: the server says what, in the events of one request a call.
"use strict";

const part = (id) => document.getElementById(id);
const audio = part("audio");
const keys = [...part("keys").children];
// Chromium plays nothing in a hidden tab where nothing has played yet: this plays as you dial.
const SILENCE = "data:audio/wav;base64,UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA==";

let call = null; // its events, while there is one
let gain = null; // how loud: an element's own volume stops at 1
let left = 0; // how often the audio plays again
let turn = 0; // what is heard now: whatever comes later than its turn is not played
let barges = false; // whether a key ends what is being said

function tell(line) {
  const item = document.createElement("li");
  item.textContent = line;
  part("story").append(item);
}

function ask(what, body) {
  return fetch(`/calls/${call.uuid}/${what}`, { method: "POST", body }).catch(() => {});
}

function show() {
  const focused = document.activeElement;
  part("dial").disabled = call !== null;
  for (const button of [part("hang-up"), ...keys]) button.disabled = call === null;
  if (focused.disabled) part(call ? "hang-up" : "dial").focus();
}

function silence() {
  turn += 1;
  audio.pause();
  window.speechSynthesis?.cancel();
}

/** Play what the server has fetched: so many times, 0 forever; -1 is silent, 1 twice as loud. */
async function play(times, level) {
  const mine = turn;
  // Into a blob: an element that loads from the server keeps one of the six connections to it.
  const response = await fetch(`/calls/${call.uuid}/audio`);
  const sound = await response.blob();
  if (mine !== turn) return;
  URL.revokeObjectURL(audio.src);
  audio.src = URL.createObjectURL(sound);
  audio.loop = times === 0;
  left = times - 1;
  gain.gain.value = 1 + level;
  await audio.play();
}

/** Speak, where the browser can, and tell the server when that is done. */
function say(text, level) {
  const mine = turn;
  const done = () => {
    if (mine !== turn) return;
    turn += 1;
    ask("spoken");
  };
  setTimeout(done, window.speechSynthesis ? 2000 + 100 * text.length : 0); // or if neither comes
  if (!window.speechSynthesis) return;
  const words = new SpeechSynthesisUtterance(text.replace(/<[^<>]*>/g, ""));
  words.volume = Math.min(1, 1 + level);
  words.onend = words.onerror = done; // an error at once where there are no voices
  window.speechSynthesis.speak(words);
}

function hear(heard) {
  call.uuid ??= heard.uuid;
  if (heard.number) part("number").textContent = heard.number;
  tell(heard.line);
  if (heard.stop || "play" in heard || "say" in heard) silence();
  barges = heard.barges;
  if ("say" in heard) say(heard.say, heard.level);
  // pause() makes a play() that is under way fail with an AbortError, which says nothing.
  if ("play" in heard) play(heard.play, heard.level).catch((e) => e.name === "AbortError" || tell(`${e}`));
  if (heard.over) end();
}

function end() {
  silence();
  call.close(); // or else it would dial again
  call = null;
  show();
}

part("dial").addEventListener("click", () => {
  if (!gain) {
    const context = new AudioContext();
    gain = context.createGain();
    context.createMediaElementSource(audio).connect(gain).connect(context.destination);
  }
  gain.context.resume();
  audio.loop = false;
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
});
part("hang-up").addEventListener("click", () => ask("hang-up"));
for (const key of keys) {
  key.addEventListener("click", () => {
    if (barges) silence();
    ask("press", key.textContent);
  });
}
audio.addEventListener("ended", () => {
  if (left > 0) audio.play().catch(() => {});
  left -= 1;
});
