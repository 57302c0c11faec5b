/* ensemble.js: what each model is worth, the Pareto front of subsets, and what another budget would
 * keep: /v1/ensemble, which is what `medley rank` and `medley select` found. */
'use strict';

const ensemble = {data: null, latencies: []};
const PLOT = {height: 320, left: 56, right: 14, top: 12, bottom: 40};

/* ---- ranking ----------------------------------------------------------------------------- */

/* A bar from zero to the value with its interval as a whisker, on a scale that all rows share. */
function intervalBar(e, low, high) {
  const at = v => (100 * (v - low) / (high - low || 1)).toFixed(2);
  const from = Math.min(0, e.value), to = Math.max(0, e.value);
  return svg('svg', {class: 'interval', viewBox: '0 0 100 12', preserveAspectRatio: 'none',
    'aria-hidden': 'true'},
  svg('rect', {class: 'worth', x: at(from), y: 2, width: at(to) - at(from), height: 8}),
  svg('path', {class: 'whisker', d: `M${at(e.low)} 6H${at(e.high)}M${at(e.low)} 3V9M${at(e.high)} 3V9`}),
  svg('path', {class: 'zero', d: `M${at(0)} 0V12`}));
}

function rankingRows(metric) {
  const {ranking} = ensemble.data;
  const contributed = new Map(ranking.models.map(m => [m.name, m]));
  const players = ranking.worth && ranking.worth.players || [];
  if (!players.length)
    return ranking.models.map(m => ({name: m.name, kind: m.kind, contribution: m,
      worth: {value: m.mean_abs_contribution, low: m.ci95[0], high: m.ci95[1]}}));
  const sign = lessIsBetter(metric) ? -1 : 1;
  return players.map(p => {
    const e = p[metric].shapley;
    const worth = {value: sign * e.value, low: sign * (sign > 0 ? e.low : e.high),
      high: sign * (sign > 0 ? e.high : e.low)};
    const l = p[metric].leave_one_out;
    return {name: p.name, kind: p.kind, worth, alone: l && sign * l.value,
      contribution: contributed.get(p.name)};
  }).sort((a, b) => b.worth.value - a.worth.value);
}

function drawRanking() {
  const metric = $('metric').value, {ranking, selection} = ensemble.data;
  $('ranking-card').hidden = !ranking;
  if (!ranking) return;
  const rows = rankingRows(metric), refits = ranking.worth && ranking.worth.players;
  const low = Math.min(0, ...rows.map(r => r.worth.low));
  const high = Math.max(0, ...rows.map(r => r.worth.high));
  const kept = new Set(selection ? selection.selected : []);
  $('ranking-note').textContent = refits
    ? `What each model adds to ${METRIC_NAMES[metric]} out of fold: its Shapley value over refits of` +
      ' the ensemble, with a 95% interval; on the right what is lost when it alone is left out, and' +
      ' how much it moves the margins of a pair.'
    : 'How much each model moves the margins of a pair, with a 95% interval.';
  $('ranking').replaceChildren(table('Ranking of the models', ['model', {text: 'kind', class: 'aside'},
    'kept',
    {text: 'worth', class: 'grow'}, {text: 'value', class: 'n'}, {text: '95% interval', class: 'n'},
    {text: 'left out', class: 'n'}, {text: 'moves', class: 'n'}],
  rows.map(r => [r.name, {text: r.kind, class: 'aside'}, kept.has(r.name) ? 'yes' : 'no',
    {node: intervalBar(r.worth, low, high), class: 'grow'},
    {text: signed(r.worth.value, 4), class: 'n'},
    {text: signed(r.worth.low, 4) + ' to ' + signed(r.worth.high, 4), class: 'n'},
    {text: Number.isFinite(r.alone) ? signed(-r.alone, 4) : 'n/a', class: 'n'},
    {text: r.contribution ? short(r.contribution.mean_abs_contribution) : 'n/a', class: 'n'}])));
}

/* ---- what a budget keeps ------------------------------------------------------------------ */

const better = (a, b, metric) => lessIsBetter(metric) ? a[metric] < b[metric]
  : a[metric] > b[metric];

/* The front by this metric: each subset that none as quick is better than. */
function front(subsets, metric) {
  const out = [];
  for (const s of [...subsets].sort((a, b) => a.latency_ms - b.latency_ms ||
      (better(a, b, metric) ? -1 : 1)))
    if (!out.length || better(s, out[out.length - 1], metric)) out.push(s);
  return out;
}

/* The best subset within the limits; of those that lose no more than `loss` beside it the quickest. */
function choose(subsets, metric, limits) {
  const fits = subsets.filter(s => s.models.length && s.latency_ms <= limits.latency &&
    s.models.length <= limits.models && s.memory_bytes <= limits.memory);
  if (!fits.length) return null;
  const best = fits.reduce((a, b) => better(b, a, metric) ? b : a);
  return fits.filter(s => Math.abs(s[metric] - best[metric]) <= limits.loss)
    .reduce((a, b) => b.latency_ms < a.latency_ms ||
      (b.latency_ms === a.latency_ms && better(b, a, metric)) ? b : a);
}

