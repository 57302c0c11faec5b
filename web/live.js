/* live.js: what the server does now, from /metrics and /v1/models, asked every two seconds. */
'use strict';

const LIVE = {every: 2, span: 300, window: 10}; /* seconds; percentiles are of the window */
const live = {samples: [], charts: null, paused: false, timer: null, busy: false};

/* Routes that judge pairs: the others (metrics, this page) would blur the percentiles. */
const judges = labels => /classify|rank|infer/.test(labels.route || labels.path || '');

function takeSample(m) {
  const pairs = total(m, 'medley_pairs_classified_total');
  const judged = total(m, 'medley_http_requests_total', judges);
  const failed = l => /^5|^429|^other/.test(l.status);
  return {
    t: performance.now() / 1000,
    judged,
    other: total(m, 'medley_http_requests_total') - judged,
    failed: total(m, 'medley_http_requests_total', failed),
    refused: total(m, 'medley_http_requests_total', l => /^4/.test(l.status) && !failed(l)),
    latency: histogram(m, 'medley_http_request_duration_seconds', judges),
    pairs,
    evaluated: total(m, 'medley_pairs_classified_total', l => l.source === 'bundle'),
    cached: total(m, 'medley_pairs_classified_total', l => l.source === 'cache'),
    uptime: total(m, 'medley_uptime_seconds'),
    models: new Map((m.get('medley_bundle_model_info') || []).map(s => [s.labels.model,
      histogram(m, 'medley_model_duration_seconds', l => l.model === s.labels.model)])),
  };
}

function rate(samples, i, field) {
  if (i === 0) return null;
  const a = samples[i - 1], b = samples[i];
  return (b[field] - a[field]) / (b.t - a.t);
}

/* The sample from which the window that ends at i begins. */
function windowStart(samples, i) {
  let from = i;
  while (from > 0 && samples[i].t - samples[from].t < LIVE.window) from--;
  return samples[from];
}

function percentile(samples, i, q) {
  const from = windowStart(samples, i);
  const seconds = quantile(since(samples[i].latency, from.latency), q);
  return seconds === null ? null : 1000 * seconds;
}

function hitRate(samples, i) {
  const from = windowStart(samples, i), pairs = samples[i].pairs - from.pairs;
  return pairs > 0 ? (samples[i].cached - from.cached) / pairs : null;
}

function remember(sample) {
  const s = live.samples, last = s[s.length - 1];
  if (last && sample.uptime < last.uptime) s.length = 0; /* another process: it counts from 0 */
  s.push(sample);
  while (sample.t - s[0].t > LIVE.span) s.shift();
}

function makeCharts() {
  const options = format => ({span: LIVE.span, format});
  live.charts = {
    requests: new LineChart('Requests a second', ['judging', 'other'], options(short)),
    latency: new LineChart('Latency of judging requests, ms', ['p50', 'p95', 'p99'],
      options(short)),
    cache: new LineChart('Pairs answered from the cache', ['share'],
      {span: LIVE.span, most: 1, format: v => percent(v, 0), tick: v => percent(v, 0)}),
    pairs: new LineChart('Pairs a second', ['all', 'evaluated'], options(short)),
  };
  $('charts').replaceChildren(...Object.values(live.charts).map(c => c.node));
}

function drawCharts() {
  const s = live.samples, times = s.map(x => x.t);
  const each = f => s.map((x, i) => f(i));
  const {requests, latency, cache, pairs} = live.charts;
  requests.show(times, ['judged', 'other'].map(k => each(i => rate(s, i, k))));
  latency.show(times, [0.5, 0.95, 0.99].map(q => each(i => percentile(s, i, q))));
  cache.show(times, [each(i => hitRate(s, i))]);
  pairs.show(times, ['pairs', 'evaluated'].map(k => each(i => rate(s, i, k))));
}

function tile(name, value, note, className) {
  return el('div', {class: 'tile ' + (className || '')}, el('dt', {text: name}),
    el('dd', {}, el('b', {text: value}), note ? el('small', {text: note}) : null));
}

function drawTiles(m) {
  const s = live.samples, i = s.length - 1, now = s[i];
  const gauge = name => total(m, name);
  const bad = rate(s, i, 'failed');
  $('tiles').replaceChildren(
    tile('Judging', rate(s, i, 'judged') === null ? 'n/a' : short(rate(s, i, 'judged')) + ' /s',
      now.judged.toLocaleString('en') + ' in all' + (gauge('medley_pairs_late_total')
        ? ', ' + gauge('medley_pairs_late_total').toLocaleString('en') + ' pairs late' : '')),
    tile('p50', percentile(s, i, 0.5) === null ? 'n/a' : short(percentile(s, i, 0.5)) + ' ms',
      'last ' + LIVE.window + ' s'),
    tile('p99', percentile(s, i, 0.99) === null ? 'n/a' : short(percentile(s, i, 0.99)) + ' ms',
      'last ' + LIVE.window + ' s'),
    tile('Cache hits', percent(hitRate(s, i)),
      gauge('medley_cache_entries').toLocaleString('en') + ' pairs, ' +
      bytes(gauge('medley_cache_bytes'))),
    tile('Failed', bad === null ? 'n/a' : short(bad) + ' /s',
      now.failed.toLocaleString('en') + ' failed, ' + now.refused.toLocaleString('en') +
      ' refused in all', bad > 0 ? 'bad' : ''),
    tile('Waiting', gauge('medley_queue_length').toLocaleString('en'),
      gauge('medley_http_requests_in_flight') + ' in flight'),
    tile('Memory', bytes(gauge('process_resident_memory_bytes')), 'resident'),
    tile('Up', age(now.uptime), gauge('medley_bundle_changes_total') + ' bundle changes'));
}

