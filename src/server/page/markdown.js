// Markdown as replies have it, to DOM nodes: headings, lists, tables, quotes, code, emphasis, links.
//
// What a model writes is text of a stranger: every piece of it ends in a text node, links lead to http, https and
// mailto alone, and pictures become links, so that a reply can't make the browser ask another host. What is not
// understood stays as it was written. Texts within marks are bounded, so that no reply takes quadratic time.
import { make } from './dom.js';

const kMaxDepth = 12; // of lists and quotes within each other, and of emphasis
const kFence = /^ {0,3}(`{3,}|~{3,})\s*([^`\s]*)/;
const kHeading = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const kRule = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const kItem = /^(\s*)([-*+]|\d{1,9}[.)])(\s+|$)/;
const kQuote = /^ {0,3}> ?/;
const kDivider = /^[\s|:-]*-[\s|:-]*$/;

/**
 * Shows `text` in `container`. Blocks whose source has not changed since the last call keep their nodes, so that a
 * reply that grows costs its last block alone, and a selection in the others stays.
 */
export function renderMarkdown(container, text) {
  const blocks = splitBlocks(text.split('\n'));
  blocks.forEach((block, i) => {
    const source = [block.kind, block.language, ...block.lines].join('\n');
    const shown = container.children[i];
    if (shown?.markdownSource === source) return;
    const node = renderBlock(block, 0);
    node.markdownSource = source;
    if (shown) shown.replaceWith(node);
    else container.append(node);
  });
  while (container.children.length > blocks.length) container.lastElementChild.remove();
}

/** The words alone, for a voice: code is left out, and so are marks and addresses. */
export function plainText(text) {
  return text
    .replace(/(```|~~~)[\s\S]*?(\1|$)/g, ' ')
    .replace(/!?\[([^\][]{0,1000})\]\([^()\s]{0,2000}\)/g, '$1')
    .replace(/^\s*([#>]+|[-*+]|\|)\s+/gm, '')
    .replace(/[*_`|]+/g, '');
}

/** Lines to blocks: [{kind, lines, used}]; the lines of lists and quotes are split once more by renderBlock. */
function splitBlocks(lines) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (lines[at].trim() === '') {
      at += 1;
      continue;
    }
    const block = readBlock(lines, at);
    blocks.push(block);
    at += block.used;
  }
  return blocks;
}

function readBlock(lines, at) {
  const line = lines[at];
  const fence = kFence.exec(line);
  if (fence) return readFence(lines, at, fence);
  if (kHeading.test(line)) return { kind: 'heading', lines: [line], used: 1 };
  if (kRule.test(line)) return { kind: 'rule', lines: [line], used: 1 };
  if (kQuote.test(line)) return readWhile(lines, at, 'quote', (each) => kQuote.test(each));
  if (kItem.test(line)) return readList(lines, at);
  const below = lines[at + 1] ?? '';
  if (line.includes('|') && below.includes('|') && kDivider.test(below)) {
    return readWhile(lines, at, 'table', (each) => each.includes('|'));
  }
  return readWhile(lines, at, 'paragraph', (each) => each.trim() !== '' && !beginsBlock(each));
}

const beginsBlock = (line) => [kFence, kHeading, kRule, kQuote, kItem].some((mark) => mark.test(line));

/** The first line is the block's own, whatever it is. */
function readWhile(lines, at, kind, belongs) {
  let end = at + 1;
  while (end < lines.length && belongs(lines[end])) end += 1;
  return { kind, lines: lines.slice(at, end), used: end - at };
}

/** To the fence of the same kind, or to the end: a reply under way has not closed it yet. */
function readFence(lines, at, [, mark, language]) {
  const closes = (line) => line.trim().startsWith(mark) && line.trim().replaceAll(mark[0], '') === '';
  let end = at + 1;
  while (end < lines.length && !closes(lines[end])) end += 1;
  return { kind: 'code', language, lines: lines.slice(at + 1, end), used: end - at + 1 };
}

/** Items of one kind; what is indented, or follows without an empty line between, belongs to the item above it. */
function readList(lines, at) {
  const [, space, mark] = kItem.exec(lines[at]);
  const ordered = /\d/.test(mark);
  const indent = space.length;
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const item = kItem.exec(line);
    if (line.trim() === '') {
      const next = lines[end + 1] ?? '';
      if (!kItem.test(next) && !/^\s{2,}\S/.test(next)) break;
    } else if (item && item[1].length <= indent + 1) {
      if (/\d/.test(item[2]) !== ordered || kRule.test(line)) break;
    } else if (indentOf(line) <= indent && (beginsBlock(line) || lines[end - 1].trim() === '')) {
      break;
    }
  }
  return { kind: ordered ? 'ordered' : 'bullets', lines: lines.slice(at, end), used: end - at };
}

const indentOf = (line) => line.length - line.trimStart().length;

function renderBlock(block, depth) {
  const { kind, lines } = block;
  if (kind === 'rule') return make('hr');
  if (kind === 'code') return renderCode(block);
  if (kind === 'table') return renderTable(lines);
  if (kind === 'ordered' || kind === 'bullets') return renderList(kind, lines, depth);
  if (kind === 'quote') return make('blockquote', {}, ...nested(lines.map((line) => line.replace(kQuote, '')), depth));
  if (kind === 'heading') {
    const [, marks, text] = kHeading.exec(lines[0]);
    return make(`h${Math.min(6, marks.length + 2)}`, {}, ...inline(text)); // h1 and h2 are the page's own
  }
  return make('p', {}, ...inline(lines.map((line) => line.trimStart()).join('\n')));
}