/* The sliders go through the values that occur, so that each step changes something. */
function limits() {
  const l = ensemble.latencies, m = ensemble.memories;
  return {latency: l[Math.min($('limit-latency').value, l.length - 1)],
    models: Number($('limit-models').value),
    memory: m[Math.min($('limit-memory').value, m.length - 1)],
    loss: Number($('limit-loss').value) || 0};
}

const sameModels = (a, b) => a.length === b.length && a.every(x => b.includes(x));

function metricRow(name, s, metric) {
  return [name, s.models ? s.models.join(', ') || 'none' : '', {text: fixed(s[metric], 4), class: 'n'},
    {text: short(s.latency_ms), class: 'n'},
    {text: s.memory_bytes === undefined ? 'n/a' : bytes(s.memory_bytes), class: 'n'}];
}

function drawBudget() {
  const metric = $('metric').value, {selection} = ensemble.data;
  $('front-card').hidden = $('budget-card').hidden = !selection;
  if (!selection) return;
  const subsets = selection.subsets, limit = limits();
  const kept = choose(subsets, metric, limit);
  const selected = subsets.find(s => sameModels(s.models, selection.selected));
  const all = subsets.reduce((a, b) => b.models.length > a.models.length ? b : a);
  $('limit-latency-text').textContent = short(limit.latency) + ' ms';
  $('limit-memory-text').textContent = bytes(limit.memory);
  for (const [id, text] of [['limit-latency', short(limit.latency) + ' milliseconds'],
    ['limit-memory', bytes(limit.memory)]])
    $(id).setAttribute('aria-valuetext', text);
  $('kept').textContent = kept
    ? 'Keeps ' + kept.models.join(', ') + (sameModels(kept.models, selection.selected)
      ? ': what was selected.' : '; leaves out ' +
      (all.models.filter(m => !kept.models.includes(m)).join(', ') || 'none') + '.')
    : 'Nothing fits.';
  const rows = [metricRow('all models', all, metric)];
  if (selected) rows.push(metricRow('selected', selected, metric));
  if (kept) rows.push(metricRow('this budget', kept, metric));
  $('budget-table').replaceChildren(table('What a budget keeps', ['ensemble', 'models',
    {text: METRIC_NAMES[metric], class: 'n'}, {text: 'ms a list', class: 'n'},
    {text: 'memory', class: 'n'}], rows));
  drawFront(subsets, metric, selected, kept, limit.latency);
}

/* ---- the front ---------------------------------------------------------------------------- */

/* 1, 2 and 5 times powers of ten, or even steps where the range is too narrow for those. */
function logTicks(low, high) {
  const out = [], step = niceStep(high - low, 5);
  for (let v = Math.ceil(low / step) * step; high / low < 6 && v <= high; v += step) out.push(v);
  if (out.length) return out;
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++)
    for (const m of [1, 2, 5]) {
      const v = m * 10 ** p;
      if (v >= low && v <= high) out.push(v);
    }
  return out;
}

function frontScales(points, metric, width) {
  const xs = points.map(s => Math.max(s.latency_ms, 1e-4));
  const ys = points.map(s => s[metric]);
  const room = Math.max(1.01, (Math.max(...xs) / Math.min(...xs)) ** 0.05);
  const low = Math.min(...xs) / room, high = Math.max(...xs) * room;
  const bottom = Math.min(...ys), top = Math.max(...ys), pad = (top - bottom || 0.01) * 0.06;
  const wide = width - PLOT.left - PLOT.right, tall = PLOT.height - PLOT.top - PLOT.bottom;
  return {low, high, bottom: bottom - pad, top: top + pad,
    x: v => PLOT.left + wide * Math.log(Math.max(v, 1e-4) / low) / Math.log(high / low),
    y: v => PLOT.top + tall * (1 - (v - bottom + pad) / (top - bottom + 2 * pad || 1))};
}

function frontAxes(scale, metric, width) {
  const out = [], base = PLOT.height - PLOT.bottom;
  const step = niceStep(scale.top - scale.bottom, 5);
  for (let v = Math.ceil(scale.bottom / step) * step; v <= scale.top; v += step)
    out.push(svg('path', {class: 'grid', d: `M${PLOT.left} ${scale.y(v).toFixed(1)}H${width - PLOT.right}`}),
      svg('text', {class: 'tick end', x: PLOT.left - 6, y: scale.y(v).toFixed(1),
        text: fixed(v, decimals(step))}));
  let right = 0;
  for (const v of logTicks(scale.low, scale.high)) {
    if (scale.x(v) < right) continue;
    right = scale.x(v) + 44;
    out.push(svg('path', {class: 'grid', d: `M${scale.x(v).toFixed(1)} ${PLOT.top}V${base}`}),
      svg('text', {class: 'tick centre', x: scale.x(v).toFixed(1), y: base + 14,
        text: String(Number(v.toPrecision(3)))}));
  }
  out.push(svg('text', {class: 'tick centre', x: (PLOT.left + width - PLOT.right) / 2,
    y: PLOT.height - 9, text: 'milliseconds a list, p50 (logarithmic)'}));
  return out;
}

