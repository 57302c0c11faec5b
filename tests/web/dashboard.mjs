/* dashboard.mjs: the dashboard in a headless browser; scripts/web-check starts servers and calls it. TAP on
 * stdout, screenshots in OUT. */
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';

const {OPEN, CLOSED, SHADOW, FAR, OUT, TOOLS, CHROMIUM, SHOP} = process.env;
const {chromium} = createRequire(TOOLS + '/')('playwright-core');
const axe = readFileSync(TOOLS + '/node_modules/axe-core/axe.min.js', 'utf8');
const ADMIN = 'a-token-for-admins', CLIENT = 'a-token-for-clients';

let tests = 0, failed = 0;
function ok(good, name, note) {
  tests++;
  if (!good) failed++;
  console.log((good ? 'ok ' : 'not ok ') + tests + ' - ' + name);
  if (!good && note !== undefined) console.log('# ' + String(note).slice(0, 3000).replaceAll('\n', '\n# '));
}
const is = (got, wanted, name) => ok(got === wanted, name, `got ${got}, wanted ${wanted}`);

async function post(path, body, token) {
  const headers = {'Content-Type': 'application/json'};
  if (token) headers.Authorization = 'Bearer ' + token;
  const reply = await fetch(OPEN + path, {method: 'POST', headers, body: JSON.stringify(body)});
  return reply.json();
}
const get = async path => (await fetch(OPEN + path)).json();

/* Lists of the shop: [query, locale, [products]]. */
function shopLists() {
  const lists = new Map();
  for (const line of readFileSync(SHOP + '/examples.csv', 'utf8').split('\n').slice(1)) {
    const [, query, , product] = line.split(',');
    if (!product) continue;
    if (!lists.has(query)) lists.set(query, []);
    lists.get(query).push(product);
  }
  return [...lists];
}

async function traffic(lists) {
  for (const [query, products] of lists)
    await post('/v1/classify', {query, products});
}

/* ---- the browser ------------------------------------------------------------------------- */

const browser = await chromium.launch({executablePath: CHROMIUM, args: ['--no-sandbox']});

async function open(url, options = {}) {
  const context = await browser.newContext({viewport: {width: 1280, height: 900}, ...options});
  const page = await context.newPage();
  page.problems = [];
  page.elsewhere = [];
  page.on('console', m => {
    if (m.type() === 'error' || m.type() === 'warning') page.problems.push(m.text());
  });
  page.on('pageerror', e => page.problems.push(e.message));
  page.on('request', r => {
    if (!r.url().startsWith(new URL(url).origin)) page.elsewhere.push(r.url());
  });
  await page.goto(url);
  return page;
}

async function go(page, view) {
  await page.click(`nav a[href="#${view}"]`);
  await page.waitForSelector(`#${view}:not([hidden])`);
}

const text = (page, selector) => page.locator(selector).first().innerText();

async function accessible(page, name) {
  /* The page's policy does not bind the debugger. */
  const client = await page.context().newCDPSession(page);
  await client.send('Runtime.evaluate', {expression: axe});
  const result = await client.send('Runtime.evaluate', {awaitPromise: true, returnByValue: true,
    expression: `axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa',
      'best-practice']}).then(r => ({passes: r.passes.length, violations: r.violations.map(v =>
      v.id + ': ' + v.nodes.map(n => n.html.slice(0, 200) + ' | ' + n.failureSummary).join('\\n  '))}))`});
  const value = result.result.value;
  ok(value && value.passes > 10 && value.violations.length === 0, name + ': axe-core finds nothing',
    value ? value.violations.join('\n') : JSON.stringify(result));
}