/* ---- models ------------------------------------------------------------------------------ */

/* What a model took in the time that the charts know; before it was asked in that time, what it took since
 * the bundle was opened, as /v1/models says. */
function modelTimes(model) {
  const s = live.samples, now = s[s.length - 1].models.get(model.name) || [];
  const recent = since(now, s[0].models.get(model.name) || []);
  const ms = q => quantile(recent, q) === null ? null : 1000 * quantile(recent, q);
  const told = model.latency || {};
  return ms(0.5) === null ? [told.p50_ms, told.p99_ms] : [ms(0.5), ms(0.99)];
}

/* Breakers and times are told by /v1/models too; counts of failures by /metrics. */
function modelRow(model, m) {
  const mine = l => l.model === model.name;
  const count = name => m.has(name) && m.get(name).some(s => mine(s.labels))
    ? total(m, name, mine).toLocaleString('en') : 'n/a';
  const [p50, p99] = modelTimes(model);
  const state = model.breaker || 'none';
  return [model.name, {text: model.kind, class: 'aside'},
    {text: short(p50), class: 'n'}, {text: short(p99), class: 'n'},
    {node: el('span', {class: 'state ' + state, text: state === 'none' ? 'in process' : state})},
    {text: count('medley_model_failures_total'), class: 'n'},
    {text: count('medley_model_retries_total'), class: 'n aside'}];
}

function drawModels(models, m) {
  $('models').replaceChildren(table('Models', ['model', {text: 'kind', class: 'aside'}, {text: 'p50, ms', class: 'n'},
    {text: 'p99, ms', class: 'n'}, 'breaker', {text: 'failures', class: 'n'},
    {text: 'retries', class: 'n aside'}], models.map(x => modelRow(x, m))));
}

/* ---- the tiers of the cache --------------------------------------------------------------- */

function tierRow(tier, m) {
  const mine = l => l.tier === tier;
  const of = name => total(m, 'medley_cache_tier_' + name, mine);
  const found = of('hits_total'), looked = found + of('misses_total');
  const p99 = quantile(histogram(m, 'medley_cache_tier_lookup_seconds', mine), 0.99);
  const up = of('up') === 1;
  return [tier, {node: el('span', {class: 'state ' + (up ? 'closed' : 'open'), text: up ? 'yes' : 'no'})},
    {text: of('entries').toLocaleString('en'), class: 'n'}, {text: bytes(of('bytes')), class: 'n'},
    {text: looked ? percent(found / looked) : 'n/a', class: 'n'},
    {text: p99 === null ? 'n/a' : short(1000 * p99), class: 'n'},
    {text: of('waiting').toLocaleString('en'), class: 'n aside'},
    {text: of('errors_total').toLocaleString('en'), class: 'n'}];
}

function drawTiers(m) {
  const tiers = (m.get('medley_cache_tier_up') || []).map(s => s.labels.tier);
  $('tiers-card').hidden = tiers.length === 0;
  $('tiers').replaceChildren(table('Tiers of the cache', ['tier', 'up', {text: 'pairs', class: 'n'},
    {text: 'size', class: 'n'}, {text: 'found', class: 'n'}, {text: 'p99, ms', class: 'n'},
    {text: 'waiting', class: 'n aside'}, {text: 'errors', class: 'n'}], tiers.map(t => tierRow(t, m))));
}

/* ---- asking ------------------------------------------------------------------------------ */

async function pollLive() {
  const [text, models] = await Promise.all([
    ask('metrics').then(r => r.text()), askJson('v1/models')]);
  const m = parseMetrics(text);
  if (!live.charts) makeCharts();
  remember(takeSample(m));
  drawCharts();
  drawTiles(m);
  drawModels(models.models, m);
  drawTiers(m);
  drawDrift(m);
  const active = (m.get('medley_bundle_info') || [])[0];
  if (bundle && active && active.labels.id !== bundle.id) refreshBundle().catch(() => {});
}

/* Population stability of each model, and the other drift figures, where the server has them. */
function drawDrift(m) {
  const rows = [];
  for (const [name, samples] of m) {
    if (!/^medley_drift_|_psi$|^medley_population_stability/.test(name)) continue;
    for (const s of samples)
      rows.push([name.replace(/^medley_(drift_)?/, '').replace(/_/g, ' '),
        Object.values(s.labels).join(', '), {text: short(s.value), class: 'n'}]);
  }
  $('drift-card').hidden = rows.length === 0;
  $('drift').replaceChildren(table('Drift', ['figure', 'of', {text: 'value', class: 'n'}], rows));
}

/* One question at a time, none while nobody looks. */
async function tick() {
  if (live.busy || live.paused || document.hidden || view() !== 'live') return;
  live.busy = true;
  try {
    await pollLive();
    setStatus('live-status', '');
  } catch (e) {
    setStatus('live-status', e.message, true);
  }
  live.busy = false;
}

function startLive() {
  $('pause').addEventListener('click', () => {
    live.paused = !live.paused;
    $('pause').textContent = live.paused ? 'Go on' : 'Pause';
    tick();
  });
  live.timer = setInterval(tick, 1000 * LIVE.every);
  document.addEventListener('visibilitychange', tick);
}
