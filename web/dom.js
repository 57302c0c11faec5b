/* dom.js: making elements, writing numbers.
 *
 * Texts enter the page as text nodes only (the policy asks for trusted types and allows none), and
 * sizes by setting properties, not style attributes, which the policy would refuse. */
'use strict';

const $ = id => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'text') node.textContent = value;
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter(c => c !== null && c !== undefined && c !== false));
  return node;
}

const el = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);

const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);

/* rows of cells; a cell is a text, a node, or {text, class, node}. The first cell names its row. */
function table(caption, heads, rows, className) {
  const cell = (tag, c, scope) => {
    const given = c instanceof Node || typeof c !== 'object' || c === null ? {text: c} : c;
    const content = given.node || given.text;
    return el(tag, {class: given.class, scope}, content === null ? '' : content);
  };
  return el('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption},
    el('table', {class: className},
      el('caption', {class: 'unseen', text: caption}),
      el('thead', {}, el('tr', {}, ...heads.map(h => cell('th', h, 'col')))),
      el('tbody', {}, ...rows.map(r => el('tr', {},
        ...r.map((c, i) => i === 0 ? cell('th', c, 'row') : cell('td', c)))))));
}

/* A bar of a share of its track, from 0 to 1. */
function bar(share, className) {
  const inside = el('span', {class: 'fill ' + (className || '')});
  inside.style.width = (100 * Math.max(0, Math.min(1, share || 0))).toFixed(2) + '%';
  return el('span', {class: 'track', 'aria-hidden': 'true'}, inside);
}

/* A bar to the left or right of the middle; `most` is the length of a half. */
function leaning(value, most) {
  const inside = el('span', {class: 'fill ' + (value < 0 ? 'against' : 'for')});
  const share = most > 0 ? 50 * Math.min(1, Math.abs(value) / most) : 0;
  inside.style.width = share.toFixed(2) + '%';
  inside.style.marginLeft = (value < 0 ? 50 - share : 50).toFixed(2) + '%';
  return el('span', {class: 'track middle', 'aria-hidden': 'true'}, inside);
}

const MINUS = '\u2212';
function fixed(x, digits) {
  if (x === null || x === undefined || !Number.isFinite(x)) return 'n/a';
  const text = x.toFixed(digits);
  return Number(text) === 0 ? text.replace('-', '') : text.replace('-', MINUS);
}

function signed(x, digits) {
  const text = fixed(x, digits);
  return text.startsWith(MINUS) || text === 'n/a' ? text : '+' + text;
}

const percent = (x, digits = 1) =>
  x === null || x === undefined || !Number.isFinite(x) ? 'n/a' : fixed(100 * x, digits) + '%';

/* As many decimals as a step of an axis has. */
const decimals = step => Math.max(0, -Math.floor(Math.log10(step) + 1e-9));

/* Three digits that matter: 0.0123, 1.23, 12.3, 123, 1,230. */
function short(x) {
  if (x === null || x === undefined || !Number.isFinite(x)) return 'n/a';
  const size = Math.abs(x);
  if (size >= 100) return Math.round(x).toLocaleString('en');
  return fixed(x, size >= 10 || size === 0 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4);
}

function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return (i === 0 ? n : n.toFixed(1)) + ' ' + units[i];
}

function age(seconds) {
  const s = Math.floor(seconds);
  if (s < 120) return s + ' s';
  if (s < 7200) return Math.floor(s / 60) + ' min';
  if (s < 172800) return Math.floor(s / 3600) + ' h';
  return Math.floor(s / 86400) + ' days';
}

const METRIC_NAMES = {macro_f1: 'macro-F1', accuracy: 'accuracy', log_loss: 'log-loss'};
const lessIsBetter = metric => metric === 'log_loss';
