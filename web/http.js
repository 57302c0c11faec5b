/* http.js: asking the server, with a bearer token where it wants one.
 *
 * Tokens stay in the tab (session storage) and go to this server only. */
'use strict';

const tokens = {
  client: sessionStorage.getItem('medley-token') || '',
  admin: '', /* never stored: it may change what answers */
};

class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function refusal(reply) {
  let message = reply.status + ' ' + reply.statusText;
  try {
    const told = (await reply.json()).error;
    message = typeof told === 'string' ? told : told.message || message;
  } catch (e) { /* not JSON: the status has to do */ }
  return new Refusal(reply.status, message);
}

async function ask(path, body, token = tokens.client) {
  const headers = token ? {Authorization: 'Bearer ' + token} : {};
  const options = {headers, cache: 'no-store'};
  if (body) {
    headers['Content-Type'] = 'application/json';
    Object.assign(options, {method: 'POST', body: JSON.stringify(body)});
  }
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (e) {
    throw new Refusal(0, 'the server does not answer');
  }
  if (reply.ok) return reply;
  if (reply.status === 401 && token === tokens.client) $('token-form').hidden = false;
  throw await refusal(reply);
}

const askJson = async (path, body, token) => (await ask(path, body, token)).json();

/* What answers, as last heard; null before. */
let bundle = null;

async function refreshBundle() {
  const before = bundle && bundle.id;
  bundle = await askJson('v1/bundle');
  if (bundle.id !== before) offerChoices();
  $('bundle').textContent = 'bundle ' + bundle.id.slice(0, 12);
  $('bundle').title = bundle.id;
  return bundle;
}

function startTokens(again) {
  $('token-form').addEventListener('submit', event => {
    event.preventDefault();
    tokens.client = $('token').value.trim();
    sessionStorage.setItem('medley-token', tokens.client);
    $('token').value = '';
    $('token-form').hidden = true;
    again();
  });
}
