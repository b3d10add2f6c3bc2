// A phone. The server says what happens, in the events of one request a call (see `happenings`);
// this says it in words and plays what the caller hears.
"use strict";

const part = (id) => document.getElementById(id);
const audio = part("audio");
const keys = [...part("keys").children];
// Chromium plays nothing in a hidden tab where nothing has played yet: this plays as you dial.
const SILENCE = "data:audio/wav;base64,UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA==";
const VOICES_COME_WITHIN = 1000; // milliseconds: Chromium has none at first
const STATES = {
  idle: "Ready to dial",
  ringing: "Ringing",
  answered: "Connected",
  waiting: "Waiting for the conference to start",
  ended: "Call ended",
  refused: "Not dialled",
};

/**
 * The call. `place` is one of STATES or "conference", and `since` is when that began; `heard` is
 * the talk or music that is heard, or null, and `silence` says why there is none; `left` is how
 * often the music plays again. Times are in milliseconds.
 */
let call = {
  place: "idle",
  heard: null,
  silence: "Press Dial, and the app answers as if you had called its number. Turn your sound on.",
};
let gain = null; // how loud: an element's own volume stops at 1

// In words

/** Milliseconds as 0:07. */
function clock(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const rest = String(seconds % 60).padStart(2, "0");
  return `${Math.floor(seconds / 60)}:${rest}`;
}

/** A text with a full stop, unless it has one. */
function sentence(text) {
  if (/[.!?]$/.test(text)) return text;
  return `${text}.`;
}

/** A number with its plus; whatever else a caller may be stays as it is. */
function numberOf(caller) {
  if (/^\d+$/.test(caller)) return `+${caller}`;
  return caller;
}

function company(others) {
  if (others === 0) return "alone";
  if (others === 1) return "with 1 other";
  return `with ${others} others`;
}

function nameOf(music) {
  if (music.kind === "hold music") return `hold music: ${music.name}`;
  return music.name;
}

/** How long music is, to the next second: the terminal rounds it, too. */
function lengthOf(music) {
  return clock(1000 * Math.round(music.seconds));
}

/** How often music plays where that is not once, and how loud where that is not as it is. */
function manner(music) {
  let words = "";
  if (music.times === 0) words += ", again and again";
  if (music.times > 1) words += `, ${music.times} times`;
  if (music.level > 0) words += `, louder (level ${music.level})`;
  if (music.level < 0) words += `, quieter (level ${music.level})`;
  if (music.level === -1) words += ": too quiet to hear";
  return words;
}

/** What a talk says, without its SSML tags. */
function wordsOf(talk) {
  return talk.text.replace(/<[^<>]*>/g, "").trim();
}

function state() {
  if (call.place === "conference") return `In the conference ${company(call.others)}`;
  if (call.heard?.voiceless) return "Please read";
  if (call.heard?.what === "talk") return "Hearing a voice";
  if (call.heard) return `Hearing ${call.heard.kind}`;
  return STATES[call.place];
}

/** What is heard or why nothing is, and what one can do. */
function hint() {
  if (!call.heard) return call.silence;
  let words = `You hear ${describeHeard()}.`;
  if (call.heard.voiceless) words = `This browser has no voice. It would say ${describeHeard()}.`;
  if (call.place === "waiting") words += " The conference needs more callers to start.";
  if (call.heard.barges) words += " Any key ends it.";
  return words;
}

function describeHeard() {
  if (call.heard.what === "talk") return `“${wordsOf(call.heard)}”`;
  return nameOf(call.heard) + manner(call.heard);
}

function heading() {
  if (call.number) return `Your phone, ${call.number}`;
  return "Your phone";
}

function title() {
  if (call.place === "idle" || call.place === "refused") return "Phone";
  const name = call.number?.slice(-4) ?? "unknown";
  if (call.place === "ringing") return `…${name} ringing`;
  if (call.place === "ended") return `…${name} call ended`;
  return `…${name} in call`;
}

// On the page

