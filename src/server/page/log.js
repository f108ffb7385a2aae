// The messages of a conversation as elements, and what can be done with each of them.
//
// Draws what it is given and calls `actions` back; keeps nothing. A reply under way is drawn again at most once a
// frame, and only its last block changes (markdown.js).
import { icon, iconButton, make } from './dom.js';
import { renderMarkdown } from './markdown.js';
import { describeCost } from './request.js';

/**
 * `actions`: {retry(index), edit(index, text), answerCalls(results), speak(text)}; `index` is the message's place.
 */
export class Log {
  constructor(element, actions) {
    this.element = element;
    this.actions = actions;
    this.follows = true; // the end is in view, and is kept there
    this.under = null; // the reply under way: {message, view}
    element.addEventListener('scroll', () => {
      this.follows = element.scrollHeight - element.scrollTop - element.clientHeight < 48;
    });
  }

  /** Everything anew. */
  show(messages) {
    this.under = null;
    this.element.replaceChildren(...messages.map((message, i) => this.viewOf(message, i, messages)));
    if (messages.length === 0) this.element.append(welcome());
    this.follows = true;
    this.scroll();
  }

  /** A reply begins at the end. */
  begin(message) {
    const view = makeReply(message);
    view.element.classList.add('under-way');
    this.element.append(view.element);
    this.under = { message, view };
    this.follows = true;
    this.scroll();
  }

  /** It has grown. */
  grow() {
    if (this.under === null || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.under === null) return;
      this.under.view.update();
      if (this.follows) this.scroll();
    });
  }

  /** Something to say that is no message: an error, with what can be done about it. */
  notice(text, label, onclick) {
    const button = label ? make('button', { type: 'button', onclick }, label) : null;
    this.element.append(make('div', { class: 'notice', role: 'alert' }, make('p', {}, text), button));
    this.scroll();
  }

  scroll() {
    this.element.scrollTop = this.element.scrollHeight;
  }

  viewOf(message, index, messages) {
    const last = index === messages.length - 1;
    if (message.role === 'user') return this.viewOfUser(message, index);
    if (message.role === 'tool') return viewOfResult(message);
    const { element } = makeReply(message);
    const bar = make('div', { class: 'bar-below' });
    if (message.content) {
      if (navigator.clipboard) bar.append(iconButton('copy', 'Copy', () => navigator.clipboard.writeText(message.content)));
      if ('speechSynthesis' in window) {
        bar.append(iconButton('speaker', 'Read aloud', () => this.actions.speak(message.content)));
      }
    }
    if (last) bar.append(iconButton('retry', 'Try again', () => this.actions.retry(index)));
    bar.append(make('span', { class: 'cost' }, [endOf(message), describeCost(message)].filter(Boolean).join(' · ')));
    element.append(bar);
    if (last && message.calls?.length) element.append(this.formForResults(message.calls));
    return element;
  }

  viewOfUser(message, index) {
    const text = make('div', { class: 'text' }, message.content);
    const element = make('article', { class: 'message user', 'aria-label': 'You' }, text);
    const bar = make('div', { class: 'bar-below' },
      iconButton('edit', 'Edit', () => element.replaceWith(this.editorOf(message, index, element))));
    element.append(bar);
    return element;
  }

  editorOf(message, index, shown) {
    const input = make('textarea', { value: message.content, rows: 3, 'aria-label': 'Your message' });
    const form = make('form', { class: 'message user editor' }, input, make('div', { class: 'row' },
      make('button', { type: 'button', onclick: () => form.replaceWith(shown) }, 'Cancel'),
      make('button', { type: 'submit', class: 'main' }, 'Send')));
    form.onsubmit = (event) => {
      event.preventDefault();
      if (input.value.trim()) this.actions.edit(index, input.value);
    };
    form.onkeydown = (event) => {
      if (event.key === 'Escape') form.replaceWith(shown);
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
      event.stopPropagation();
    };
    queueMicrotask(() => {
      input.focus();
      input.style.height = `${input.scrollHeight + 2}px`;
    });
    return form;
  }

  /** The page has no tools: whoever reads it says what each call has brought. */
  formForResults(calls) {
    const inputs = calls.map((call) => make('textarea', {
      rows: 2, placeholder: `What ${call.name} answers`, 'aria-label': `Result of ${call.name}`,
    }));
    const form = make('form', { class: 'results' }, ...inputs,
      make('div', { class: 'row' }, make('button', { type: 'submit', class: 'main' }, 'Send results')));
    form.onsubmit = (event) => {
      event.preventDefault();
      this.actions.answerCalls(calls.map((call, i) => ({ callId: call.id, content: inputs[i].value })));
    };
    return form;
  }
}

function welcome() {
  return make('div', { class: 'welcome' },
    make('h2', {}, 'What is on your mind?'),
    make('p', {}, 'The model runs on this server. Conversations are kept in this browser alone.'));
}

function viewOfResult(message) {
  return make('details', { class: 'message fold' },
    make('summary', {}, icon('tool'), 'Result'), make('pre', {}, message.content));
}

/** {element, update()}: thoughts folded, then the text, then calls. */
function makeReply(message) {
  const thought = make('div', { class: 'thought-text' });
  const title = make('span', {}, 'Thinking…');
  const fold = make('details', { class: 'fold thought', hidden: true }, make('summary', {}, icon('thought'), title), thought);
  const text = make('div', { class: 'text markdown' });
  const calls = make('div', { class: 'calls' });
  const element = make('article', { class: 'message reply', 'aria-label': 'Reply' }, fold, text, calls);
  const update = () => {
    fold.hidden = !message.thought;
    if (message.thought) {
      thought.textContent = message.thought;
      const over = message.content || message.calls?.length || message.end;
      title.textContent = over ? titleOfThought(message) : 'Thinking…';
    }
    renderMarkdown(text, message.content);
    calls.replaceChildren(...(message.calls ?? []).map(viewOfCall));
  };
  update();
  return { element, update };
}

function titleOfThought(message) {
  const count = message.cost?.thinking;
  return count ? `Thoughts, ${count} tokens` : 'Thoughts';
}

function viewOfCall(call) {
  let shown = call.arguments;
  try {
    shown = JSON.stringify(JSON.parse(call.arguments), null, 2);
  } catch {
    // It is not complete yet.
  }
  return make('details', { class: 'fold', open: true },
    make('summary', {}, icon('tool'), 'Calls ', make('code', {}, call.name)), make('pre', {}, shown));
}

function endOf(message) {
  if (message.end === 'stopped') return 'stopped';
  if (message.end === 'broken') return 'broken off';
  return message.end === 'length' ? 'cut at its length' : '';
}
