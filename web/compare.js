/* compare.js: the bundle that answers beside the one in the shadow: /v1/shadow. */
'use strict';

const compare = {busy: false, samples: [], chart: null};
const AGREEMENT_WINDOW = 30; /* seconds */

function sideBySide(active, shadow) {
  const names = [...new Set([...active.models, ...shadow.models].map(m => m.name))];
  const has = (side, name) => {
    const m = side.models.find(x => x.name === name);
    return m ? m.kind : 'no';
  };
  const rows = names.map(n => {
    const a = has(active, n), s = has(shadow, n);
    return [n, a, s, a === 'no' ? 'new in the shadow' : s === 'no' ? 'gone in the shadow' : ''];
  });
  const list = b => b.cascade ? b.cascade.join(', ') : 'every model for every pair';
  rows.push(['stages', list(active), list(shadow), list(active) === list(shadow) ? '' : 'differs'],
    ['calibration', active.calibration, shadow.calibration,
      active.calibration === shadow.calibration ? '' : 'differs']);
  return table('Models of the two bundles', ['model', 'active', 'shadow', 'change'], rows);
}

/* Rows: the label that was answered; columns: the shadow's. */
function moves(shadow) {
  const classes = shadow.classes;
  return table('Labels by the active bundle, and by the shadow',
    ['active \\ shadow', ...classes.map(c => ({text: c, class: 'n'}))],
    classes.map((c, i) => [c, ...shadow.labels[i].map((n, j) =>
      ({text: n.toLocaleString('en'), class: 'n' + (i !== j && n ? ' moved' : i === j ? ' same' : '')}))]));
}

/* The share of pairs with the same label, of those judged in the last half minute. */
function agreement(samples, i) {
  let from = i;
  while (from > 0 && samples[i].t - samples[from].t < AGREEMENT_WINDOW) from--;
  const pairs = samples[i].pairs - samples[from].pairs;
  return pairs > 0 ? 1 - (samples[i].differing - samples[from].differing) / pairs : null;
}

function drawAgreement(shadow) {
  const s = compare.samples, last = s[s.length - 1];
  if (last && (last.id !== shadow.id || last.pairs > shadow.pairs)) s.length = 0;
  s.push({t: performance.now() / 1000, id: shadow.id, pairs: shadow.pairs,
    differing: shadow.pairs_differing});
  while (s[s.length - 1].t - s[0].t > LIVE.span) s.shift();
  if (!compare.chart) {
    compare.chart = new LineChart('Same label, of the last half minute', ['share'], {span: LIVE.span,
      most: 1, format: v => percent(v), tick: v => percent(v, 0)});
    $('compare-agree').append(compare.chart.node);
  }
  compare.chart.show(s.map(x => x.t), [s.map((x, i) => agreement(s, i))]);
}

function drawShadow(shadow) {
  const agree = shadow.pairs ? 1 - shadow.pairs_differing / shadow.pairs : null;
  $('compare-tiles').replaceChildren(
    tile('Same label', percent(agree, 2), shadow.pairs.toLocaleString('en') + ' pairs compared'),
    tile('Changed', shadow.pairs_differing.toLocaleString('en'), 'pairs with another label'),
    tile('Distance', shadow.mean_distance === null ? 'n/a' : fixed(shadow.mean_distance, 4),
      'mean total variation'),
    tile('Share', percent(shadow.share), 'of evaluated requests'),
    tile('Dropped', shadow.requests_dropped.toLocaleString('en'), 'requests: the shadow was too slow'),
    tile('Failed', shadow.requests_failed.toLocaleString('en'), 'requests',
      shadow.requests_failed ? 'bad' : ''));
  drawAgreement(shadow);
  $('compare-models').replaceChildren(sideBySide(bundle, shadow));
  $('compare-moves').replaceChildren(moves(shadow));
}

const judged = j => ({text: j.label + ' ' + fixed(j.probability, 3), class: 'whole'});

function drawChanges(list) {
  $('changes').replaceChildren(list.length === 0
    ? el('p', {class: 'muted', text: 'No pair has changed yet.'})
    : table('Pairs whose label would change', ['query', {text: 'locale', class: 'aside'}, 'product', 'active', 'shadow',
      {text: 'distance', class: 'n'}], list.map(c => [c.query, {text: c.locale, class: 'aside'}, c.product,
      judged(c.active), judged(c.shadow),
      {text: fixed(c.distance, 3), class: 'n'}])));
}

async function pollChanges() {
  if (tokens.admin) drawChanges((await askJson('v1/shadow/changes', null, tokens.admin)).changes);
}

async function pollCompare() {
  const shadow = await askJson('v1/shadow');
  if (!bundle || bundle.id !== shadow.active) await refreshBundle();
  $('no-shadow').hidden = shadow.id !== null;
  $('with-shadow').hidden = shadow.id === null;
  $('shadow-id').textContent = shadow.id ? shadow.id.slice(0, 12) : '';
  if (shadow.id === null) return;
  drawShadow(shadow);
  await pollChanges();
}

async function tickCompare() {
  if (compare.busy || document.hidden || view() !== 'compare') return;
  compare.busy = true;
  try {
    await pollCompare();
    setStatus('compare-status', '');
  } catch (e) {
    setStatus('compare-status', e.message, true);
  }
  compare.busy = false;
}

function startCompare() {
  setInterval(tickCompare, 3000);
  $('admin-form').addEventListener('submit', event => {
    event.preventDefault();
    tokens.admin = $('admin-token').value.trim();
    $('admin-token').value = '';
    pollChanges().then(() => setStatus('admin-status', ''), e => {
      tokens.admin = '';
      setStatus('admin-status', e.message, true);
    });
  });
}
