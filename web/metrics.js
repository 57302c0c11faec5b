/* metrics.js: reading OpenMetrics text, and quantiles of its histograms. */
'use strict';

const UNESCAPED = {n: '\n'};

function parseLabels(text) {
  const labels = {};
  for (const [, name, value] of (text || '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
    labels[name] = value.replace(/\\(.)/g, (all, c) => UNESCAPED[c] || c);
  return labels;
}

/* A map from a sample's name to [{labels, value}]. */
function parseMetrics(text) {
  const out = new Map();
  for (const line of text.split('\n')) {
    const m = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!m) continue;
    if (!out.has(m[1])) out.set(m[1], []);
    out.get(m[1]).push({labels: parseLabels(m[2]), value: Number(m[3])});
  }
  return out;
}

/* The sum of a name's samples; 0 where there is none. */
function total(metrics, name, wanted = () => true) {
  let sum = 0;
  for (const s of metrics.get(name) || []) if (wanted(s.labels)) sum += s.value;
  return sum;
}

/* Cumulative counts by upper limit in ascending order, summed over the samples that are wanted. */
function histogram(metrics, name, wanted) {
  const counts = new Map();
  for (const s of metrics.get(name + '_bucket') || []) {
    if (!wanted(s.labels)) continue;
    const limit = s.labels.le === '+Inf' ? Infinity : Number(s.labels.le);
    counts.set(limit, (counts.get(limit) || 0) + s.value);
  }
  return [...counts].sort((a, b) => a[0] - b[0]);
}

/* What came to `after` since `before`, whose buckets may be missing. */
function since(after, before) {
  const old = new Map(before);
  return after.map(([limit, n]) => [limit, n - (old.get(limit) || 0)]);
}

/* Where the share q of the counts lies, evenly spread within its bucket; null where nothing was
 * counted. Beyond the last limit that limit is told: it is at least that. */
function quantile(buckets, q) {
  const n = buckets.length ? buckets[buckets.length - 1][1] : 0;
  if (!(n > 0)) return null;
  let low = 0, below = 0;
  for (const [limit, count] of buckets) {
    if (count >= q * n && count > below)
      return limit === Infinity ? low : low + (limit - low) * (q * n - below) / (count - below);
    low = limit;
    below = count;
  }
  return low;
}
