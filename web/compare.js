/* compare.js: the bundle that answers beside the one in the shadow: /v1/shadow. */
'use strict';

const compare = {busy: false, changes: null};

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
  $('compare-agree').replaceChildren(bar(agree, 'c0'));
  $('compare-models').replaceChildren(sideBySide(bundle, shadow));
  $('compare-moves').replaceChildren(moves(shadow));
}

function drawChanges(list) {
  $('changes').replaceChildren(list.length === 0
    ? el('p', {class: 'muted', text: 'No pair has changed yet.'})
    : table('Pairs whose label would change', ['query', 'locale', 'product', 'active', 'shadow',
      {text: 'distance', class: 'n'}], list.map(c => [c.query, c.locale, c.product,
      c.active.label + ' ' + fixed(c.active.probability, 3),
      c.shadow.label + ' ' + fixed(c.shadow.probability, 3),
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
