// The line of figures at the top: tokens per second of the reply under way, how many replies are computed together,
// what the server holds in memory.
//
// Asks /metrics only while the page is in view: often while a reply comes, seldom otherwise.
import { readMetrics } from './api.js';
import { make } from './dom.js';

const kBusy = 2000; // milliseconds between two questions
const kIdle = 15000;
const kWindow = 3000; // milliseconds that the live speed looks back

export class Figures {
  constructor(element) {
    this.element = element;
    this.moments = []; // of the last pieces
    this.busy = false;
    this.server = '';
    this.title = '';
    document.addEventListener('visibilitychange', () => this.ask());
    this.ask();
  }

  /** A reply has begun. */
  begin() {
    this.busy = true;
    this.moments = [];
    this.ask();
  }

  /** A piece of it has come. A piece is a token, but for characters of several tokens. */
  count() {
    const now = performance.now();
    this.moments.push(now);
    while (now - this.moments[0] > kWindow) this.moments.shift();
    this.draw();
  }

  end() {
    this.busy = false;
    this.moments = [];
    this.draw();
  }

  speed() {
    const count = this.moments.length;
    if (count < 5) return '';
    return `${((count - 1) * 1000 / (this.moments[count - 1] - this.moments[0])).toFixed(0)} tok/s`;
  }

  async ask() {
    clearTimeout(this.timer);
    if (document.hidden) return;
    try {
      const values = await readMetrics();
      const running = values.prosa_replies_running ?? 0;
      const waiting = values.prosa_requests_waiting ?? 0;
      const kinds = Object.entries(values).filter(([name]) => name.startsWith('prosa_memory_bytes'));
      const bytes = kinds.reduce((sum, [, value]) => sum + value, 0);
      this.server = [running > 1 ? `batch of ${running}` : '', waiting > 0 ? `${waiting} waiting` : '', size(bytes)]
        .filter(Boolean).join(' · ');
      this.title = kinds.filter(([, value]) => value > 0)
        .map(([name, value]) => `${/kind="([^"]*)"/.exec(name)[1].replace('_', ' ')}: ${size(value)}`).join('\n');
    } catch {
      this.server = ''; // no key yet, or no server: whoever asks for a reply is told
    }
    this.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), this.busy ? kBusy : kIdle);
  }

  draw() {
    const speed = this.speed();
    this.element.title = this.title;
    this.element.replaceChildren(speed ? make('b', {}, speed) : '', speed && this.server ? ' · ' : '', this.server);
  }
}

const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`);
