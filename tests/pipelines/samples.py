"""Executions and evaluations as the services and the image give them, for tests of what is made of them."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.executions import Execution, StepRun

BEGIN = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/demo-cardholders-build/execution/abcd1234efgh"


def _get(path: str) -> dict[str, str]:
    return {"Get": path}


def _json_get(path: str) -> dict[str, Any]:
    return {"Std:JsonGet": {"PropertyFile": _get("Steps.Evaluate.PropertyFiles.Evaluation"), "Path": path}}


def definition() -> dict[str, Any]:
    """A build pipeline of the shape that the SDK renders, with what the readers of a definition look at."""

    def processing(name: str, *inputs: str, **more: Any) -> dict[str, Any]:
        return {
            "Name": name,
            "Type": "Processing",
            "Arguments": {
                "ProcessingInputs": [
                    {"InputName": f"i{n}", "S3Input": {"S3Uri": _get(path)}} for n, path in enumerate(inputs)
                ]
            },
            **more,
        }

    def training(name: str, *inputs: str) -> dict[str, Any]:
        channels = [{"DataSource": {"S3DataSource": {"S3Uri": _get(path)}}} for path in inputs]
        return {"Name": name, "Type": "Training", "Arguments": {"InputDataConfig": channels}}

    outputs = "Steps.{}.ProcessingOutputConfig.Outputs['{}'].S3Output.S3Uri".format
    model = "Steps.{}.ModelArtifacts.S3ModelArtifacts".format
    return {
        "Version": "2020-12-01",
        "Parameters": [
            {"Name": "InputDataUri", "Type": "String"},
            {"Name": "GitCommit", "Type": "String", "DefaultValue": "unknown"},
            {"Name": "MinRocAuc", "Type": "Float", "DefaultValue": 0.7},
            {"Name": "MaxCalibrationError", "Type": "Float", "DefaultValue": 0.05},
            {"Name": "MinSilhouette", "Type": "Float", "DefaultValue": 0.25},
        ],
        "Steps": [
            processing("Prepare", "Parameters.InputDataUri"),
            training("TrainClusters", outputs("Prepare", "holders")),
            training("TrainPurchase", outputs("Prepare", "train"), outputs("Prepare", "validation")),
            processing("Package", model("TrainClusters"), model("TrainPurchase"), outputs("Prepare", "holdout")),
            processing(
                "Evaluate",
                outputs("Package", "package"),
                outputs("Prepare", "holdout"),
                PropertyFiles=[
                    {"PropertyFileName": "Evaluation", "OutputName": "evaluation", "FilePath": "evaluation.json"}
                ],
            ),
            {
                "Name": "QualityGate",
                "Type": "Condition",
                "Arguments": {
                    "Conditions": [
                        {
                            "Type": "GreaterThanOrEqualTo",
                            "LeftValue": _json_get("metrics.roc_auc"),
                            "RightValue": _get("Parameters.MinRocAuc"),
                        },
                        {
                            "Type": "LessThanOrEqualTo",
                            "LeftValue": _json_get("metrics.calibration_error"),
                            "RightValue": _get("Parameters.MaxCalibrationError"),
                        },
                        {
                            "Type": "GreaterThanOrEqualTo",
                            "LeftValue": _json_get("metrics.silhouette"),
                            "RightValue": _get("Parameters.MinSilhouette"),
                        },
                        {
                            "Type": "GreaterThanOrEqualTo",
                            "LeftValue": _json_get("champion_comparison.roc_auc_difference"),
                            "RightValue": -0.01,
                        },
                    ],
                    "IfSteps": [
                        {
                            "Name": "Register",
                            "Type": "RegisterModel",
                            "Arguments": {"ModelDataUrl": _get(outputs("Package", "package"))},
                        },
                        processing("LinkMlflow", "Steps.Register.ModelPackageArn"),
                    ],
                    "ElseSteps": [{"Name": "QualityTooLow", "Type": "Fail", "Arguments": {"ErrorMessage": "too low"}}],
                },
            },
        ],
    }


def step(name: str, kind: str, start: float, seconds: float, status: str = "Succeeded", **more: Any) -> StepRun:
    """A step's run that began `start` seconds after the execution."""
    begun = BEGIN + timedelta(seconds=start)
    metadata = more.pop("metadata", None)
    if metadata is None and kind in {"Processing", "Training"}:
        job = f"{kind.lower()}-job"
        metadata = {f"{kind}Job": {"Arn": f"arn:aws:sagemaker:eu-west-1:123456789012:{job}/pipelines-abcd-{name}-x1"}}
    return StepRun(name, kind, status, begun, begun + timedelta(seconds=seconds), metadata=metadata or {}, **more)


