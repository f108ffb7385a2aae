// What the page asks of its server: the same OpenAI API that every other client uses, and two paths about the server.
//
// Addresses are relative, so that the page works below any path of a proxy. Knows no element of the page. A request
// that fails is an ApiError with the status and the server's own words.

export class ApiError extends Error {
  constructor(message, status, retryAfter = 0) {
    super(message);
    this.status = status; // 0: nothing was answered
    this.retryAfter = retryAfter; // seconds; 0: not said
  }
}

const kKey = 'prosa.key';
export const readKey = () => localStorage.getItem(kKey) ?? '';
export function keepKey(key) {
  if (key) localStorage.setItem(kKey, key);
  else localStorage.removeItem(kKey);
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  const key = readKey();
  if (key) headers.Authorization = `Bearer ${key}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: 'no-store' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('The server cannot be reached.', 0);
  }
  if (answer.ok) return answer;
  let message = `The server answers ${answer.status}.`;
  try {
    message = (await answer.json()).error.message ?? message;
  } catch {
    // Not the server's own answer but a proxy's: its status says enough.
  }
  throw new ApiError(message, answer.status, Number(answer.headers.get('Retry-After') ?? 0));
}

/** [{id, …}] */
export async function listModels() {
  return (await (await ask('v1/models')).json()).data;
}

/** What requests to a model leave open, and its context. */
export async function readDefaults(model) {
  return (await (await ask(`props?model=${encodeURIComponent(model)}`)).json()).default_generation_settings;
}

/** The server's figures of this moment: {'name{labels}': value}. */
export async function readMetrics() {
  const values = {};
  for (const line of (await (await ask('metrics')).text()).split('\n')) {
    const space = line.lastIndexOf(' ');
    if (space > 0 && !line.startsWith('#')) values[line.slice(0, space)] = Number(line.slice(space + 1));
  }
  return values;
}

/** One reply, chunk by chunk as OpenAI has them. `signal` ends it: then the server stops computing, too. */
export async function* streamChat(body, signal) {
  const answer = await ask('v1/chat/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  try {
    for await (const data of readEvents(answer.body)) {
      if (data === '[DONE]') return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(chunk.error.message, 200);
      yield chunk;
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof ApiError) throw error;
    throw new ApiError('The connection broke before the reply was complete.', 0);
  }
  throw new ApiError('The connection ended before the reply was complete.', 0);
}

/** The data of a stream of events. Comments, which only show that the server lives, are left out. */
async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split('\n\n');
    rest = events.pop();
    for (const event of events) {
      if (event.startsWith('data: ')) yield event.slice('data: '.length);
    }
  }
}
