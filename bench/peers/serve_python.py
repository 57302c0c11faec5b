"""The usual Python server on the same ensemble: aiohttp, LightGBM, the base models' predictions in a dictionary, answers
remembered in another. Two processes on one port, as such servers are run on two cores.

    serve_python.py PORT MODEL.txt TABLES CACHE(0|1)"""
import json
import os
import socket
import sys

import lightgbm
import numpy as np
from aiohttp import web

CLASSES = "ESCI"


def application(model, folder, remember):
    trees = lightgbm.Booster(model_file=model, params={"num_threads": 1})
    tables = [np.load(f"{folder}/model{m}.npy") for m in range(len([f for f in os.listdir(folder) if f.endswith(".npy")]))]
    features = np.concatenate(tables, axis=1)
    row_of = {f"B{i:08d}": i for i in range(len(features))}
    known = {}

    def judge(query, ids):
        x = features[[row_of[i] for i in ids]]
        p = trees.predict(x)
        return [{"id": i, "label": CLASSES[k], "probabilities": dict(zip(CLASSES, map(float, row)))}
                for i, k, row in zip(ids, p.argmax(1), p)]

    async def classify(request):
        asked = await request.json()
        query, ids = asked["query"].casefold().strip(), asked["products"]
        results = [known.get((query, i)) for i in ids] if remember and asked.get("cache") != "off" else [None]
        if any(r is None for r in results):
            results = judge(query, ids)
            if remember:
                known.update({(query, r["id"]): r for r in results})
        return web.json_response({"query": asked["query"], "results": results})

    app = web.Application(client_max_size=8 << 20)
    app.router.add_post("/v1/classify", classify)
    return app


if __name__ == "__main__":
    port, model, folder, remember = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == "1"
    os.fork()
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(("127.0.0.1", port))
    web.run_app(application(model, folder, remember), sock=s, print=None, access_log=None)
