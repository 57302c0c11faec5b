/* chart.js: lines over the last minutes, as SVG, so that colours come from the style sheet (light,
 * dark, high contrast) and texts stay sharp. A chart is a slider too: arrow keys or the pointer move
 * a cursor, and the figures there are read out. web/README.md says why this is our own. */
'use strict';

const CHART = {height: 168, left: 46, right: 10, top: 8, bottom: 22};

/* 1, 2 or 5 times a power of ten, for about `n` steps up to `most`. */
function niceStep(most, n) {
  const rough = most / n, power = 10 ** Math.floor(Math.log10(rough));
  for (const m of [1, 2, 5, 10]) if (m * power >= rough) return m * power;
  return 10 * power;
}

/* series: names. span: seconds that are shown. most: the top of the scale, else the values decide.
 * format: a value as text; tick: one of the scale, where that is not just a number. */
class LineChart {
  constructor(title, series, {span, most, format, tick}) {
    Object.assign(this, {title, series, span, longest: span, most, format, tick, times: [], values: [], at: null});
    this.plot = svg('svg', {class: 'plot', height: CHART.height, tabindex: '0', role: 'slider',
      'aria-label': title, 'aria-valuemin': -span, 'aria-valuemax': 0, 'aria-valuenow': 0,
      'aria-valuetext': 'no data yet'});
    this.legend = el('ul', {class: 'legend'});
    this.when = el('span', {class: 'when'});
    this.node = el('figure', {class: 'card chart'},
      el('figcaption', {}, title, this.when), this.plot, this.legend);
    this.numbers = series.map((s, i) => {
      const number = el('b', {text: 'n/a'});
      this.legend.append(el('li', {}, svg('svg', {width: 22, height: 10, 'aria-hidden': 'true'},
        svg('path', {d: 'M0 5H22', class: 'line s' + i})), s + ' ', number));
      return number;
    });
    this.plot.addEventListener('pointermove', e => this.point(e));
    this.plot.addEventListener('pointerleave', () => this.move(null));
    this.plot.addEventListener('blur', () => this.move(null));
    this.plot.addEventListener('keydown', e => this.key(e));
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  /* times in seconds, ascending, the last is now; values[series][time], null: unknown. What is seen
   * grows by whole minutes up to the longest span. */
  show(times, values) {
    const past = times[times.length - 1] - times[0];
    Object.assign(this, {times, values,
      span: Math.min(this.longest, 60 * Math.max(1, Math.ceil(past / 60)))});
    this.plot.setAttribute('aria-valuemin', -this.span);
    this.draw();
  }

  x(t) {
    const wide = this.width - CHART.left - CHART.right, now = this.times[this.times.length - 1];
    return CHART.left + wide * (1 - (now - t) / this.span);
  }

  y(v) {
    return CHART.top + (CHART.height - CHART.top - CHART.bottom) * (1 - v / this.top);
  }

  scale() {
    let most = this.most || 0;
    for (const line of this.most ? [] : this.values)
      for (const v of line) if (v > most) most = v;
    this.step = niceStep(most > 0 ? most : 1, 4);
    this.top = this.most || this.step * Math.ceil((most > 0 ? most : 1) / this.step);
  }

  grid() {
    const out = [], right = this.width - CHART.right;
    for (let v = 0; v <= this.top * 1.0001; v += this.step) {
      const y = this.y(v).toFixed(1);
      out.push(svg('path', {class: 'grid', d: `M${CHART.left} ${y}H${right}`}),
        svg('text', {x: CHART.left - 6, y, class: 'tick end',
          text: this.tick ? this.tick(v) : fixed(v, decimals(this.step))}));
    }
    const step = this.span <= 60 ? 15 : this.span <= 120 ? 30 : 60;
    for (let s = 0; s <= this.span; s += step) {
      const x = this.x(this.times[this.times.length - 1] - s).toFixed(1);
      out.push(svg('text', {x, y: CHART.height - 6,
        class: 'tick ' + (s === 0 ? 'end' : 'centre'),
        text: s === 0 ? 'now' : MINUS + (s % 60 ? s + ' s' : s / 60 + ' min')}));
    }
    return out;
  }

  path(line) {
    let d = '', pen = false;
    line.forEach((v, i) => {
      if (v === null) {
        pen = false;
        return;
      }
      d += (pen ? 'L' : 'M') + this.x(this.times[i]).toFixed(1) + ' ' +
        this.y(Math.min(v, this.top)).toFixed(1);
      if (!pen && (i === line.length - 1 || line[i + 1] === null)) d += 'h.01';
      pen = true;
    });
    return d;
  }

  draw(moved) {
    this.width = this.plot.clientWidth;
    if (!this.width || this.times.length === 0) return;
    this.plot.setAttribute('viewBox', `0 0 ${this.width} ${CHART.height}`);
    this.scale();
    this.plot.replaceChildren(...this.grid(), ...this.values.map((line, i) =>
      svg('path', {class: 'line s' + i, d: this.path(line)})));
    this.tell(moved);
  }

  /* The figures at the cursor, or the newest. */
  tell(moved) {
    const last = this.times.length - 1;
    const i = this.at === null ? last : Math.min(this.at, last);
    const told = this.series.map((s, k) => {
      const v = this.values[k][i];
      this.numbers[k].textContent = v === null ? 'n/a' : this.format(v);
      return s + ' ' + this.numbers[k].textContent;
    });
    const back = Math.round(this.times[last] - this.times[i]);
    this.when.textContent = back ? ' ' + back + ' s ago' : '';
    if (this.at !== null) {
      const x = this.x(this.times[i]).toFixed(1);
      this.plot.append(svg('path', {class: 'cursor',
        d: `M${x} ${CHART.top}V${CHART.height - CHART.bottom}`}));
    }
    if (!moved && document.activeElement === this.plot) return; /* read out on a key, not each time */
    this.plot.setAttribute('aria-valuenow', -back);
    this.plot.setAttribute('aria-valuetext', (back ? back + ' seconds ago: ' : 'now: ') +
      told.join(', '));
  }

  move(at) {
    if (at === null && this.at === null) return;
    this.at = at === null || this.times.length === 0 ? null
      : Math.max(0, Math.min(this.times.length - 1, at));
    this.draw(true);
  }

  point(event) {
    const x = event.clientX - this.plot.getBoundingClientRect().left;
    let best = null;
    this.times.forEach((t, i) => {
      if (best === null || Math.abs(this.x(t) - x) < Math.abs(this.x(this.times[best]) - x))
        best = i;
    });
    this.move(best);
  }

  key(event) {
    const last = this.times.length - 1, at = this.at === null ? last : this.at;
    const to = {ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1,
      PageDown: at - 15, PageUp: at + 15, Home: 0, End: last, Escape: null}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.move(to);
  }
}
