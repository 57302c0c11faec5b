/* try.js: a query, products, and what the ensemble says of them and why. */
'use strict';

const trying = {names: [], answer: null};

const lines = id => $(id).value.split('\n').map(s => s.trim()).filter(s => s);
const chosen = name => document.querySelector(`input[name=${name}]:checked`).value;

function requestBody(names) {
  const kind = chosen('kind');
  const body = {query: $('query').value, locale: $('locale').value,
    products: names.map(s => ({[kind]: s})), explain: $('explain').checked};
  const boxes = [...document.querySelectorAll('#ask-models input')];
  const asked = boxes.filter(b => b.checked).map(b => b.value);
  if (boxes.length && asked.length < boxes.length) body.models = asked;
  if ($('deadline').value) body.deadline_ms = Number($('deadline').value);
  if (!$('use-cache').checked) body.cache = 'off';
  return body;
}

/* Classes from the most probable down. */
const byProbability = r =>
  Object.keys(r.probabilities).sort((a, b) => r.probabilities[b] - r.probabilities[a]);

/* What each player adds to what the bars show: a class's margin, or the lead of the label. */
function shares(r, towards) {
  const [first, second] = byProbability(r);
  return Object.entries(r.contributions).map(([player, c]) => ({player,
    value: towards === 'lead' ? c[first] - c[second] : c[towards === 'label' ? r.label : towards]}));
}

function why(r) {
  const [first, second] = byProbability(r);
  const sorted = shares(r, 'lead').sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const told = list => list.slice(0, 3).map(s => s.player + ' ' + signed(s.value, 2)).join(', ');
  const pro = sorted.filter(s => s.value > 0.005), con = sorted.filter(s => s.value < -0.005);
  return `${first} rather than ${second} by ${fixed(r.margins[first] - r.margins[second], 2)}` +
    (pro.length ? ': for it ' + told(pro) : '') + (con.length ? '; against it ' + told(con) : '') +
    '.';
}

function stageText(r) {
  const order = bundle && bundle.cascade;
  if (!r.cascade_stage || !order) return null;
  return `stopped at stage ${r.cascade_stage} of ${order.length} (` +
    order.slice(0, r.cascade_stage).join(', ') + ')';
}

function originText(r) {
  const parts = [];
  if (r.cached) parts.push('from the cache, ' + age(r.age_s) + ' old');
  else parts.push(r.models_used.length ? 'by ' + r.models_used.join(', ') : 'by no model');
  const stage = stageText(r);
  if (stage) parts.push(stage);
  if ((r.models_failed || []).length) parts.push('no answer from ' + r.models_failed.join(', '));
  if ((r.models_late || []).length) parts.push('too late: ' + r.models_late.join(', '));
  if ((r.models_precomputed || []).length)
    parts.push('embeddings made ahead: ' + r.models_precomputed.join(', '));
  if (r.known_product === false) parts.push('this product is not known: its label says little');
  return parts.join(' \u00b7 ');
}

const classNumber = name => bundle
  ? bundle.classes.findIndex(c => c.name === name) % 8 : 0;

function probabilities(r) {
  return el('ul', {class: 'bars'}, ...Object.entries(r.probabilities).map(([name, p]) =>
    el('li', {class: name === r.label ? 'first' : ''}, el('span', {text: name}),
      bar(p, 'c' + classNumber(name)), el('span', {class: 'n', text: fixed(p, 3)}))));
}

function contributions(r, towards) {
  const list = shares(r, towards);
  const most = Math.max(...list.map(s => Math.abs(s.value)), 0.1);
  return el('ul', {class: 'bars wide'}, ...list.map(s =>
    el('li', {}, el('span', {text: s.player}), leaning(s.value, most),
      el('span', {class: 'n', text: signed(s.value, 2)}))));
}

function resultCard(name, r) {
  if (r.label === null)
    return el('li', {class: 'card result'}, el('h3', {text: name}),
      el('p', {class: 'muted', text: 'not remembered, and nothing was evaluated'}));
  const towards = $('towards').value;
  return el('li', {class: 'card result'},
    el('h3', {}, el('span', {class: 'chip c' + classNumber(r.label), text: r.label}), ' ' + name),
    el('div', {class: 'halves'},
      el('div', {}, el('h4', {text: 'Probabilities'}), probabilities(r)),
      r.contributions ? el('div', {}, el('h4', {text: towards === 'lead'
        ? 'Added to the lead of ' + r.label
        : 'Added to the margin of ' + (towards === 'label' ? r.label : towards)}),
      contributions(r, towards)) : null),
    r.contributions ? el('p', {text: why(r)}) : null,
    el('p', {class: 'muted', text: originText(r)}));
}

function drawResults() {
  const {names, answer} = trying;
  if (!answer) return;
  const rows = answer.results.map((r, i) => [names[i], r]);
  if ($('order').value === 'gain')
    rows.sort((a, b) => (b[1].expected_gain || 0) - (a[1].expected_gain || 0));
  $('results').replaceChildren(...rows.map(([name, r]) => resultCard(name, r)));
  $('result-tools').hidden = false;
}

async function classify(event) {
  event.preventDefault();
  const names = lines('products');
  setStatus('try-status', 'judging ...');
  $('go').disabled = true;
  try {
    if (!bundle) await refreshBundle();
    trying.answer = await askJson('v1/classify', requestBody(names));
    trying.names = names;
    drawResults();
    const n = trying.answer.results.length;
    setStatus('try-status', n + (n === 1 ? ' product in ' : ' products in ') +
      short(trying.answer.took_ms) + ' ms');
  } catch (e) {
    $('results').replaceChildren();
    $('result-tools').hidden = true;
    setStatus('try-status', e.message, true);
  }
  $('go').disabled = false;
}

/* The models to ask and the classes to explain are the bundle's. */
function offerChoices() {
  $('ask-models').replaceChildren(el('legend', {text: 'Models to ask'}),
    ...bundle.models.map(m => el('label', {class: 'inline'},
      el('input', {type: 'checkbox', value: m.name, checked: true}), m.name)));
  $('towards').replaceChildren(el('option', {value: 'label', text: 'its label'}),
    el('option', {value: 'lead', text: 'its label rather than the next'}),
    ...bundle.classes.map(c => el('option', {value: c.name, text: c.name})));
}

function startTry() {
  $('form').addEventListener('submit', classify);
  for (const id of ['towards', 'order']) $(id).addEventListener('change', drawResults);
}