async function fits(page, name) {
  const [wide, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  ok(wide <= inner, name + ': nothing sticks out', `${wide} in ${inner}`);
}

/* ---- the views --------------------------------------------------------------------------- */

/* The page's own functions, where the answer is known. */
async function testQuantiles(page) {
  const got = await page.evaluate(() => {
    const m = parseMetrics('# HELP a b\na_bucket{r="/x",le="1"} 10\na_bucket{r="/x",le="2"} 90\n' +
      'a_bucket{r="/x",le="+Inf"} 100\nq{t="a\\"}\\\\ b"} 3 \nplain 1.5e3\n# EOF\n');
    const h = histogram(m, 'a', l => l.r === '/x');
    return [quantile(h, 0.05), quantile(h, 0.5), quantile(h, 0.99), quantile([], 0.5),
      quantile(since(h, [[1, 10], [2, 10], [Infinity, 10]]), 0.5), m.get('q')[0].labels.t, total(m, 'plain'),
      niceStep(7, 4), fixed(-0.0001, 2), signed(-0.5, 1), short(1234.5), decimals(0.05)];
  });
  is(JSON.stringify(got), JSON.stringify([0.5, 1.5, 2, null, 1.5625, 'a"}\\ b', 1500, 2, '0.00', '\u22120.5',
    '1,235', 2]), 'metrics are read, quantiles and numbers are right');
}

async function testLive(page, lists) {
  await page.waitForSelector('#tiles .tile');
  for (let i = 0; i < 4; i++) {
    await traffic(lists.slice(0, 12));
    await page.waitForTimeout(1000);
  }
  const shown = await page.locator('#tiles .tile').allInnerTexts();
  ok(shown.some(t => /^p99\s+[\d.,]+ ms/.test(t)), 'live: percentiles', shown.join(' / '));
  ok(shown.some(t => /^Cache hits\s+[\d.]+%/.test(t)), 'live: the cache', shown.join(' / '));
  ok(!shown.some(t => /NaN|undefined|Infinity/.test(t)), 'live: all figures are figures', shown);
  is(await page.locator('#charts figure').count(), 4, 'live: four charts');
  ok(await page.locator('#charts path.line[d^="M"]').count() >= 7, 'live: with lines');
  const bundle = await get('/v1/bundle');
  is(await page.locator('#models tbody tr').count(), bundle.models.length, 'live: the models');
  const models = await page.locator('#models tbody tr').allInnerTexts();
  ok(models.every(r => /^\w+\s+(lm|gnn|remote)\s+[\d.]+\s+[\d.]+\s/.test(r)), 'live: what each model takes',
    models.join(' / '));
  const tiers = await page.locator('#tiers tbody tr').allInnerTexts();
  ok(tiers.length === 2 && /^memory\s+yes\s+[1-9]/.test(tiers[0]) && /^lmdb\s+yes/.test(tiers[1]), 'live: the cache by tier',
    tiers.join(' / '));
  ok((await text(page, '#bundle')).includes(bundle.id.slice(0, 12)), 'live: the bundle');
  const plot = page.locator('#charts .plot').nth(1);
  await plot.focus();
  const now = await plot.getAttribute('aria-valuetext');
  await page.keyboard.press('ArrowLeft');
  const before = await plot.getAttribute('aria-valuetext');
  ok(now.startsWith('now:') && /^\d+ seconds ago: p50/.test(before), 'live: arrow keys read a chart',
    now + ' / ' + before);
  await page.keyboard.press('Escape');
  await page.click('#pause');
  is(await text(page, '#pause'), 'Go on', 'live: it can be paused');
  let asked = 0;
  page.on('request', r => { asked += r.url().endsWith('/metrics'); });
  await page.waitForTimeout(2500);
  is(asked, 0, 'live: and then asks nothing');
  await page.click('#pause');
}

/* A model that runs elsewhere fails until its breaker opens; the others answer. */
async function testBreaker(page, lists) {
  await go(page, 'live');
  const row = page.locator('#models tbody tr', {has: page.locator('th', {hasText: 'far'})});
  await row.locator('.state.closed').waitFor();
  ok(true, 'live: a breaker that is closed');
  await fetch(FAR + '/die', {method: 'POST'});
  for (const [query, products] of lists.slice(0, 3))
    await post('/v1/classify', {query, products, models: ['far', 'small'], cache: 'off'});
  await row.locator('.state.open').waitFor();
  ok(/open\s+3\b/.test(await row.innerText()), 'live: it opens, failures are counted', await row.innerText());
  await go(page, 'try');
  await page.uncheck('#ask-models input[value=gcn]');
  await page.click('#go');
  await page.waitForFunction(() => /no answer from far/.test(document.querySelector('#results').innerText));
  ok(true, 'try: which model did not answer');
  await page.check('#ask-models input[value=gcn]');
}

/* Another bundle, and back; a server that is away, and back. */
async function testChange(page, lists) {
  await go(page, 'live');
  const before = await text(page, '#bundle');
  await post('/v1/bundles:activate', {bundle: SHADOW}, ADMIN);
  await page.waitForFunction(id => document.querySelector('#bundle').innerText.includes(id), SHADOW.slice(0, 12));
  await page.waitForFunction(() => document.querySelectorAll('#models tbody tr').length === 2);
  ok(true, 'live: another bundle is seen, with its models');
  await go(page, 'ensemble');
  await page.waitForFunction(n => document.querySelectorAll('#ranking tbody tr').length > 0);
  is(await page.locator('#ranking tbody td:nth-child(3):text-is("yes")').count(), 2, 'ensemble: and how it was chosen');
  await go(page, 'try');
  is(await page.locator('#ask-models input').count(), 2, 'try: and its models to ask');
  await post('/v1/bundles:rollback', {}, ADMIN);
  await go(page, 'live');
  await page.waitForFunction(text => document.querySelector('#bundle').innerText === text, before);
  await page.context().setOffline(true);
  await page.waitForSelector('#live-status.error');
  ok(/does not answer/.test(await text(page, '#live-status')), 'live: a server that is away');
  await page.context().setOffline(false);
  await page.waitForSelector('#live-status:not(.error)', {state: 'attached'});
  ok(true, 'live: and back');
  await post('/v1/bundles:shadow', {bundle: SHADOW, share: 1}, ADMIN); /* it was active: no shadow any more */
  for (const [query, products] of lists.slice(0, 40))
    await post('/v1/classify', {query, products, cache: 'off'});
}

async function testTry(page, lists) {
  await go(page, 'try');
  await page.fill('#query', lists[0][0]);
  await page.fill('#products', 'Red shoe\n<img src=x onerror=alert(1)>\nMouse pad');
  await page.focus('#query');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.result');
  is(await page.locator('.result').count(), 3, 'try: a card for each product');
  is(await page.locator('.result img').count(), 0, 'try: markup in a title is text');
  ok((await text(page, '.result:nth-child(2) h3')).includes('<img src=x'), 'try: and is shown');
  const shown = await page.locator('.result').first().locator('.bars:not(.wide) .n').allInnerTexts();
  ok(Math.abs(shown.reduce((a, b) => a + Number(b), 0) - 1) < 0.005, 'try: probabilities', shown);
  const reply = await post('/v1/classify', {query: lists[0][0], explain: true,
    products: ['Red shoe', '<img src=x onerror=alert(1)>', 'Mouse pad'].map(title => ({title}))});
  const first = reply.results[0], players = Object.keys(first.contributions);
  const bars = await page.locator('.result').first().locator('.bars.wide li').allInnerTexts();
  ok(players.every((p, i) => bars[i].replace(/\s+/g, ' ').replace('\u2212', '-') ===
    p + ' ' + (first.contributions[p][first.label] >= 0 ? '+' : '') +
    first.contributions[p][first.label].toFixed(2)), 'try: contributions, as the interface says', bars);
  ok(/rather than/.test(await text(page, '.result')), 'try: why');
  ok(/stopped at stage \d of \d/.test(await text(page, '.result')), 'try: the stage of the cascade',
    await text(page, '.result'));
  await page.selectOption('#towards', 'lead');
  ok(/Added to the lead/.test(await text(page, '.result .halves')), 'try: contributions to the lead');
  await page.selectOption('#order', 'gain');
  is(await page.locator('.result').count(), 3, 'try: in another order');
  await page.check('input[value=id]');
  await page.fill('#products', lists[0][1].slice(0, 2).join('\n') + '\nno-such-id');
  await page.uncheck('#ask-models input >> nth=0');
  await page.click('#go');
  await page.waitForFunction(() => /not known/.test(document.querySelector('#results').innerText));
  ok(true, 'try: ids, and an unknown one is told');
  ok(!/small/.test(await text(page, '.result .muted')), 'try: only the models that were chosen',
    await text(page, '.result .muted'));
  await page.fill('#deadline', '600000');
  const [asked] = await Promise.all([page.waitForRequest('**/v1/classify'), page.click('#go')]);
  is(asked.postDataJSON().deadline_ms, 600000, 'try: a deadline');
  await page.waitForSelector('.result');
  await page.fill('#deadline', '');
  await page.fill('#query', '   ');
  await page.click('#go');
  await page.waitForSelector('#try-status.error');
  ok(/query: blank/.test(await text(page, '#try-status')), 'try: a refusal says why');
  await page.fill('#query', lists[0][0]);
  await page.check('#ask-models input >> nth=0');
  await page.click('#go');
  await page.waitForSelector('.result');
}

async function testEnsemble(page) {
  await go(page, 'ensemble');
  await page.waitForSelector('#ranking tbody tr');
  const {ranking, selection} = await get('/v1/ensemble');
  is(await page.locator('#ranking tbody tr').count(), ranking.worth.players.length,
    'ensemble: a row for each player');
  ok(await page.locator('#ranking .whisker').count() > 0, 'ensemble: with intervals');
  const asked = selection.subsets.filter(s => s.models.length);
  is(await page.locator('#front circle.subset, #front circle.best').count(), asked.length,
    'ensemble: every subset is a point');
  const best = await page.locator('#front circle.best').count();
  is(await page.locator('#front-table tbody tr').count(), best, 'ensemble: the front as a table');
  await page.focus('#limit-latency');
  await page.keyboard.press('Home');
  const quickest = asked.reduce((a, b) => b.latency_ms < a.latency_ms ? b : a);
  ok((await text(page, '#kept')).startsWith('Keeps ' + quickest.models.join(', ')),
    'ensemble: the least latency keeps the quickest', await text(page, '#kept'));
  await page.keyboard.press('End');
  await page.selectOption('#limit-models', '1');
  const single = asked.filter(s => s.models.length === 1)
    .reduce((a, b) => b[selection.metric] > a[selection.metric] ? b : a);
  ok((await text(page, '#kept')).startsWith('Keeps ' + single.models[0]), 'ensemble: the best single model',
    await text(page, '#kept'));
  await page.selectOption('#limit-models', String(Math.max(...asked.map(s => s.models.length))));
  await page.fill('#limit-loss', '1');
  ok((await text(page, '#kept')).startsWith('Keeps ' + quickest.models.join(', ')),
    'ensemble: who may lose all gets the quickest', await text(page, '#kept'));
  await page.fill('#limit-loss', '0');
  await page.selectOption('#metric', 'log_loss');
  ok(/log-loss/.test(await text(page, '#budget-table')), 'ensemble: by another metric');
  await page.selectOption('#metric', 'macro_f1');
}

async function testCompare(page, lists) {
  await go(page, 'compare');
  await page.waitForSelector('#no-shadow:not([hidden])');
  ok(true, 'compare: nothing stands in the shadow');
  const put = await post('/v1/bundles:shadow', {bundle: SHADOW, share: 1}, ADMIN);
  is(put.shadow, SHADOW, 'compare: a bundle is put there');
  for (const [query, products] of lists.slice(0, 40))
    await post('/v1/classify', {query, products, cache: 'off'});
  await page.waitForSelector('#with-shadow:not([hidden])');
  await page.waitForFunction(() => !/\b0 pairs compared/.test(document.querySelector('#compare-tiles').innerText));
  await page.waitForTimeout(3500);
  await traffic(lists.slice(40, 60));
  await page.waitForTimeout(4000);
  ok(/\d%/.test(await text(page, '#compare-agree .legend')), 'compare: agreement over time');
  const state = await get('/v1/shadow');
  const tiles = await text(page, '#compare-tiles');
  ok(tiles.includes(state.pairs.toLocaleString('en') + ' pairs compared'), 'compare: how many pairs', tiles);
  ok(state.pairs_differing > 0, 'compare: the bundles differ', JSON.stringify(state));
  is(state.labels.flat().reduce((a, b) => a + b), state.pairs, 'compare: the labels that move add up');
  is(await page.locator('#compare-moves tbody tr').count(), state.classes.length, 'compare: are shown');
  ok(/gone in the shadow/.test(await text(page, '#compare-models')), 'compare: which models are gone');
  await page.fill('#admin-token', 'this is the wrong one');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#admin-status.error');
  ok(true, 'compare: pairs are not for all');
  await page.fill('#admin-token', ADMIN);
  await page.keyboard.press('Enter');
  await page.waitForSelector('#changes tbody tr');
  const kept = await (await fetch(OPEN + '/v1/shadow/changes',
    {headers: {Authorization: 'Bearer ' + ADMIN}})).json();
  is(await page.locator('#changes tbody tr').count(), kept.changes.length, 'compare: pairs that change');
}

async function testKeyboard(page) {
  await page.goto(OPEN);
  await page.waitForSelector('#tiles .tile');
  await page.keyboard.press('Tab');
  is(await page.evaluate(() => document.activeElement.className), 'skip', 'keyboard: first the skip link');
  await page.keyboard.press('Enter');
  is(await page.evaluate(() => document.activeElement.id), 'main', 'keyboard: it leads to the content');
  ok(await page.locator('#live').isVisible(), 'keyboard: of the view that is seen');
  await page.goto(OPEN);
  for (const view of ['live', 'try', 'ensemble', 'compare']) {
    await page.focus(`nav a[href="#${view}"]`);
    await page.keyboard.press('Enter');
    await page.waitForSelector(`#${view}:not([hidden])`);
  }
  is(await page.evaluate(() => document.activeElement.id), 'compare-title',
    'keyboard: views by the navigation, the focus follows');
  await page.goBack();
  await page.waitForSelector('#ensemble:not([hidden])');
  ok(true, 'keyboard: back goes back');
}

async function testToken() {
  const page = await open(CLOSED);
  await page.waitForSelector('#token-form:not([hidden])');
  ok(true, 'token: it is asked for');
  await page.fill('#token', CLIENT);
  await page.keyboard.press('Enter');
  await page.waitForSelector('#tiles .tile');
  await page.waitForSelector('#token-form', {state: 'hidden'});
  await go(page, 'try');
  await page.click('#go');
  await page.waitForSelector('.result');
  ok(true, 'token: and then all works');
  await accessible(page, 'with a token');
  await page.context().close();
}

/* A proxy may put the page under a path of its own. */
async function testProxy() {
  const context = await browser.newContext();
  const page = await context.newPage(), outside = [];
  await page.route('**/*', async route => {
    const url = route.request().url();
    if (!url.startsWith(OPEN + '/medley/')) outside.push(url);
    await route.fulfill({response: await route.fetch({url: url.replace('/medley/', '/')})});
  });
  await page.goto(OPEN + '/medley/');
  await page.waitForSelector('#models tbody tr');
  await go(page, 'ensemble');
  await page.waitForSelector('#ranking tbody tr');
  is(outside.join(' '), '', 'under another path all is asked there');
  await context.close();
}

/* Every view in a setting: what sticks out, what axe-core finds, a picture. */
async function testLook(name, options, lists) {
  const page = await open(OPEN, options);
  await page.waitForSelector('#charts path.line[d*="L"]', {state: 'attached'});
  for (const view of ['live', 'try', 'ensemble', 'compare']) {
    await go(page, view);
    if (view === 'try') {
      await page.fill('#query', lists[1][0]);
      await page.check('input[value=id]');
      await page.fill('#products', lists[1][1].slice(0, 3).join('\n') + '\n' + lists[2][1][0]);
      await page.click('#go');
      await page.waitForSelector('.result');
    }
    if (view === 'compare') {
      await page.waitForSelector('#compare-moves table');
      await page.fill('#admin-token', ADMIN);
      await page.keyboard.press('Enter');
      await page.waitForSelector('#changes tbody tr');
    }
    if (view === 'ensemble') {
      await page.waitForSelector('#front circle.best');
      await page.click('summary');
    }
    for (let i = 0; view === 'live' && i < 5; i++) {
      await traffic(lists.slice(0, 6 + 3 * i));
      await page.waitForTimeout(1500);
    }
    await fits(page, `${name}, ${view}`);
    await accessible(page, `${name}, ${view}`);
    await page.screenshot({path: `${OUT}/${name}-${view}.png`, fullPage: true});
  }
  is(page.problems.join('\n'), '', `${name}: the browser has no complaint`);
  await page.context().close();
}

/* ---- all --------------------------------------------------------------------------------- */

const lists = shopLists();
try {
  const page = await open(OPEN);
  await testQuantiles(page);
  await testLive(page, lists);
  await testTry(page, lists);
  await testEnsemble(page);
  await testCompare(page, lists);
  await testBreaker(page, lists);
  await testChange(page, lists);
  const mine = page.problems.filter(p => !/status of 40[01]|ERR_INTERNET_DISCONNECTED/.test(p)); /* the refusals that were asked for */
  is(mine.join('\n'), '', 'the browser has no complaint, nor has the policy');
  is(page.elsewhere.join(' '), '', 'nothing is asked elsewhere');
  await page.context().close();
  await testKeyboard(await open(OPEN));
  await testToken();
  await testProxy();
  await testLook('desktop', {}, lists);
  await testLook('dark', {colorScheme: 'dark'}, lists);
  await testLook('phone', {viewport: {width: 360, height: 740}, deviceScaleFactor: 2, hasTouch: true,
    isMobile: true, reducedMotion: 'reduce'}, lists);
  await testLook('phone-dark', {viewport: {width: 390, height: 800}, colorScheme: 'dark'}, lists);
  await testLook('forced', {forcedColors: 'active'}, lists);
} catch (e) {
  ok(false, 'to the end', e.stack);
}
await browser.close();
console.log('1..' + tests);
process.exit(failed ? 1 : 0);
