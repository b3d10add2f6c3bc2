// A phone. The server says what happens, in words (see Listener.happened): this shows the words,
// and plays what the caller hears.
"use strict";

const part = (id) => document.getElementById(id);
const audio = part("audio");
const keys = [...part("keys").children];
// Chromium plays nothing in a hidden tab where nothing has played yet: this plays as you dial.
const SILENCE = "data:audio/wav;base64,UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA==";
const VOICES_COME_WITHIN = 1000; // milliseconds: Chromium has none at first

/**
 * The call: `place` is where it is (idle, ringing, answered, waiting, conference, over, closed),
 * `since` when it came there, `heard` the talk or music that is heard, or null, and `left` how
 * often the music plays again. Times are in milliseconds.
 */
let call = { place: "idle", state: "Ready to dial", name: "Phone", heard: null };
let gain = null; // how loud: an element's own volume stops at 1

const isLive = () => !["idle", "over", "closed"].includes(call.place);

// On the page

/** Milliseconds as 0:07. */
function clock(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** Write to a part of the page, unless it says so already: a screen reader would read it again. */
function write(id, text) {
  if (part(id).textContent !== text) part(id).textContent = text;
}

/** Add a line to the story; the screen says the same. */
function tell(line, trouble = false) {
  const item = document.createElement("li");
  const time = document.createElement("span");
  time.textContent = clock(Date.now() - call.dialled);
  item.append(time, " ", line);
  part("story").append(item);
  write("line", line);
  part("line").classList.toggle("trouble", trouble);
}

function show() {
  const phone = part("phone");
  document.title = call.name;
  if (call.place !== "idle") document.title += ` ${call.state}`;
  write("title", call.number ?? "Your phone");
  write("state", call.state);
  phone.dataset.place = call.place;
  phone.toggleAttribute("data-voiceless", Boolean(call.heard?.voiceless));
  part("silence").hidden = Boolean(call.heard);
  part("empty").hidden = part("story").children.length > 0;
  const focused = document.activeElement;
  part("dial").disabled = isLive() || call.place === "closed";
  for (const button of [part("hang-up"), ...keys]) button.disabled = !isLive();
  if (focused.disabled && isLive()) part("hang-up").focus();
  if (focused.disabled && !isLive()) part("dial").focus();
  showTime();
}

/** Show how long the call is in its state, by the clock of the story, and how far the music is. */
function showTime() {
  const now = Date.now();
  if (isLive()) write("time", `since ${clock(call.since - call.dialled)}, now ${clock(now - call.dialled)}`);
  const music = call.heard;
  part("position").hidden = music?.sound !== "music" || music.seconds === 0;
  if (part("position").hidden) return;
  const length = 1000 * music.seconds;
  part("bar").max = length;
  part("bar").value = (now - music.since) % length;
  write("played", `${clock(part("bar").value)} of ${clock(1000 * Math.round(music.seconds))}`);
}

/** Open the keypad while a key does something, and close it again unless it was open before. */
function listen(listens) {
  const keypad = part("keypad");
  if (listens === Boolean(call.openedKeypad) || (listens && keypad.open)) return;
  call.openedKeypad = listens;
  if (!listens && keypad.contains(document.activeElement)) keypad.firstElementChild.focus();
  keypad.open = listens;
}

// What is heard

/** Hear this, or nothing, in place of what was heard: what comes late finds another here. */
function hear(sound) {
  if (call.heard) { // or else this would stop the silence that plays as you dial
    audio.pause();
    window.speechSynthesis?.cancel();
  }
  call.heard = sound;
  if (sound) sound.since = Date.now();
  if (sound?.sound === "talk") say(sound);
  if (sound?.sound === "music") play(sound).catch(() => failToPlay(sound));
}

/** Play what the server has fetched: so many times, 0 forever; level -1 is silent, 1 twice as loud. */
async function play(music) {
  // Into a blob: an element that loads from the server keeps one of the six connections to it.
  const response = await fetch(`/calls/${call.uuid}/audio`);
  const sound = await response.blob();
  if (call.heard !== music) return;
  URL.revokeObjectURL(audio.src);
  audio.src = URL.createObjectURL(sound);
  audio.loop = music.times === 0;
  call.left = music.times - 1;
  gain.gain.value = 1 + music.level;
  gain.context.resume(); // Safari interrupts it, as for another call
  await audio.play();
}

function failToPlay(music) {
  if (call.heard !== music) return;
  hear(null);
  tell("hears nothing: this browser could not play it", true);
  show();
}

async function say(talk) {
  if (!(await hasVoice())) return letRead(talk);
  if (call.heard !== talk) return;
  const words = new SpeechSynthesisUtterance(talk.text);
  words.volume = Math.min(1, 1 + talk.level);
  words.onend = () => goOn(talk);
  words.onerror = () => letRead(talk);
  setTimeout(() => goOn(talk), 2000 + 100 * talk.text.length); // some browsers send neither event
  speechSynthesis.speak(words);
}

/** Whether this browser can speak; the list of its voices may come late. */
async function hasVoice() {
  if (!window.speechSynthesis) return false;
  if (speechSynthesis.getVoices().length > 0) return true;
  await new Promise((resolve) => {
    speechSynthesis.onvoiceschanged = resolve;
    setTimeout(resolve, VOICES_COME_WITHIN);
  });
  return speechSynthesis.getVoices().length > 0;
}

function letRead(talk) {
  if (call.heard !== talk) return;
  talk.voiceless = true;
  const readingTime = 1000 + 50 * talk.text.length; // to notice it, and 240 words a minute
  setTimeout(() => goOn(talk), talk.since + readingTime - Date.now()); // it is there to read already
  show();
}

/** Let the server go on after a talk, unless it has done so by itself. */
function goOn(talk) {
  if (call.heard !== talk) return;
  hear(null);
  ask("spoken");
  show();
}

// What happens

function happen(event) {
  if (event.uuid) Object.assign(call, { uuid: event.uuid, number: event.number, name: event.name });
  if (event.place && event.place !== call.place) call.since = Date.now();
  if (event.place) Object.assign(call, { place: event.place, state: event.state });
  if (event.line) tell(event.line, event.trouble);
  if (event.sound === "silence") hear(null);
  else if (event.sound) hear(event);
  if (event.keys !== undefined) listen(event.keys);
  if (!isLive()) end();
  show();
}

function end() {
  call.events.close(); // or else it would dial again
  hear(null);
  listen(false);
  write("time", `after ${clock(Date.now() - call.dialled)}`);
}

// What you do

function ask(what, body) {
  return fetch(`/calls/${call.uuid}/${what}`, { method: "POST", body }).catch(() => {});
}

/** Let the page sound later on: a browser allows that only where somebody has clicked. */
function unlockSound() {
  if (!gain) {
    const context = new AudioContext();
    gain = context.createGain();
    context.createMediaElementSource(audio).connect(gain).connect(context.destination);
  }
  gain.context.resume();
  audio.loop = false;
  audio.src = SILENCE;
  audio.play().catch(() => {});
}

function dial() {
  unlockSound();
  part("story").replaceChildren();
  const now = Date.now();
  call = { place: "ringing", state: "Ringing", name: "Phone", since: now, dialled: now, heard: null };
  call.events = new EventSource("/dial");
  call.events.onmessage = (message) => happen(JSON.parse(message.data));
  call.events.onerror = () => happen({ place: "closed", state: "The sandbox has ended" });
  show();
}

function hangUp() {
  if (call.uuid) ask("hang-up");
  else happen({ place: "over", state: "Call ended" }); // the server sees that no one listens
}

part("dial").addEventListener("click", dial);
part("hang-up").addEventListener("click", hangUp);
for (const key of keys) key.addEventListener("click", () => ask("press", key.textContent));
audio.addEventListener("ended", () => {
  if (call.left > 0) audio.play().catch(() => {});
  call.left -= 1;
});
setInterval(showTime, 250);
part("main").hidden = false;
show();
