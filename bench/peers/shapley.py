"""make bench-shap: Shapley values against LightGBM, XGBoost, shap and fasttreeshap.

    shapley.py quick | full
"""
import sys

import coalition
import common
import explain

if __name__ == "__main__":
    size = sys.argv[1] if len(sys.argv) > 1 else "quick"
    if size not in ("quick", "full"):
        sys.exit(f"shapley.py: '{size}' is neither quick nor full")
    common.machine()
    common.header()
    explain.run(size)
    coalition.run(size)
