"""Evaluations of a stage, in a localcloud that answers for AWS: what they leave, and what does them no harm."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from datetime import timedelta

import pytest

from seed_code.cardholders import monitor, pending
from seed_code.common import clients
from seed_code.common.errors import ClientError
from seed_code.common.objects import Objects
from tests.seed_code.cardholders.monitored_stage import (
    DAY,
    HOUR,
    THRESHOLD,
    Deployments,
    Stage,
    answer,
    line,
    made,
    record,
    truth,
)

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def deployments(localcloud):
    return Deployments.furnish(localcloud)


@pytest.fixture
def stage(deployments, aws):
    return deployments.stage()


def ask(stage: Stage, at, probabilities: Sequence[float], first: int = 0, **members) -> list[str]:
    """Requests, a second after each other, in one captured object; gives their ids."""
    times = [at + timedelta(seconds=number) for number in range(len(probabilities))]
    ids = [made(time, first + number) for number, time in enumerate(times)]
    lines = [
        line(identity, time, record(**members), answer(probability))
        for identity, time, probability in zip(ids, times, probabilities, strict=True)
    ]
    stage.capture(*lines, at=at)
    return ids


class TestAnHour:
    def test_nobody_asked(self, stage):
        report = stage.evaluate(stage.began + HOUR)
        assert report["verdict"] == "no-requests"
        assert report["reason"] == (
            "Nobody asked within 72 hours; 0 of 0 answers that came due within 72 hours have feedback; 4 are needed."
        )
        assert report["metrics"] == {
            "LossThreshold": THRESHOLD,
            "Feedback": 0,
            "Requests": 0,
            "DataFreshnessMinutes": 1440,
            "DriftDetected": 0,
        }
        assert report["fields"] == report["drift"] == []
        assert [cluster["found"] for cluster in report["clusters"]] == [None, None]

    def test_answers_are_judged_when_they_come_due(self, stage):
        asked = stage.began + 10 * MINUTE
        ids = ask(stage, asked, [0.125, 0.25, 0.75, 0.875])
        for identity, bought in zip(ids, [False, True, False, True], strict=True):
            stage.tell(identity, bought, asked)  # at once: it counts no earlier
        first = stage.evaluate(stage.began + HOUR)
        assert first["verdict"] == "too-little-feedback"
        assert first["metrics"]["Requests"] == 4
        assert first["metrics"]["DataFreshnessMinutes"] == pytest.approx(50 - 3 / 60)
        assert "BrierScore" not in first["metrics"]
        assert stage.joined(stage.began + HOUR) == []
        assert stage.evaluate(stage.began + DAY)["metrics"]["Feedback"] == 0

        due = stage.began + DAY + HOUR
        report = stage.evaluate(due)
        assert (report["verdict"], report["threshold"]) == ("scored", THRESHOLD)
        assert report["reason"] == "4 of 4 answers that came due within 72 hours have feedback."
        metrics = report["metrics"]
        assert metrics["BrierScore"] == pytest.approx((0.125**2 + 0.75**2 + 0.75**2 + 0.125**2) / 4)
        assert metrics["Accuracy"] == 0.5
        assert 0 < metrics["CalibrationError"] < 1
        assert (metrics["Feedback"], metrics["FeedbackShare"], metrics["Requests"]) == (4, 1, 0)
        assert metrics["DataFreshnessMinutes"] == 1440
        rows = stage.joined(due)
        assert [(row["inference_id"], row["purchased"]) for row in rows] == list(
            zip(ids, [False, True, False, True], strict=True)
        )
        assert rows[0] == {
            "inference_id": ids[0],
            "time": f"{asked:%Y-%m-%dT%H:%M:%SZ}",
            **record(),
            "features": {},
            **answer(0.125),
            "endpoint_config": stage.endpoint,
            "late": False,
            "purchased": False,
        }
        for name, value in metrics.items():
            assert stage.metrics(name, due) == [pytest.approx(value)], name
        assert stage.evaluate(due + HOUR)["metrics"]["Feedback"] == 4
        assert stage.evaluate(due + 71 * HOUR)["metrics"]["Feedback"] == 4
        assert stage.evaluate(due + 72 * HOUR)["verdict"] == "no-requests"

    def test_stored_features_that_were_sent_are_kept(self, stage):
        ids = ask(stage, stage.began, [0.5, 0.25], features={"gap_mean": 2.5, "gap_std": None})
        stage.tell_all(ids, True, stage.began)
        stage.evaluate(stage.began + HOUR)
        stage.evaluate(stage.began + DAY + HOUR)
        rows = stage.joined(stage.began + DAY + HOUR)
        assert [(row["inference_id"], row["features"]) for row in rows] == [(one, {"gap_mean": 2.5}) for one in ids]

    def test_repeated_it_leaves_the_same(self, stage):
        ids = ask(stage, stage.began, [0.25] * 5)
        stage.tell(ids[0], True, stage.began)
        times = [stage.began + HOUR, stage.began + 2 * HOUR, stage.began + DAY + HOUR]

        def kept():
            return {key: stage.content(f"{stage.root}/{key}") for key in stage.deployments.account.keys(stage.root)}

        for time in times:
            stage.evaluate(time)
        once = kept()
        for time in (*reversed(times), *times):
            stage.evaluate(time)
        assert kept() == once

    def test_without_a_state_it_has_not_happened(self, stage):
        ids = ask(stage, stage.began, [0.25] * 5)
        stage.tell_all(ids, True, stage.began)
        stage.evaluate(stage.began + HOUR)
        due = stage.began + DAY + HOUR
        once = stage.evaluate(due)
        bucket, _, key = stage.evaluation(due).state_uri.removeprefix("s3://").partition("/")
        stage.deployments.account.s3.delete_object(Bucket=bucket, Key=key)
        assert stage.evaluate(due) == once
        assert stage.state(due)["errors"] == [0.5625] * 5


class TestDamage:
    def test_an_evaluation_goes_on_from_the_state_before_a_damaged_one(self, stage):
        ids = ask(stage, stage.began, [0.25] * 5)
        stage.tell_all(ids, True, stage.began)
        for hours in (1, 2, 3):
            stage.evaluate(stage.began + hours * HOUR)
        due = stage.began + DAY + HOUR
        once = stage.evaluate(due)
        state = stage.state(stage.began + 3 * HOUR)
        for content in ("{", json.dumps({**state, "hours": {"x": 3}}), json.dumps({**state, "errors": ["x"]})):
            stage.put(stage.evaluation(stage.began + 3 * HOUR).state_uri, content)
            assert stage.evaluate(due)["metrics"] == once["metrics"]
        # Its own, which is read where there is none before.
        stage.put(stage.evaluation(stage.began + HOUR).state_uri, "{")
        assert stage.evaluate(stage.began + HOUR)["verdict"] == "too-little-feedback"

    def test_a_damaged_line_of_those_that_wait_is_passed_over(self, stage, capsys):
        ids = ask(stage, stage.began, [0.25] * 5)
        stage.tell_all(ids, True, stage.began)
        stage.evaluate(stage.began + HOUR)
        [key] = stage.keys("pending")
        uri = f"{stage.root}/monitor/prod/pending/{key.partition('pending/')[2] or key}"
        lines = stage.content(uri).decode().splitlines()
        damaged = ["{", "[]", "{}", *(json.dumps({**json.loads(lines[0]), "k": k}) for k in ("x", 10**9, None))]
        damaged.append(json.dumps({**json.loads(lines[0]), "time": "x"}))
        stage.put(uri, "\n".join([*damaged, *lines]))
        assert stage.evaluate(stage.began + DAY + HOUR)["answers"]["looked_at"] == 5
        told = [line for line in capsys.readouterr().out.splitlines() if "is damaged, and passed over" in line]
        assert len(told) == len(damaged)


class TestTime:
    def test_hours_that_were_left_out_are_made_up(self, stage):
        stage.evaluate(stage.began + HOUR)
        ids = ask(stage, stage.began + 2 * HOUR, [0.25] * 5)
        for identity in ids:
            stage.tell(identity, True, stage.began + 2 * HOUR)
        report = stage.evaluate(stage.began + 2 * DAY)
        assert (report["metrics"]["Feedback"], report["metrics"]["Requests"]) == (5, 0)
        assert report["answers"]["collected"] == 5

    def test_between_the_hours_nothing_counts_twice(self, stage):
        ids = ask(stage, stage.began + 10 * MINUTE, [0.25] * 3)
        ids += ask(stage, stage.began + 50 * MINUTE, [0.25] * 3)
        lines = [line(made(stage.began, 90 + at), stage.began + at * MINUTE) for at in (20, 45, 58)]
        stage.capture(*lines, at=stage.began + 20 * MINUTE)
        counts = []
        for minutes in (30, 60, 75, 120):
            report = stage.evaluate(stage.began + minutes * MINUTE)
            counts.append((report["answers"]["collected"], report["metrics"]["Requests"]))
        assert counts == [(4, 4), (5, 9), (0, 6), (0, 0)]
        stage.tell_all(ids, True, stage.began)
        for minutes in (30, 60, 75):
            report = stage.evaluate(stage.began + DAY + minutes * MINUTE)
        assert len(stage.state(stage.began + DAY + 75 * MINUTE)["errors"]) == 6
        assert report["metrics"]["Feedback"] == 6
        assert report["metrics"]["FeedbackShare"] == pytest.approx(6 / 9)

    def test_what_is_captured_late_counts_once(self, stage):
        ask(stage, stage.began + 10 * MINUTE, [0.25])
        stage.evaluate(stage.began + HOUR)
        ask(stage, stage.began + 59 * MINUTE, [0.25, 0.25], first=5)
        counts = [stage.evaluate(stage.began + hours * HOUR)["answers"]["collected"] for hours in (2, 3, 4)]
        assert counts == [2, 0, 0]
        assert sum(hour["requests"] for hour in stage.state(stage.began + 4 * HOUR)["hours"].values()) == 3


class TestFeedback:
    def test_late_feedback_counts_for_a_day(self, stage):
        ids = ask(stage, stage.began, [0.25] * 6)
        for identity in ids[:3]:
            stage.tell(identity, True, stage.began)
        due = stage.began + DAY + HOUR
        stage.evaluate(stage.began + HOUR)
        assert stage.evaluate(due)["metrics"]["FeedbackShare"] == 0.5
        for identity in ids[3:5]:
            stage.tell(identity, False, stage.began)
        again = due + pending.PATIENCE
        report = stage.evaluate(again)
        assert (report["metrics"]["Feedback"], report["verdict"]) == (5, "scored")
        assert [row["late"] for row in stage.joined(again)] == [True, True]
        stage.tell(ids[5], True, stage.began)
        assert stage.evaluate(again + pending.PATIENCE)["metrics"]["Feedback"] == 5

    def test_what_is_told_wrongly_is_not_believed(self, stage):
        ids = ask(stage, stage.began, [0.25] * 7)
        for identity in ids[:4]:
            stage.tell(identity, True, stage.began)
        stage.tell("20260101T000000Z-0000000000000000", True, stage.began)  # never answered
        stage.tell(ids[1], True, stage.began, name="again")  # twice
        stage.tell(ids[2], False, stage.began, name="contradiction")
        stage.tell(ids[4], "2", stage.began)
        stage.put(f"{stage.settings.ground_truth_uri}/{stage.began:%Y/%m/%d/%H}/{ids[5]}.jsonl", "torn\n[]\n\n{}")
        many = "".join(truth(identity, "1") for identity in (ids[6], "unknown"))
        stage.put(f"{stage.settings.ground_truth_uri}/{stage.began:%Y/%m/%d/%H}/upload.jsonl", many)
        stage.evaluate(stage.began + HOUR)
        report = stage.evaluate(stage.began + DAY + HOUR)
        found = {name: report["answers"][name] for name in ("told", "contradictory", "unreadable_feedback")}
        assert found == {"told": 4, "contradictory": 1, "unreadable_feedback": 4}
        told = [row["inference_id"] for row in stage.joined(stage.began + DAY + HOUR)]
        assert told == [ids[0], ids[1], ids[3], ids[6]]

    def test_the_hour_is_that_of_the_id(self, stage):
        """The API makes the id, and keeps feedback by it, a moment before the endpoint is asked."""
        asked = stage.began + HOUR
        identity = made(asked - timedelta(seconds=1), 7)
        stage.capture(line(identity, asked), at=asked)
        stage.tell(identity, True, asked - timedelta(seconds=1))
        stage.evaluate(asked + HOUR)
        assert stage.evaluate(asked + DAY + HOUR)["metrics"]["Feedback"] == 1

    def test_each_answer_of_a_batch_is_judged_by_itself(self, stage):
        name = made(stage.began, 3)
        batch = line(name, stage.began, [record(1), record(2), record(1)], [answer(0.5), answer(0.25), answer(0.0)])
        stage.capture(batch, at=stage.began)
        for place, bought in ((0, True), (1, False), (2, True)):
            stage.tell(f"{name}-{place}", bought, stage.began)
        stage.tell(name, True, stage.began)  # there is no such answer
        assert stage.evaluate(stage.began + HOUR)["metrics"]["Requests"] == 3
        for days, errors in ((1, [0.25, 1.0]), (2, [0.25, 1.0, 0.0625])):
            stage.evaluate(stage.began + days * DAY + HOUR)
            assert stage.state(stage.began + days * DAY + HOUR)["errors"] == errors


class TestCapture:
    def test_garbage_is_counted_and_left_alone(self, stage):
        good = line(made(stage.began, 1), stage.began)
        far = line(made(stage.began, 2), stage.began, record(k=10**6))
        stage.capture("torn", "[]", "{}", far, good, good, at=stage.began)
        stage.put(f"{stage.root}/capture/{stage.endpoint}/AllTraffic/{stage.began:%Y/%m/%d/%H}/other.txt", "text")
        report = stage.evaluate(stage.began + HOUR)
        found = {name: count for name, count in report["answers"].items() if count}
        assert found == {"collected": 1, "unreadable": 4, "repeated_ids": 1}

    def test_of_a_sample_only_what_was_captured_is_judged(self, stage):
        """Half of the requests are captured, and all callers tell."""
        ids = ask(stage, stage.began, [0.25] * 10)
        captured_ones, others = ids[:5], [made(stage.began, 1000 + number) for number in range(5)]
        stage.tell_all([*captured_ones, *others], True, stage.began)
        stage.evaluate(stage.began + HOUR)
        metrics = stage.evaluate(stage.began + DAY + HOUR)["metrics"]
        assert (metrics["Feedback"], metrics["FeedbackShare"]) == (5, 0.5)


class TestDrift:
    def test_requests_of_another_population(self, stage):
        even = [record(uses=5 * number + 2, features={"gap_mean": 900.0}) for number in range(20)]
        stage.capture(*(line(f"even-{number}", stage.began, one) for number, one in enumerate(even)), at=stage.began)
        like = stage.evaluate(stage.began + HOUR)
        assert {one["name"]: one["count"] for one in like["fields"] if one["request"]} == {
            "usage_freq": 20, "amount_spend": 20, "uniq_merchant": 20,
        }  # fmt: skip
        assert like["fields"][-1]["name"] == "gap_mean"
        assert like["fields"][-1]["psi"] > 1  # which alone is no drift: not every caller sends it
        assert like["drift"] == [
            {"stream": "input", "detector": "psi", "statistic": like["metrics"]["PopulationStabilityIndex"],
             "threshold": pytest.approx(1.7, abs=0.1), "detected": False},
        ]  # fmt: skip
        assert like["metrics"]["DriftDetected"] == 0
        assert like["metrics"]["ClusterShift"] == 0.25
        assert like["clusters"] == [
            {"cluster": 0, "expected": 0.75, "found": 1}, {"cluster": 1, "expected": 0.25, "found": 0}
        ]  # fmt: skip

        ask(stage, stage.began + HOUR, [0.25] * 500, uses=500)
        other = stage.evaluate(stage.began + 2 * HOUR)
        assert other["metrics"]["DriftDetected"] == 1
        assert other["metrics"]["PopulationStabilityIndex"] > other["drift"][0]["threshold"] == 0.25
        assert other["metrics"]["KolmogorovSmirnov"] > 0.9
        for one in other["fields"][:3]:
            for name, key in (("PopulationStabilityIndex", "psi"), ("KolmogorovSmirnov", "ks")):
                assert stage.metrics(name, stage.began + 2 * HOUR, Field=one["name"]) == [pytest.approx(one[key])]

    def test_too_few_requests_are_held_against_nothing(self, stage):
        ask(stage, stage.began, [0.25] * 19, uses=500)
        report = stage.evaluate(stage.began + HOUR)
        assert report["drift"] == report["fields"] == []
        assert not {"PopulationStabilityIndex", "KolmogorovSmirnov", "ClusterShift"} & set(report["metrics"])

    def test_errors_that_grow_are_found_once(self, stage):
        found = []
        for hour in range(6):
            asked = stage.began + hour * HOUR
            stage.tell_all(ask(stage, asked, [0.125] * 20), hour >= 4, asked)
            stage.evaluate(asked + HOUR)
        for hour in range(8):
            report = stage.evaluate(stage.began + DAY + hour * HOUR + HOUR)
            found.append([one["detected"] for one in report["drift"] if one["stream"] == "error"])
        assert found[:4] == [[False, False]] * 4
        # The test of Page and Hinkley first; ADWIN wants to see more. Each says it once.
        assert found[4:] == [[True, False], [False, True], [False, False], [False, False]]
        metrics = report["metrics"]
        assert metrics["PageHinkleyStatistic"] >= 0
        assert 0 < metrics["AdwinWidth"] <= 120


class TestDeployments:
    def test_another_deployment_begins_anew(self, deployments, stage):
        first_ids = ask(stage, stage.began, [0.25] * 8)
        stage.tell_all(first_ids, True, stage.began)
        stage.evaluate(stage.began + HOUR)
        stage.evaluate(stage.began + DAY)
        second = Stage(deployments, stage.root, deployments.endpoints[1])
        report = second.evaluate(stage.began + DAY + HOUR)
        # What the first one answered is kept with what became of it, and is not held against the second.
        assert len(second.joined(stage.began + DAY + HOUR)) == 8
        assert {row["endpoint_config"] for row in second.joined(stage.began + DAY + HOUR)} == {stage.endpoint}
        assert report["metrics"]["Feedback"] == 0
        assert "PageHinkleyStatistic" not in report["metrics"]

    def test_answers_from_before_it_served_are_nobodys(self, deployments, stage):
        """In the hour of an update some of the answers are the predecessor's."""
        served = deployments.account.sagemaker.describe_endpoint(EndpointName=stage.endpoint)["LastModifiedTime"]
        before = served.replace(microsecond=0) - timedelta(seconds=1)
        time = stage.began
        stage.capture(line(made(before, 1), before), line(made(served, 2), served), at=before)
        for moment, number in ((before, 1), (served, 2)):
            stage.tell(made(moment, number), True, moment)
        while time - HOUR > before:
            time -= HOUR
        stage.evaluate(time)
        until = time + DAY + HOUR
        report = stage.evaluate(until)
        of = {row["inference_id"]: row["endpoint_config"] for row in stage.joined(until)}
        assert of[made(before, 1)] is None
        assert report["metrics"]["Feedback"] == len(of) - 1

    def test_no_endpoint_and_another_one(self, stage):
        for changed, reason in (
            ({"endpoint": "nowhere"}, "There is no endpoint nowhere: "),
            ({"endpoint_config": "another"}, f"{stage.endpoint} is InService with {stage.endpoint}, not another."),
        ):
            report = stage.evaluate(stage.began + HOUR, **changed)
            assert report["verdict"] == "endpoint-failed"
            assert report["reason"].startswith(reason)
            assert set(report["metrics"]) == {"LossThreshold", "DriftDetected"}
        ask(stage, stage.began + HOUR, [0.25] * 2)
        assert stage.evaluate(stage.began + 2 * HOUR)["metrics"]["Requests"] == 2

    def test_without_a_profile_quality_is_judged_all_the_same(self, stage):
        ids = ask(stage, stage.began, [0.25] * 30)
        for identity in ids[:4]:
            stage.tell(identity, True, stage.began)
        stage.evaluate(stage.began + HOUR)
        state = {**stage.state(stage.began + HOUR), "profile_uri": f"{stage.root}/nothing.json"}
        stage.put(stage.evaluation(stage.began + HOUR).state_uri, json.dumps(state))
        report = stage.evaluate(stage.began + DAY + HOUR)
        assert report["profile"]["missing"] == f"there is no {stage.root}/nothing.json"
        assert (report["verdict"], report["fields"]) == ("scored", [])
        assert [cluster["expected"] for cluster in report["clusters"]] == [None]

    @pytest.mark.parametrize(
        ("content", "said"), [("torn", "is no profile: "), ('{"schema_version": 9}', "has schema_version 9")]
    )
    def test_what_is_no_profile_is_none(self, stage, content, said):
        stage.put(f"{stage.root}/broken.json", content)
        found, reason = monitor._profile(Objects(stage.deployments.account.s3), f"{stage.root}/broken.json")
        assert found is None
        assert said in reason

    def test_a_package_without_a_profile(self, stage):
        assert "has no `profile_uri`" in monitor._profile(Objects(stage.deployments.account.s3), None)[1]

    def test_a_package_that_is_not_there_is_named(self, stage):
        missing = stage.deployments.package_arn.rpartition("/")[0] + "/99"
        with pytest.raises(ClientError, match=r"model-package/.*/99 could not be described"):
            stage.evaluate(stage.began + HOUR, model_package_arn=missing)
        assert stage.keys("state") == []

    def test_places_that_are_none_of_s3s(self, stage):
        with pytest.raises(ClientError, match=r"`file:///x/.*` is no address in S3"):
            stage.evaluate(stage.began + HOUR, capture_uri="file:///x")


