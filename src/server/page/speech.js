// Speech in and out, by what the browser has: listening fills the field, replies are read aloud sentence by sentence.
//
// Neither goes over this server. Some browsers recognise speech with a service of their maker's; the button says so.
// Where a browser has neither, there is no button.
import { plainText } from './markdown.js';

const Recognition = window.SpeechRecognition ?? window.webkitSpeechRecognition;
export const canListen = Boolean(Recognition);
export const canSpeak = 'speechSynthesis' in window;

/** Listens to one utterance. `heard(text, complete)` comes as words do; `ended(error)` once, "" when all went well. */
export function listen(heard, ended) {
  const recognition = new Recognition();
  recognition.interimResults = true;
  recognition.lang = navigator.language;
  let problem = '';
  recognition.onresult = (event) => {
    const results = Array.from(event.results);
    heard(results.map((result) => result[0].transcript).join(''), results.every((result) => result.isFinal));
  };
  recognition.onerror = (event) => { problem = event.error; };
  recognition.onend = () => ended(problem);
  recognition.start();
  return { stop: () => recognition.stop() };
}

export function silence() {
  if (canSpeak) window.speechSynthesis.cancel();
}

/** Reads a reply aloud while it grows: each sentence as soon as it is complete. */
export class Reader {
  constructor() {
    this.said = 0;
  }

  /** `text`: the whole reply so far. */
  grow(text) {
    const end = lastSentenceEnd(text, this.said);
    if (end > this.said) this.say(text, end);
  }

  finish(text) {
    if (text.length > this.said) this.say(text, text.length);
  }

  say(text, end) {
    const words = plainText(text.slice(this.said, end)).trim();
    this.said = end;
    if (words) window.speechSynthesis.speak(new SpeechSynthesisUtterance(words));
  }
}

/** Behind the last end of a sentence from `from` on that is outside of code; `from` where there is none. */
function lastSentenceEnd(text, from) {
  const tail = text.slice(from);
  // Code is read by nobody: what is behind its opening fence waits until it is closed.
  const fences = tail.split('```').length - 1;
  const limit = fences % 2 === 1 ? tail.lastIndexOf('```') : tail.length;
  let end = 0;
  for (const match of tail.slice(0, limit).matchAll(/[.!?…:]["')\]]*\s|[。！？]|\n/g)) end = match.index + match[0].length;
  return from + end;
}