function nested(lines, depth) {
  if (depth >= kMaxDepth) return [make('p', {}, lines.join('\n'))];
  return splitBlocks(lines).map((block) => renderBlock(block, depth + 1));
}

function renderCode({ language, lines }) {
  const text = lines.join('\n');
  // Browsers lend the clipboard to pages of the machine itself and of https alone.
  const copy = make('button', { type: 'button', class: 'quiet', hidden: !navigator.clipboard }, 'Copy');
  copy.onclick = async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = 'Copied';
    setTimeout(() => { copy.textContent = 'Copy'; }, 1500);
  };
  const bar = make('div', { class: 'code-bar' }, make('span', {}, language || 'text'), copy);
  return make('div', { class: 'code' }, bar, make('pre', { tabIndex: 0 }, make('code', {}, text)));
}

function renderList(kind, lines, depth) {
  const indent = indentOf(lines[0]);
  const items = []; // {width, lines}: what stands left of an item's text does not belong to the lines below it
  for (const line of lines) {
    const item = kItem.exec(line);
    if (item && item[1].length <= indent + 1) {
      items.push({ width: item[0].length, lines: [line.slice(item[0].length)] });
    } else {
      const own = items[items.length - 1];
      own.lines.push(line.slice(Math.min(own.width, indentOf(line))));
    }
  }
  const list = make(kind === 'ordered' ? 'ol' : 'ul');
  if (kind === 'ordered') list.start = parseInt(lines[0].trimStart(), 10);
  for (const item of items) {
    const children = nested(item.lines, depth);
    // An item's first paragraph stands without a paragraph's space.
    if (children[0]?.tagName === 'P') children.splice(0, 1, ...children[0].childNodes);
    list.append(make('li', {}, ...children));
  }
  return list;
}

function renderTable(lines) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, '').split('|').map((cell) => cell.trim());
  const sides = cells(lines[1]).map((rule) => {
    if (!rule.endsWith(':')) return 'left';
    return rule.startsWith(':') ? 'center' : 'right';
  });
  const row = (line, tag) => make('tr', {}, ...cells(line).slice(0, sides.length).map(
    (cell, i) => make(tag, { class: `to-${sides[i]}` }, ...inline(cell))));
  const body = lines.slice(2).map((line) => row(line, 'td'));
  return make('div', { class: 'table' },
    make('table', {}, make('thead', {}, row(lines[0], 'th')), make('tbody', {}, ...body)));
}

// One alternative a mark. The texts within are bounded.
const kInline = new RegExp([
  '\\\\(?<escaped>[\\\\`*_{}\\[\\]()#+\\-.!~|<>])',
  '(?<tick>`{1,3})(?<code>[^`]{1,2000}|[^`](?:[^`]|`(?!`)){0,2000}?[^`])\\k<tick>(?!`)',
  '!?\\[(?<label>[^\\[\\]\\n]{0,1000})\\]\\((?<address>[^()\\s]{1,2000}(?:\\([^()\\s]{0,200}\\)[^()\\s]{0,200})?)(?:\\s+"[^"\\n]{0,200}")?\\)',
  '\\*\\*(?<strong>[^\\s*](?:[^*]|\\*(?!\\*)){0,2000}?)\\*\\*(?!\\*)',
  '(?<![\\p{L}\\p{N}_])__(?<strong2>[^\\s_](?:[^_]|_(?!_)){0,2000}?)__(?![\\p{L}\\p{N}_])',
  '~~(?<deleted>[^~]{1,2000})~~',
  '\\*(?<emphasis>[^\\s*](?:[^*]{0,2000}?[^\\s*])?)\\*',
  '(?<![\\p{L}\\p{N}_])_(?<emphasis2>[^\\s_](?:[^_]{0,2000}?[^\\s_])?)_(?![\\p{L}\\p{N}_])',
  '<?(?<bare>https?:\\/\\/[^\\s<>()"\']{0,2000}[^\\s<>()"\'.,;:!?])>?',
].join('|'), 'gu');

/** A text within a block to nodes and strings. */
function inline(text, depth = 0) {
  if (depth >= kMaxDepth) return [text];
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(kInline)) {
    nodes.push(text.slice(end, match.index), ...marked(match, depth));
    end = match.index + match[0].length;
  }
  nodes.push(text.slice(end));
  return nodes.filter((node) => node !== '');
}

function marked(match, depth) {
  const part = match.groups;
  const within = (tag, inner) => [make(tag, {}, ...inline(inner, depth + 1))];
  if (part.escaped !== undefined) return [part.escaped];
  if (part.code !== undefined) return [make('code', {}, part.code)];
  if (part.strong ?? part.strong2) return within('strong', part.strong ?? part.strong2);
  if (part.deleted) return within('del', part.deleted);
  if (part.emphasis ?? part.emphasis2) return within('em', part.emphasis ?? part.emphasis2);
  if (part.bare) return [link(part.bare, [part.bare])];
  if (!/^(https?:\/\/|mailto:)/i.test(part.address)) return [match[0]];
  return [link(part.address, part.label ? inline(part.label, depth + 1) : [part.address])];
}

const link = (address, children) => make('a', { href: address, target: '_blank', rel: 'noopener noreferrer' }, ...children);
