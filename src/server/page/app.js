// The page: ties the conversation at hand to its elements, and sends what is written.
//
// One conversation is shown, and at most one reply is under way; leaving the conversation stops it. What is stored,
// asked and drawn is in the modules below.
import { ApiError, listModels, readDefaults, streamChat } from './api.js';
import { find, iconButton, make } from './dom.js';
import { Figures } from './figures.js';
import { Log } from './log.js';
import { Panel, restoreTheme } from './panel.js';
import { addChunk, isEmpty, newReply, toRequest } from './request.js';
import { canListen, canSpeak, listen, Reader, silence } from './speech.js';
import {
  listConversations, loadConversation, newConversation, onForeignChange, removeConversation, saveConversation,
} from './store.js';

restoreTheme();
const input = find('input');
const composer = find('composer');
const send = find('send');
const figures = new Figures(find('figures'));
const log = new Log(find('log'), { retry, edit, answerCalls, speak });
const panel = new Panel((settings) => {
  conversation.settings = settings;
  saveConversation(conversation);
});

let conversation = null;
let running = null; // the AbortController of the reply under way
let readsAloud = false;
let hearing = null; // what listens

function open(next) {
  stop();
  conversation = next;
  log.show(conversation.messages);
  panel.show(conversation.settings);
  showList();
  document.body.classList.remove('with-drawer');
  location.hash = conversation.messages.length > 0 ? conversation.id : '';
  if (matchMedia('(hover: hover)').matches) input.focus(); // a phone's keyboard would cover the half of it
}

const openNew = () => open(newConversation(conversation?.settings));

function showList() {
  find('list').replaceChildren(...listConversations().map(({ id, title }) => {
    const current = id === conversation.id;
    const link = make('button', { type: 'button', class: 'title', 'aria-current': current ? 'true' : undefined,
      onclick: () => open(loadConversation(id) ?? newConversation()) }, title);
    return make('li', { class: current ? 'current' : '' }, link, iconButton('bin', `Delete “${title}”`, () => {
      removeConversation(id);
      if (current) openNew();
      else showList();
    }));
  }));
}

function keep() {
  if (!saveConversation(conversation)) {
    log.notice('The browser has no room left for this conversation: it will be gone with this page. '
      + 'Delete older ones to make room.');
  }
  location.hash = conversation.id;
  showList();
}

/** Asks for a reply to the conversation as it stands. */
async function reply() {
  if (running) return;
  let body;
  try {
    body = toRequest(conversation, find('model').value);
  } catch (error) {
    log.notice(error.message, 'Open settings', () => panel.open(error.field));
    return;
  }
  const own = conversation; // another one may be shown before this ends
  const message = newReply();
  const reader = readsAloud ? new Reader() : null;
  running = new AbortController();
  document.body.classList.add('is-replying');
  send.setAttribute('aria-label', 'Stop');
  figures.begin();
  log.begin(message);
  const begun = performance.now();
  let failure = null;
  try {
    for await (const chunk of streamChat(body, running.signal)) {
      if (!addChunk(message, chunk)) continue;
      message.cost ??= { firstMs: performance.now() - begun };
      figures.count();
      log.grow();
      reader?.grow(message.content);
    }
    reader?.finish(message.content);
  } catch (error) {
    message.end = error.name === 'AbortError' ? 'stopped' : 'broken';
    if (error.name !== 'AbortError') failure = error;
  }
  running = null;
  document.body.classList.remove('is-replying');
  send.setAttribute('aria-label', 'Send');
  figures.end();
  if (!isEmpty(message)) own.messages.push(message);
  if (own !== conversation) { saveConversation(own); return; }
  log.show(conversation.messages);
  keep();
  find('said').textContent = message.content; // for screen readers: once, not by pieces
  if (failure) tell(failure);
}

function tell(failure) {
  if (failure instanceof ApiError && failure.status === 401) {
    log.notice('This server asks for an API key.', 'Enter the key', () => panel.open('key'));
    return;
  }
  const later = failure.retryAfter ? ` It asks to come back in ${failure.retryAfter} s.` : '';
  log.notice(`${failure.message}${later}`, 'Try again', () => retry(conversation.messages.length));
}

