// The settings of a conversation: fields of the form `settings` of index.html, by their names.
//
// What is empty is not said, and the server's own choice stands: it is shown where the field is empty. Settings are
// kept by the conversation, and the next one begins with them.
import { keepKey, readKey } from './api.js';
import { find } from './dom.js';
import { readJson } from './request.js';

export class Panel {
  /** `changed(settings)` is called with all of them. */
  constructor(changed) {
    this.dialog = find('settings');
    this.form = find('settings-form');
    this.form.addEventListener('input', (event) => {
      if (event.target.name === 'key') return keepKey(event.target.value.trim());
      this.check(event.target);
      return changed(this.read());
    });
    this.dialog.addEventListener('click', (event) => {
      if (event.target === this.dialog) this.dialog.close(); // beside it
    });
    this.form.elements.theme.value = document.documentElement.dataset.theme ?? '';
    this.form.elements.theme.addEventListener('change', (event) => setTheme(event.target.value));
  }

  show(settings) {
    for (const [name, value] of Object.entries(settings)) {
      const field = this.form.elements[name];
      if (!field) continue;
      field.value = value;
      this.check(field);
    }
    this.form.elements.key.value = readKey();
  }

  /** `field`: where the wish begins. */
  open(field) {
    this.dialog.showModal();
    const input = field && this.form.elements[field];
    if (!input) return;
    input.closest('details')?.setAttribute('open', '');
    input.focus();
  }

  read() {
    const settings = {};
    for (const field of this.form.elements) {
      if (field.name && field.name !== 'key' && field.name !== 'theme') settings[field.name] = field.value;
    }
    return settings;
  }

  /** What requests leave open, in the empty fields. */
  showDefaults(defaults) {
    const names = { repetition_penalty: 'repeat_penalty' };
    for (const name of ['temperature', 'top_p', 'top_k', 'min_p', 'repetition_penalty', 'presence_penalty',
      'frequency_penalty']) {
      const value = defaults[names[name] ?? name];
      // Numbers of the server are of 32 bits: 0.1 is not 0.10000000149.
      if (value !== undefined) this.form.elements[name].placeholder = String(Number(value.toPrecision(6)));
    }
  }

  check(field) {
    if (field.name !== 'tools' && field.name !== 'schema') return;
    let problem = '';
    try {
      readJson(field.name, field.value);
    } catch (error) {
      problem = error.message;
    }
    field.setCustomValidity(problem);
    find(`${field.name}-problem`).textContent = problem;
  }
}

const kTheme = 'prosa.theme';

/** "light", "dark", or "" for what the system has. */
export function setTheme(theme) {
  if (theme) {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem(kTheme, theme);
  } else {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem(kTheme);
  }
}

export const restoreTheme = () => setTheme(localStorage.getItem(kTheme) ?? '');