function drawFront(subsets, metric, selected, kept, latency) {
  const plot = $('front'), width = plot.clientWidth;
  if (!width) return;
  const asked = subsets.filter(s => s.models.length);
  const line = front(asked, metric), onLine = new Set(line);
  const scale = frontScales(asked, metric, width);
  const at = s => [scale.x(s.latency_ms).toFixed(1), scale.y(s[metric]).toFixed(1)];
  const told = s => s.models.join(', ') + ': ' + fixed(s[metric], 4) + ', ' + short(s.latency_ms) + ' ms';
  const dot = (s, r, name) => svg('circle', {class: name, cx: at(s)[0], cy: at(s)[1], r},
    svg('title', {text: told(s)}));
  const limit = Math.min(scale.x(latency), width - PLOT.right).toFixed(1);
  plot.setAttribute('viewBox', `0 0 ${width} ${PLOT.height}`);
  plot.replaceChildren(...frontAxes(scale, metric, width),
    ...asked.filter(s => !onLine.has(s)).map(s => dot(s, 2.5, 'subset')),
    svg('path', {class: 'front', d: 'M' + line.map(s => at(s).join(' ')).join('L')}),
    ...line.map(s => dot(s, 4.5, 'best')),
    svg('path', {class: 'limit', d: `M${limit} ${PLOT.top}V${PLOT.height - PLOT.bottom}`}));
  if (selected)
    plot.append(svg('path', {class: 'selected', d: `M${at(selected).join(' ')}m0-9l9 9l-9 9l-9-9z`}));
  if (kept) plot.append(dot(kept, 10, 'kept'));
  plot.setAttribute('aria-label', `${asked.length} subsets by ${METRIC_NAMES[metric]} and latency; ` +
    `${line.length} are on the front, listed below`);
  $('front-table').replaceChildren(table('The Pareto front', ['models',
    {text: METRIC_NAMES[metric], class: 'n'}, {text: 'ms a list', class: 'n'},
    {text: 'memory', class: 'n'}], line.map(s => metricRow(s.models.join(', '), s, metric)
    .filter((c, i) => i !== 1))));
}

/* ---- the start --------------------------------------------------------------------------- */

const distinct = values => [...new Set(values)].sort((a, b) => a - b);

function setLimits(selection) {
  const asked = selection.subsets.filter(s => s.models.length);
  ensemble.latencies = distinct(asked.map(s => s.latency_ms));
  ensemble.memories = distinct(asked.map(s => s.memory_bytes));
  const most = Math.max(...asked.map(s => s.models.length));
  const budget = selection.budget || {};
  const slide = (id, values, limit) => Object.assign($(id), {min: 0, max: values.length - 1, step: 1,
    value: Math.max(0, limit ? values.filter(v => v <= limit).length - 1 : values.length - 1)});
  slide('limit-latency', ensemble.latencies, budget.latency_ms);
  slide('limit-memory', ensemble.memories, budget.memory_bytes);
  $('limit-models').replaceChildren(...Array.from({length: most}, (x, i) =>
    el('option', {value: most - i, text: String(most - i)})));
  if (budget.top) $('limit-models').value = Math.min(most, budget.top);
  if (METRIC_NAMES[selection.metric]) $('metric').value = selection.metric;
}

function drawEnsemble() {
  if (!ensemble.data) return;
  drawRanking();
  drawBudget();
}

async function showEnsemble() {
  if (ensemble.data && bundle && ensemble.data.bundle === bundle.id) return drawEnsemble();
  try {
    ensemble.data = await askJson('v1/ensemble');
    if (ensemble.data.selection) setLimits(ensemble.data.selection);
    drawEnsemble();
    setStatus('ensemble-status', ensemble.data.ranking || ensemble.data.selection ? ''
      : 'This bundle does not say how it was chosen: write it anew with "medley select".');
  } catch (e) {
    setStatus('ensemble-status', e.message, true);
  }
}

function startEnsemble() {
  $('metric').addEventListener('change', drawEnsemble);
  for (const id of ['limit-latency', 'limit-models', 'limit-memory', 'limit-loss'])
    $(id).addEventListener('input', drawBudget);
  new ResizeObserver(() => {
    if (ensemble.data && ensemble.data.selection) drawBudget();
  }).observe($('front'));
}