def execution(**changes: Any) -> Execution:
    """An execution that went well."""
    given: dict[str, Any] = {
        "arn": ARN,
        "pipeline": "demo-cardholders-build",
        "status": "Succeeded",
        "started": BEGIN,
        "modified": BEGIN + timedelta(seconds=31),
        "failure_reason": None,
        "parameters": {
            "InputDataUri": "s3://demo-123456789012-eu-west-1/cardholders/data/sha256-0f1e2d/transactions.csv.gz",
            "EvaluationTime": "2014-07-01T00:00:00Z",
            "GitCommit": "3f2c1ab",
            "MinRocAuc": "0.7",
            "MaxCalibrationError": "0.05",
            "MinSilhouette": "0.25",
        },
        "definition": definition(),
        "steps": (
            step("Prepare", "Processing", 0.2, 5.1),
            step("TrainClusters", "Training", 5.4, 6.0),
            step("TrainPurchase", "Training", 5.4, 9.2),
            step("Package", "Processing", 14.8, 3.0, cached_from=ARN.replace("abcd", "wxyz")),
            step("Evaluate", "Processing", 18.0, 9.4),
            step("QualityGate", "Condition", 27.5, 0.1, metadata={"Condition": {"Outcome": "True"}}),
            step(
                "Register",
                "RegisterModel",
                27.7,
                0.2,
                metadata={
                    "RegisterModel": {
                        "Arn": "arn:aws:sagemaker:eu-west-1:123456789012:model-package/demo-cardholders/3"
                    }
                },
            ),
            step("LinkMlflow", "Processing", 28.0, 2.8),
            StepRun("QualityTooLow", "Fail", "Skipped"),
        ),
    }
    return Execution(**{**given, **changes})


