// Conversations, where the browser keeps them: nothing of them stays on the server.
//
// A conversation is {id, title, changed, settings, messages}. A message is {role, content} with what its role brings:
// an assistant's `thought`, `calls`, `cost` and `end`; a tool's `callId`. One entry of localStorage a conversation, so
// that two tabs do not overwrite each other's. Invariant: what cannot be stored stays in memory, and the caller is told.

const kPrefix = 'prosa.conversation.';
const kMaxTitle = 60;

/** What requests leave open is the server's choice: an empty text is "not said". */
export const emptySettings = () => ({
  system: '', thinking: '', temperature: '', top_p: '', top_k: '', min_p: '', repetition_penalty: '',
  presence_penalty: '', frequency_penalty: '', max_tokens: '', seed: '', stop: '', tools: '', schema: '',
});

/** A new one, with the settings of the one before. */
export function newConversation(settings = {}) {
  return {
    // randomUUID is missing where the page comes from a plain address on the network.
    id: `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 10)}`,
    title: '',
    changed: Date.now(),
    settings: { ...emptySettings(), ...settings },
    messages: [],
  };
}

/** The latest first. */
export function listConversations() {
  const list = [];
  for (let i = 0; i < localStorage.length; i += 1) {
    const key = localStorage.key(i);
    const conversation = key.startsWith(kPrefix) ? loadConversation(key.slice(kPrefix.length)) : null;
    if (conversation) list.push(conversation);
  }
  return list.sort((a, b) => b.changed - a.changed);
}

/** Null: there is none, or it is damaged. */
export function loadConversation(id) {
  try {
    const conversation = JSON.parse(localStorage.getItem(kPrefix + id));
    if (!Array.isArray(conversation?.messages)) return null;
    conversation.settings = { ...emptySettings(), ...conversation.settings };
    return conversation;
  } catch {
    return null;
  }
}

/** False: the browser has no room, or keeps nothing. A conversation without a message is not kept. */
export function saveConversation(conversation) {
  if (conversation.messages.length === 0) return true;
  conversation.changed = Date.now();
  if (!conversation.title) conversation.title = titleOf(conversation.messages[0].content);
  try {
    localStorage.setItem(kPrefix + conversation.id, JSON.stringify(conversation));
    return true;
  } catch {
    return false;
  }
}

export function removeConversation(id) {
  localStorage.removeItem(kPrefix + id);
}

/** Calls `notice` when another tab changes a conversation. */
export function onForeignChange(notice) {
  window.addEventListener('storage', (event) => {
    if (event.key === null || event.key.startsWith(kPrefix)) notice();
  });
}

function titleOf(text) {
  const letters = Array.from(text.trim().split('\n')[0]);
  return letters.length <= kMaxTitle ? letters.join('') : `${letters.slice(0, kMaxTitle - 1).join('')}…`;
}