function stop() {
  running?.abort();
  silence();
}

function say(text) {
  if (running || !text.trim()) return;
  conversation.messages.push({ role: 'user', content: text });
  log.show(conversation.messages);
  keep();
  reply();
}

/** The reply at `index` is made once more. */
function retry(index) {
  if (running) return;
  conversation.messages.length = Math.min(index, conversation.messages.length);
  const last = conversation.messages[conversation.messages.length - 1];
  if (last?.role === 'assistant') conversation.messages.pop(); // it was broken off
  log.show(conversation.messages);
  reply();
}

/** The message at `index` says something else, and what came after it did not happen. */
function edit(index, text) {
  if (running) return;
  conversation.messages.length = index;
  say(text);
}

function answerCalls(results) {
  if (running) return;
  conversation.messages.push(...results.map((result) => ({ role: 'tool', ...result })));
  log.show(conversation.messages);
  keep();
  reply();
}

function speak(text) {
  silence();
  new Reader().finish(text);
}

function submit() {
  if (running) return stop();
  const text = input.value;
  input.value = '';
  fit();
  return say(text);
}

/** As high as its text. */
function fit() {
  input.style.height = 'auto';
  input.style.height = `${input.scrollHeight}px`;
}

function toggleListening() {
  if (hearing) return hearing.stop();
  silence();
  find('listen').setAttribute('aria-pressed', 'true');
  hearing = listen((text) => { input.value = text; fit(); }, (problem) => {
    hearing = null;
    find('listen').setAttribute('aria-pressed', 'false');
    if (problem && problem !== 'no-speech' && problem !== 'aborted') log.notice(`The browser does not listen: ${problem}.`);
    else if (input.value.trim()) submit();
  });
  return undefined;
}

function onKey(event) {
  if (event.key === 'Escape' && running && !document.querySelector('dialog[open]')) return stop();
  if (event.altKey && event.code === 'KeyN') return [event.preventDefault(), openNew()];
  if (event.altKey && event.code === 'Comma') return [event.preventDefault(), panel.open()];
  if (event.key === '/' && !/^(TEXTAREA|INPUT|SELECT)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    input.focus();
  }
  return undefined;
}

function onInputKey(event) {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!running) submit();
  } else if (event.key === 'ArrowUp' && input.value === '' && !running) {
    const edits = log.element.querySelectorAll('.user button');
    edits[edits.length - 1]?.click();
  }
}

async function greet() {
  try {
    const models = await listModels();
    const chooser = find('model');
    chooser.replaceChildren(...models.map(({ id }) => make('option', { value: id }, id)));
    chooser.disabled = models.length < 2;
    await showModel();
  } catch (error) {
    tell(error);
  }
}

/** The model that is chosen: what it does where nothing is said. */
async function showModel() {
  const model = find('model').value;
  document.title = `${model} · prosa`;
  panel.showDefaults(await readDefaults(model));
}

composer.addEventListener('submit', (event) => { event.preventDefault(); submit(); });
input.addEventListener('keydown', onInputKey);
input.addEventListener('input', fit);
document.addEventListener('keydown', onKey);
find('new').onclick = openNew;
find('menu').onclick = () => document.body.classList.toggle('with-drawer');
find('shade').onclick = () => document.body.classList.remove('with-drawer');
find('open-settings').onclick = () => panel.open();
find('settings').addEventListener('close', () => { if (find('model').options.length === 0) greet(); });
find('model').onchange = () => showModel().catch(tell);
find('listen').hidden = !canListen;
find('listen').onclick = toggleListening;
find('aloud').hidden = !canSpeak;
find('aloud').onclick = () => {
  readsAloud = !readsAloud;
  find('aloud').setAttribute('aria-pressed', String(readsAloud));
  if (!readsAloud) silence();
};
onForeignChange(showList);
open(loadConversation(location.hash.slice(1)) ?? newConversation());
greet();
