// Elements made in one expression.
//
// Text becomes text nodes, whatever it spells: nothing of this page writes markup, and the server's
// Content-Security-Policy would not run it if it did.

/** An element with properties (`class`, `dataset` and attributes with a dash or `role` work, too) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === 'class') element.className = value;
    else if (name === 'dataset') Object.assign(element.dataset, value);
    else if (name.includes('-') || name === 'role') element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

/** One of the drawings that index.html defines. */
export function icon(name) {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(space, 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A button that is a drawing; its name is what a screen reader says and what a pointer shows. */
export function iconButton(name, label, onclick) {
  return make('button', { type: 'button', class: 'quiet', title: label, 'aria-label': label, onclick }, icon(name));
}

export const find = (id) => document.getElementById(id);
