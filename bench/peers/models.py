"""The two models that prediction and explanation run on: 800 scalar trees of 31 leaves, trained by
LightGBM and by XGBoost on 100k x 24, saved in their own formats and read by Medley as they are."""
import common

ROWS, MODELS = 100_000, 6
SETTINGS = dict(rounds=200, leaves=31, rate=0.05)
FILES = {"lightgbm": "lightgbm-800.txt", "xgboost": "xgboost-800.json"}


def table():
    """Rows no model has seen."""
    return common.table(200_000, MODELS, common.TEST_FIRST) / "X.npy"


def labels():
    return common.table(200_000, MODELS, common.TEST_FIRST) / "y.npy"


def model(name):
    path = common.WORK / FILES[name]
    if not path.exists():
        train = common.table(ROWS, MODELS)
        common.peer("train", 2, peer=name, x=train / "X.npy", y=train / "y.npy", tx=table(),
                    ty=labels(), save=path, **SETTINGS)
    return path


def own():
    """Medley's own ensemble, as good as LightGBM's on the test rows or better."""
    from train import CASES
    path, train = common.WORK / "medley-own.txt", common.table(ROWS, MODELS)
    path.unlink(missing_ok=True)
    figures = common.medley("train", 2, x=train / "X.npy", y=train / "y.npy", tx=table(),
                            ty=labels(), save=path, **CASES["100k_24"][3])
    return path, figures["log_loss"]
