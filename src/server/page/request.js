// A conversation to a request, and the chunks of its reply to a message. Pure values: no element, no network.

/** The body of a chat request. Error: a field of the settings is not what it must be; `field` names it. */
export function toRequest(conversation, model) {
  const { settings } = conversation;
  const body = { model, messages: conversation.messages.map(toApi) };
  if (settings.system.trim()) body.messages.unshift({ role: 'system', content: settings.system });
  for (const name of kNumbers) {
    if (settings[name] !== '') body[name] = readNumber(name, settings[name]);
  }
  if (settings.thinking) body.reasoning_effort = settings.thinking;
  if (settings.stop) body.stop = settings.stop.split('\n').filter((line) => line !== '');
  const tools = readJson('tools', settings.tools);
  if (tools) body.tools = (Array.isArray(tools) ? tools : [tools]).map(toTool);
  const schema = readJson('schema', settings.schema);
  if (schema) body.response_format = { type: 'json_schema', json_schema: { name: 'reply', schema } };
  return body;
}

const kNumbers = ['temperature', 'top_p', 'top_k', 'min_p', 'repetition_penalty', 'presence_penalty',
  'frequency_penalty', 'max_tokens', 'seed'];

function fieldError(field, message) {
  const error = new Error(message);
  error.field = field;
  return error;
}

function readNumber(field, text) {
  const value = Number(text);
  if (!Number.isFinite(value)) throw fieldError(field, `"${text}" is no number.`);
  return value;
}

/** Null where nothing is said. */
export function readJson(field, text) {
  if (!text.trim()) return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw fieldError(field, `This is no JSON: ${error.message}`);
  }
}

/** The function alone is enough to say: the frame around it is always the same. */
const toTool = (tool) => (tool.function ? tool : { type: 'function', function: tool });

/** Thoughts stay here: models read their history without them. */
function toApi(message) {
  if (message.role === 'tool') return { role: 'tool', tool_call_id: message.callId, content: message.content };
  const api = { role: message.role, content: message.content };
  if (message.calls?.length) {
    api.tool_calls = message.calls.map((call) => ({
      id: call.id, type: 'function', function: { name: call.name, arguments: call.arguments },
    }));
  }
  return api;
}

export const newReply = () => ({ role: 'assistant', content: '', thought: '', calls: [], end: '', cost: null });

/** Takes one chunk into the reply. True: it brought a piece of text. */
export function addChunk(reply, chunk) {
  const choice = chunk.choices[0];
  if (chunk.timings) reply.cost = { ...reply.cost, ...chunk.timings };
  if (chunk.usage) {
    reply.cost = {
      ...reply.cost,
      prompt: chunk.usage.prompt_tokens,
      cached: chunk.usage.prompt_tokens_details.cached_tokens,
      thinking: chunk.usage.completion_tokens_details?.reasoning_tokens ?? 0,
    };
  }
  if (!choice) return false;
  if (choice.finish_reason) reply.end = choice.finish_reason;
  const { delta } = choice;
  reply.content += delta.content ?? '';
  reply.thought += delta.reasoning_content ?? '';
  for (const call of delta.tool_calls ?? []) {
    const known = reply.calls[call.index] ??= { id: '', name: '', arguments: '' };
    known.id = call.id ?? known.id;
    known.name += call.function.name ?? '';
    known.arguments += call.function.arguments ?? '';
  }
  return Boolean(delta.content || delta.reasoning_content || delta.tool_calls);
}

/** A reply that says nothing at all is not worth keeping. */
export const isEmpty = (reply) => !reply.content && !reply.thought && reply.calls.length === 0;

/** "12 of 431 tokens read, …": what the reply cost; "" where it is not known. */
export function describeCost(reply) {
  const { cost } = reply;
  if (!cost) return '';
  const parts = [];
  if (cost.prompt !== undefined) {
    const computed = cost.prompt - cost.cached;
    parts.push(cost.cached > 0 ? `${computed} new of ${cost.prompt} prompt tokens computed`
      : `${cost.prompt} prompt tokens computed`);
  }
  if (cost.firstMs !== undefined) parts.push(`first word after ${seconds(cost.firstMs)}`);
  if (cost.predicted_n !== undefined) parts.push(`${cost.predicted_n} tokens`);
  if (cost.predicted_per_second) parts.push(`${cost.predicted_per_second.toFixed(1)} tok/s`);
  return parts.join(' · ');
}

const seconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