def evaluation(champion: bool = True) -> dict[str, Any]:
    """What Evaluate writes, with figures of a plausible model."""

    def metrics(shift: float) -> dict[str, float]:
        return {
            "roc_auc": 0.8312 - shift,
            "pr_auc": 0.7954 - shift,
            "log_loss": 0.4712 + shift,
            "brier": 0.1533 + shift / 3,
            "calibration_error": 0.0127 + shift / 4,
        }

    def clustering(shift: float) -> dict[str, float]:
        return {"silhouette": 0.412 - shift, "davies_bouldin": 0.853 + shift, "calinski_harabasz": 4211.3 - 900 * shift}

    by_k = []
    for k in range(1, 31):
        rate = 1 - math.exp(-k / 11)
        spread = rate * (1 - rate)
        by_k.append(
            {
                "k": k,
                "count": 5200,
                "positives": round(5200 * rate),
                "base_rate": rate,
                "roc_auc": 0.79 + 0.06 * (1 - math.exp(-k / 8)),
                "pr_auc": 0.35 + 0.6 * rate,
                "log_loss": 0.2 + 1.3 * spread,
                "brier": 0.8 * spread,
                "calibration_error": 0.008 + 0.006 * math.sin(k / 5) ** 2,
                "baselines": {
                    "base_rate": {"roc_auc": 0.5, "pr_auc": rate, "log_loss": 0.25 + 1.9 * spread, "brier": spread},
                    "gap_model": {
                        "roc_auc": 0.74 + 0.05 * (1 - math.exp(-k / 8)),
                        "pr_auc": 0.3 + 0.58 * rate,
                        "log_loss": 0.24 + 1.6 * spread,
                        "brier": 0.9 * spread,
                        "calibration_error": 0.04,
                    },
                },
            }
        )
    names = (
        ("Dormant", "hardly used"),
        ("Occasional", "a few small purchases a year"),
        ("Regular", "steady use at few merchants"),
        ("Frequent", "weekly use at many merchants"),
        ("Heavy", "daily use, large amounts"),
    )
    profiles = [
        {
            "cluster": index,
            "name": name,
            "description": description,
            "holders": 400 + 517 * (index + 1) % 1900,
            "share": [0.11, 0.27, 0.31, 0.22, 0.09][index],
            "usage_freq": {"p10": 1 * 4**index, "median": 2 * 4**index, "p90": 5 * 4**index},
            "amount_spend": {"p10": 30 * 6**index, "median": 90 * 6**index, "p90": 260 * 6**index},
            "uniq_merchant": {"p10": 1 + 3 * index, "median": 2 + 8 * index, "p90": 4 + 19 * index},
        }
        for index, (name, description) in enumerate(names)
    ]
    return {
        "schema_version": 1,
        "workload": "cardholders",
        "metrics": {**metrics(0.0), **clustering(0.0)},
        "baselines": {"base_rate": metrics(0.3312), "gap_model": metrics(0.052)},
        "fields_only": metrics(0.091),
        "champion": {"model_uri": "s3://demo/models/2/model.tar.gz", "metrics": {**metrics(0.008), **clustering(0.02)}}
        if champion
        else None,
        "champion_comparison": {"roc_auc_difference": 0.008 if champion else 0.0},
        "by_k": by_k,
        "calibration": {
            "bins": [
                {
                    "lower": index / 10,
                    "upper": (index + 1) / 10,
                    "mean_predicted": index / 10 + 0.048,
                    "observed": min(1.0, index / 10 + 0.048 + 0.02 * math.sin(index)),
                    "count": [21000, 16000, 9100, 7200, 6100, 5900, 6300, 8100, 12400, 30100][index],
                }
                for index in range(10)
            ]
        },
        "clusters": {
            "chosen_k": 5,
            "range": [
                {
                    "k": k,
                    "silhouette": 0.412 - 0.03 * abs(k - 5) ** 0.8,
                    "davies_bouldin": 0.853 + 0.04 * abs(k - 5),
                    "calinski_harabasz": 4211.3 - 160 * abs(k - 6),
                }
                for k in range(2, 11)
            ],
            "profiles": profiles,
        },
        "data": prepare_report(),
        "server": {"golden_requests": 24, "mismatches": 0, "latency_ms": {"p50": 2.1, "p99": 7.9}},
        "mlflow": {
            "run_id": "0123456789abcdef0123456789abcdef",
            "experiment": "demo-cardholders",
            "models": {"clusters": "demo-cardholders-clusters", "purchase": "demo-cardholders-purchase"},
        },
    }


def package(**changes: Any) -> dict[str, Any]:
    """DescribeModelPackage's answer for version 3."""
    return {
        "ModelPackageGroupName": "demo-cardholders",
        "ModelPackageVersion": 3,
        "ModelPackageArn": "arn:aws:sagemaker:eu-west-1:123456789012:model-package/demo-cardholders/3",
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": "PendingManualApproval",
        "CreationTime": BEGIN + timedelta(seconds=28),
        "CustomerMetadataProperties": {"git_commit": "3f2c1ab"},
        **changes,
    }


def prepare_report() -> dict[str, Any]:
    """What Prepare tells of the data."""

    def part(first: str, last: str, dates: int, examples: int) -> dict[str, Any]:
        positives = {str(k): round(examples * (1 - math.exp(-k / 11))) for k in (1, 7, 14, 30)}
        whole = {"first": first, "last": last, "reference_dates": dates, "examples": examples, "holders": 4980}
        return {**whole, "positives": positives}

    return {
        "schema_version": 1,
        "counts": {
            "lines": 442458,
            "bad": {"wrong number of fields": 41, "unreadable date": 73, "unreadable amount": 63, "no holder": 0},
            "duplicates": 881,
            "refunds": 13938,
            "zero": 44,
            "purchases": 427418,
            "holders": 5187,
            "later": 0,
            "outside_period": 0,
            "parsed": 442281,
        },
        "files": [{"name": "transactions.csv.gz", "lines": 442458}],
        "bad_lines": {
            "unreadable date": [
                {"file": "transactions.csv.gz", "line": 1204, "found": "31/31/2014"},
                {"file": "transactions.csv.gz", "line": 90211, "found": "n/a"},
            ],
            "unreadable amount": [{"file": "transactions.csv.gz", "line": 771, "found": "12,3,4"}],
            "wrong number of fields": [{"file": "transactions.csv.gz", "line": 15, "found": "201307,1000"}],
        },
        "period": {"first": "2013-07-01", "last": "2014-06-30", "days": 365, "evaluation_time": "2014-07-01"},
        "window_days": 120,
        "max_horizon": 30,
        "step_days": 7,
        "split": {
            "train": part("2013-10-29", "2014-03-04", 19, 84211),
            "validation": part("2014-04-04", "2014-04-18", 3, 14002),
            "holdout": part("2014-05-19", "2014-05-31", 2, 9731),
        },
        "holders": {"train": 4980, "holdout": 5021},
        "leakage_check": {"examples": 212, "leaking_features": []},
        "seconds": {"all": 3.1},
    }


