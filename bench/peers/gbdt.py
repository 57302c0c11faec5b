"""make bench-gbdt: training, prediction and memory against LightGBM, XGBoost and scikit-learn.

    gbdt.py quick | full | CASE...      CASE: a name in train.CASES, or `predict`
"""
import sys

import common
import predict
import train

if __name__ == "__main__":
    sizes = sys.argv[1:] or ["quick"]
    common.machine()
    common.header()
    for size in sizes:
        if size in ("quick", "full"):
            train.run(train.QUICK if size == "quick" else train.CASES)
            predict.run(size)
        elif size == "predict":
            predict.run("full")
        elif size in train.CASES:
            train.run([size])
        else:
            sys.exit(f"gbdt.py: '{size}' is none of quick, full, predict, {', '.join(train.CASES)}")