const isLive = () => !["idle", "ended", "refused"].includes(call.place);

/** Write to a part of the page, unless it says so already: a screen reader would read it again. */
function write(id, text) {
  if (part(id).textContent !== text) part(id).textContent = text;
}

function tell(line) {
  const item = document.createElement("li");
  const time = document.createElement("span");
  time.textContent = clock(Date.now() - call.dialled);
  item.append(time, " ", line);
  part("story").append(item);
}

function show() {
  document.title = title();
  write("title", heading());
  write("state", state());
  write("hint", hint());
  part("phone").dataset.place = call.place;
  part("hint").classList.toggle("trouble", Boolean(call.trouble));
  part("app-page").hidden = call.place !== "conference";
  part("other-phone").hidden = call.place !== "waiting";
  part("empty").hidden = part("story").children.length > 0;
  showButtons();
  showTime();
}

function showButtons() {
  const focused = document.activeElement;
  part("dial").disabled = isLive();
  for (const button of [part("hang-up"), ...keys]) button.disabled = !isLive();
  if (!focused.disabled) return;
  if (isLive()) part("hang-up").focus();
  else part("dial").focus();
}

function showTime() {
  let since = call.since;
  if (call.heard && call.place !== "conference") since = call.heard.since;
  let time = "";
  if (isLive()) time = `· ${clock(Date.now() - since)}`;
  write("time", time);
  showPosition();
}

function showPosition() {
  const music = call.heard;
  part("position").hidden = music?.what !== "music" || music.seconds === 0;
  if (part("position").hidden) return;
  const length = 1000 * music.seconds;
  const played = (Date.now() - music.since) % length;
  part("bar").max = length;
  part("bar").value = played;
  write("played", `${clock(played)} of ${lengthOf(music)}`);
}

function openKeypad() {
  if (part("keypad").open) return;
  part("keypad").open = true;
  call.openedKeypad = true;
}

/** Close the keypad again, unless it was open before. */
function closeKeypad() {
  if (!call.openedKeypad) return;
  call.openedKeypad = false;
  if (part("keypad").contains(document.activeElement)) part("keypad").firstElementChild.focus();
  part("keypad").open = false;
}

// What is heard

/** Hear nothing more; `why` is what the screen says of it. */
function hush(why) {
  if (call.heard) { // or else this would stop the silence that plays as you dial
    audio.pause();
    window.speechSynthesis?.cancel();
  }
  call.heard = null;
  call.silence = why;
  call.trouble = false;
  closeKeypad();
}