# --- the forecaster ---------------------------------------------------------------------------------------------------

FORECASTER_ARN = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/demo-forecaster-build/execution/mnop5678qrst"


def forecaster_definition() -> dict[str, Any]:
    """The forecaster's build pipeline, of the shape that the SDK renders."""

    def gate(relation: str, left: Any, right: Any) -> dict[str, Any]:
        return {"Type": relation, "LeftValue": left, "RightValue": right}

    def after(name: str, kind: str, *sources: str, **more: Any) -> dict[str, Any]:
        inputs = [{"InputName": f"i{n}", "S3Input": {"S3Uri": _get(path)}} for n, path in enumerate(sources)]
        return {"Name": name, "Type": kind, "Arguments": {"Inputs": inputs}, **more}

    output = "Steps.{}.ProcessingOutputConfig.Outputs['{}'].S3Output.S3Uri".format
    return {
        "Version": "2020-12-01",
        "Parameters": [
            {"Name": "FeatureGroupName", "Type": "String"},
            {"Name": "Epochs", "Type": "Integer", "DefaultValue": 253},
            {"Name": "MaxWql", "Type": "Float", "DefaultValue": 0.25},
        ],
        "Steps": [
            after("Prepare", "Processing", "Parameters.FeatureGroupName"),
            after("Train", "Training", output("Prepare", "train"), output("Prepare", "test")),
            after("CreateModel", "Model", "Steps.Train.ModelArtifacts.S3ModelArtifacts"),
            after("Transform", "Transform", "Steps.CreateModel.ModelName", output("Prepare", "requests")),
            after(
                "Evaluate",
                "Processing",
                "Steps.Transform.TransformOutput.S3OutputPath",
                output("Prepare", "windows"),
                PropertyFiles=[
                    {"PropertyFileName": "Evaluation", "OutputName": "evaluation", "FilePath": "evaluation.json"}
                ],
            ),
            {
                "Name": "QualityGate",
                "Type": "Condition",
                "Arguments": {
                    "Conditions": [
                        gate("LessThanOrEqualTo", _json_get("metrics.mean_wql"), _get("Parameters.MaxWql")),
                    ],
                    "IfSteps": [
                        {
                            "Name": "AlreadyRegistered",
                            "Type": "Condition",
                            "Arguments": {
                                "Conditions": [gate("Equals", _get("Parameters.RegisteredRunId"), "none")],
                                "IfSteps": [],
                                "ElseSteps": [
                                    after("Register", "RegisterModel", "Steps.Train.ModelArtifacts.S3ModelArtifacts"),
                                    after("LinkMlflow", "Processing", "Steps.Register.ModelPackageArn"),
                                ],
                            },
                        }
                    ],
                    "ElseSteps": [{"Name": "QualityTooLow", "Type": "Fail", "Arguments": {"ErrorMessage": "too low"}}],
                },
            },
        ],
    }


