/* model_server.mjs: an inference server (Open Inference Protocol v2) for the dashboard's tests: a pair is the
 * more an exact match the more words its texts share. POST /die: it fails from then on. Prints its port. */
import {createServer} from 'node:http';

let dead = false;

function judge(text) {
  const [query, title] = text.toLowerCase().split(' | ').map(s => new Set(s.split(/\s+/)));
  const share = [...query].filter(w => title && title.has(w)).length / query.size;
  return [0.1 + 0.6 * share, 0.15, 0.1, 0.65 - 0.6 * share];
}

async function answer(request, reply) {
  let body = '';
  for await (const part of request) body += part;
  if (request.url === '/die') dead = true;
  if (dead) return reply.writeHead(request.url === '/die' ? 200 : 500).end('{}');
  const texts = JSON.parse(body).inputs[0].data;
  const json = JSON.stringify({model_name: 'far', outputs: [{name: 'probabilities', datatype: 'FP64',
    shape: [texts.length, 4], data: texts.flatMap(judge)}]});
  reply.writeHead(200, {'Content-Type': 'application/json'}).end(json);
}

const server = createServer(answer).listen(0, '127.0.0.1', () => console.log(server.address().port));