/** Hear a talk or music in place of what was heard; a later answer to that finds another here. */
function hear(sound) {
  hush("");
  call.heard = sound;
  sound.since = Date.now();
  if (sound.barges) openKeypad();
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
  if (call.heard !== music) return; // something else is heard by now
  hush(`You hear nothing: this browser could not play ${music.name}.`);
  call.trouble = true;
  tell(call.silence);
  show();
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

async function say(talk) {
  const speaks = await hasVoice();
  if (call.heard !== talk) return;
  if (speaks) speak(talk);
  else letRead(talk);
}

function speak(talk) {
  const text = wordsOf(talk);
  const words = new SpeechSynthesisUtterance(text);
  words.volume = Math.min(1, 1 + talk.level);
  words.onend = () => goOn(talk);
  words.onerror = () => letRead(talk);
  setTimeout(() => goOn(talk), 2000 + 100 * text.length); // some browsers send neither event
  speechSynthesis.speak(words);
}

function letRead(talk) {
  if (call.heard !== talk) return;
  talk.voiceless = true;
  tell("This browser has no voice: please read the sentence.");
  const readingTime = 1000 + 50 * wordsOf(talk).length; // to notice it, and 240 words a minute
  setTimeout(() => goOn(talk), talk.since + readingTime - Date.now()); // it is there to read already
  show();
}

/** Let the server go on after a talk, unless it has done so by itself. */
function goOn(talk) {
  if (call.heard !== talk) return;
  hush("The voice has ended.");
  ask("spoken");
  show();
}

// What happens

const ASKING = "The sandbox asks the app what you will hear.";
const QUIET = "You hear nothing, and that is right: no one is playing anything.";
const HOW_TO_PLAY = "To hear music, press Play on the app’s page.";

function moveTo(place) {
  call.place = place;
  call.since = Date.now();
}

const happenings = {
  dials(event) {
    call.uuid = event.uuid;
    let from = "without a number";
    if (event.number) {
      call.number = numberOf(event.number);
      from = `from ${call.number}`;
    }
    tell(`You dialled ${from}. ${ASKING}`);
  },
  answered() {
    moveTo("answered");
    hush("The app has answered.");
    tell("The call is answered.");
  },
  talk(event) {
    hear(event);
    tell(`You hear a voice: “${wordsOf(event)}”`);
    say(event);
  },
  music(event) {
    hear(event);
    tell(`You hear ${nameOf(event)}, ${lengthOf(event)} long${manner(event)}.`);
    play(event).catch(() => failToPlay(event));
  },
  "music over"() {
    silent("The music is over.");
  },
  "music stopped"() {
    silent("The music was stopped.");
  },
  nothing(event) {
    hush(sentence(`You hear nothing: ${event.why}`));
    call.trouble = true;
    tell(call.silence);
  },
  waits() {
    moveTo("waiting");
    hush("You hear nothing: the conference needs more callers to start.");
    tell("You wait for the conference to start: it needs more callers.");
  },
  conference(event) {
    if (call.place === "conference") countOthers(event.others);
    else join(event.others);
  },
  pressed(event) {
    let effect = "nothing listens for keys now";
    if (call.place === "conference") effect = "nothing listens for keys in a conference";
    if (event.listened) effect = "it ends what you hear";
    tell(`You pressed ${event.digit} (${effect}).`);
  },
  over(event) {
    end(event.why);
  },
};

/** The music has ended: in the conference that is as it should be. */
function silent(why) {
  tell(why);
  hush(why);
  if (call.place === "conference") hush(`${why} ${HOW_TO_PLAY}`);
}

function join(others) {
  moveTo("conference");
  call.others = others;
  if (call.heard) { // what the app has played while the caller waited goes on
    tell(`You are in the conference, ${company(others)}.`);
    return;
  }
  hush(`${QUIET} ${HOW_TO_PLAY}`);
  tell(`You are in the conference, ${company(others)}. ${QUIET}`);
}

function countOthers(others) {
  let news = "Someone joined";
  if (others < call.others) news = "Someone left";
  if (others !== call.others) tell(`${news}: you are in the conference ${company(others)}.`);
  call.others = others;
}

function end(why) {
  call.events.close(); // or else it would dial again
  hush(sentence(why));
  tell(sentence(why));
  if (call.uuid) {
    moveTo("ended");
    call.silence += ` The call lasted ${clock(Date.now() - call.dialled)}.`;
  } else {
    moveTo("refused");
  }
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
  call = { place: "ringing", since: now, dialled: now, heard: null };
  call.silence = ASKING;
  call.events = new EventSource("/dial");
  call.events.onmessage = (message) => happen(JSON.parse(message.data));
  call.events.onerror = () => happen({ what: "over", why: "The sandbox has ended" });
  show();
}

function happen(event) {
  happenings[event.what](event);
  show();
}

function hangUp() {
  if (call.uuid) ask("hang-up");
  else happen({ what: "over", why: "You hung up" }); // the server sees that no one listens
}

function press(key) {
  if (call.heard?.barges) hush("A key has ended it."); // the server says the same a little later
  ask("press", key.textContent);
  show();
}

part("dial").addEventListener("click", dial);
part("hang-up").addEventListener("click", hangUp);
for (const key of keys) key.addEventListener("click", () => press(key));
audio.addEventListener("ended", () => {
  if (call.left > 0) audio.play().catch(() => {});
  call.left -= 1;
});
setInterval(showTime, 250);
part("main").hidden = false;
show();