def forecaster_execution(**changes: Any) -> Execution:
    """An execution of the forecaster's pipeline that went well."""
    package_arn = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/demo-forecaster/3"
    given: dict[str, Any] = {
        "arn": FORECASTER_ARN,
        "pipeline": "demo-forecaster-build",
        "modified": BEGIN + timedelta(seconds=44),
        "parameters": {
            "FeatureGroupName": "demo-forecaster-minutes",
            "EvaluationTime": "2026-11-20T00:00:00Z",
            "GitCommit": "3f2c1ab",
            "Epochs": "60",
            "MaxWql": "0.25",
            "Confidence": "90",
        },
        "definition": forecaster_definition(),
        "steps": (
            step("Prepare", "Processing", 0.2, 4.1),
            step("Train", "Training", 4.4, 22.0),
            step("CreateModel", "Model", 26.5, 0.1),
            step("Transform", "Transform", 26.8, 4.9),
            step("Evaluate", "Processing", 31.9, 8.4),
            step("QualityGate", "Condition", 40.4, 0.1, metadata={"Condition": {"Outcome": "True"}}),
            step("AlreadyRegistered", "Condition", 40.5, 0.1, metadata={"Condition": {"Outcome": "False"}}),
            step("Register", "RegisterModel", 40.7, 0.2, metadata={"RegisterModel": {"Arn": package_arn}}),
            step("LinkMlflow", "Processing", 41.0, 2.8),
            StepRun("QualityTooLow", "Fail", "Skipped"),
        ),
    }
    return execution(**{**given, **changes})


