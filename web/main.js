/* main.js: which view is seen, and the start. Views are addresses (#live, #try ...): links work by
 * keyboard, the back button goes back. */
'use strict';

const VIEWS = {live: tick, try: null, ensemble: showEnsemble, compare: tickCompare};

let seen = 'live';

/* The skip link has an address too, which is no view: what is seen stays. */
function view() {
  const name = location.hash.slice(1);
  if (Object.hasOwn(VIEWS, name)) seen = name;
  return seen;
}

/* A message for the eye and for screen readers. */
function setStatus(id, text, failed) {
  const node = $(id);
  if (node.textContent !== text) node.textContent = text;
  node.classList.toggle('error', Boolean(failed));
}

function showView(event) {
  const now = view();
  if (event && location.hash !== '#' + now) return;
  for (const name of Object.keys(VIEWS)) {
    $(name).hidden = name !== now;
    const link = document.querySelector(`nav a[href="#${name}"]`);
    if (name === now) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = document.querySelector(`#${now} h2`).textContent + ' \u00b7 Medley';
  if (event) document.querySelector(`#${now} h2`).focus();
  if (VIEWS[now]) VIEWS[now]();
}

async function begin() {
  try {
    await refreshBundle();
  } catch (e) {
    $('bundle').textContent = e.message;
  }
  showView();
}

startLive();
startTry();
startEnsemble();
startCompare();
startTokens(begin);
window.addEventListener('hashchange', showView);
begin();