class TestProgram:
    @pytest.fixture
    def run(self, stage, monkeypatch, tmp_path, capsys):
        clients.session.cache_clear()  # it keeps the environment of whoever made its first client
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
        given = stage.evaluation(stage.began + HOUR)
        arguments = {
            "project": "demo",
            "stage": "prod",
            "evaluation-time": f"{given.time:%Y-%m-%dT%H:%M:%SZ}",
            "model-package-arn": given.model_package_arn,
            "model-version": "1",
            "endpoint-config": stage.endpoint,
            "monitor-uri": f"{stage.root}/monitor",
            "endpoint-prefix": "demo-cardholders",
            "capture-uri": given.capture_uri,
            "experiment": "demo",
            "threshold": "0.2",
            "ground-truth-uri": f"{stage.root}/truth",
            "window-hours": "72",
            "min-feedback": "200",
            "min-requests": "100",
            "max-psi": "0.25",
            "page-hinkley-delta": "0.005",
            "page-hinkley-threshold": "50.0",
            "page-hinkley-min-instances": "200",
            "adwin-delta": "0.0001",
        }

        def ran(**changed):
            words = [f"--{name}={value}" for name, value in {**arguments, **changed}.items()]
            monkeypatch.setattr(sys, "argv", ["monitor", *words])
            monitor.main()
            return capsys.readouterr().out

        return ran

    def test_it_says_what_it_found(self, run, stage):
        prefix, _, name = stage.endpoint.rpartition("-")
        out = run(**{"endpoint-prefix": prefix, "stage": name})
        assert f"monitor: {stage.endpoint} at " in out
        assert ": no-requests: Nobody asked" in out
        assert "warning: nothing goes to MLflow: MLFLOW_TRACKING_URI is not set" in out
        of = dataclasses.replace(stage.evaluation(stage.began + HOUR), root=f"{stage.root}/monitor/{name}")
        report = json.loads(stage.content(of.report_uri))
        assert report["mlflow"] == {"run_id": None, "error": "MLFLOW_TRACKING_URI is not set"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [("min-feedback", "0"), ("adwin-delta", "2"), ("threshold", "-1"), ("max-psi", "nan"), ("max-psi", "inf")],
    )
    def test_a_mistaken_setting_ends_it(self, run, name, value, capsys, tmp_path):
        with pytest.raises(SystemExit):
            run(**{name: value})
        assert name in (tmp_path / "output" / "message").read_text()