def forecaster_evaluation(champion: bool = True, windows: int = 20, spacing: int = 30) -> dict[str, Any]:
    """What the forecaster's Evaluate writes, with figures of a plausible model. `spacing`: minutes between windows."""
    made = random.Random(12)
    first, horizon = datetime(2026, 11, 12, tzinfo=UTC), 30
    minutes = 8 * 24 * 60
    gaps = ((1260, 47), (2875, 3), (4033, 212), (6120, 1), (6555, 12), (8190, 2), (9002, 95), (10011, 5), (10920, 9))
    gaps += ((minutes - horizon - (windows - 1) * spacing + 9, 6),)  # one inside a test window
    level, burst, series = 0.0, 0.0, []
    for minute in range(minutes):
        level = 0.985 * level + made.gauss(0, 0.02)
        burst = burst * 0.93 + (made.expovariate(1 / 0.9) if made.random() < 0.004 else 0)
        day = math.sin(2 * math.pi * (minute / 1440 - 0.3))
        series.append(round(1.6 * math.exp(0.35 * day + level) * (1 + burst) + made.gauss(0, 0.05), 4))
    seen: list[float | None] = list(series)
    for start, length in gaps:
        seen[start : start + length] = [None] * length

    def moment(minute: int) -> str:
        return f"{first + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}"

    def losses(actual: list[float | None], forecast: dict[str, list[float]]) -> float:
        numerator, total = 0.0, sum(y for y in actual if y is not None)
        for key, values in forecast.items():
            q = float(key)
            numerator += sum(
                2 * max(q * (y - f), (1 - q) * (f - y)) for y, f in zip(actual, values, strict=True) if y is not None
            )
        return numerator / len(forecast) / total

    rows, forecasts = [], []
    for index in range(windows):
        origin = minutes - horizon - (windows - 1 - index) * spacing
        actual = seen[origin : origin + horizon]
        before = [y for y in seen[origin - 60 : origin] if y is not None]
        last, usual = sum(before[-5:]) / 5, sum(series[origin - 1440 : origin - 1440 + horizon]) / horizon
        middle = [usual + (last - usual) * 0.97**n for n in range(1, horizon + 1)]
        spread = [0.1 + 0.12 * math.sqrt(n) * (0.6 + usual / 3) for n in range(horizon)]
        quantiles = {
            "0.05": [round(m - s * 0.8, 4) for m, s in zip(middle, spread, strict=True)],
            "0.5": [round(m, 4) for m in middle],
            "0.95": [round(m + s * 1.3, 4) for m, s in zip(middle, spread, strict=True)],
        }
        naive = series[origin - 1440 : origin - 1440 + horizon]
        own = losses(actual, quantiles)
        rows.append(
            {
                "origin": moment(origin),
                "observed": sum(y is not None for y in actual),
                "mean_wql": own,
                "seasonal_naive": losses(actual, {key: naive for key in quantiles}),
                "champion": own * (1.07 + 0.1 * math.sin(index)) if champion else None,
            }
        )
        forecasts.append(
            {
                "origin": moment(origin),
                "history": {"start": moment(origin - 30), "values": seen[origin - 30 : origin]},
                "actual": actual,
                "mean": [round(m + 0.02, 4) for m in middle],
                "quantiles": quantiles,
            }
        )
    step = 18
    thinned = []
    for start in range(0, minutes, step):
        present = [y for y in seen[start : start + step] if y is not None]
        thinned.append(round(sum(present) / len(present), 4) if present else None)
    trained = [-0.2 + 1.3 * math.exp(-epoch / 9) + made.gauss(0, 0.02) for epoch in range(52)]
    best = min(range(52), key=trained.__getitem__)
    missing = sum(y is None for y in seen)
    theirs = {"mean_wql": 0.1312, "coverage": 0.8417, "rmse": 0.4411}
    return {
        "schema_version": 1,
        "workload": "forecaster",
        "frequency": "1min",
        "target": "avg_fee_1min",
        "prediction_length": horizon,
        "quantiles": [0.05, 0.5, 0.95],
        "confidence": 90,
        "metrics": {"mean_wql": 0.1234, "coverage": 0.8817, "rmse": 0.4127},
        "wql_by_quantile": {"0.05": 0.0541, "0.5": 0.2011, "0.95": 0.115},
        "interval": {"level": 0.9, "lower": 0.1127, "upper": 0.1361},
        "baselines": {"seasonal_naive": {"mean_wql": 0.2077, "coverage": 0.7233, "rmse": 0.6911}},
        "champion": {"model_uri": "s3://demo/models/2/model.tar.gz", "metrics": theirs} if champion else None,
        "champion_comparison": {"mean_wql_difference": -0.0078 if champion else 0.0},
        "windows": rows,
        "forecasts": forecasts,
        "recent": {"start": moment(0), "step_minutes": step, "values": thinned},
        "training": {
            "hyperparameters": {
                "time_freq": "1min",
                "context_length": "30",
                "prediction_length": "30",
                "epochs": "60",
                "early_stopping_patience": "40",
                "mini_batch_size": "114",
                "learning_rate": "0.004968",
                "likelihood": "student-T",
            },
            "epochs_run": 52,
            "best_epoch": best,
            "final_loss": trained[best],
            "losses": trained,
        },
        "data": {
            "schema_version": 1,
            "feature_group": "demo-forecaster-minutes",
            "target": "avg_fee_1min",
            "frequency": "1min",
            "evaluation_time": "2026-11-20T00:00:00Z",
            "snapshot_time": None,
            "observations": minutes - missing,
            "steps": minutes,
            "minutes": minutes - missing + 4,
            "missing": missing,
            "first": moment(0),
            "last": moment(minutes - 1),
            "gap_count": len(gaps),
            "gaps": [
                {"start": moment(start), "end": moment(start + length), "minutes": length} for start, length in gaps
            ],
            "versions": minutes - missing + 37,
            "superseded": 31,
            "deleted": 2,
            "left_out": {"avg_fee_1min is not a number": 3, "not a time": 1},
            "left_out_examples": {"avg_fee_1min is not a number": ["n/a", "n/a", "-"], "not a time": ["yesterday"]},
            "summary": {
                "mean": sum(series) / minutes,
                "minimum": min(series),
                "maximum": max(series),
                "zeros": 0,
                "quantiles": {"0.05": 0.9121, "0.5": sorted(series)[minutes // 2], "0.95": 2.9312},
            },
            "training": {"steps": minutes - windows * spacing, "observations": minutes - windows * spacing - 271},
            "windows": {"count": windows, "prediction_length": horizon, "spacing": spacing, "tail": 60},
            "query": {"id": "0f1e2d3c-aaaa-bbbb-cccc-000000000000", "scanned_bytes": 412311, "rows": 11159},
            "seconds": {"query": 0.4, "all": 1.2},
        },
        "mlflow": {
            "run_id": "fedcba9876543210fedcba9876543210",
            "experiment": "demo-forecaster",
            "models": {"forecast": "demo-forecaster-forecast"},
        },
    }
