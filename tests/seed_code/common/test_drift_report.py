"""A drift report goes where it belongs, is the same each time, and fetches nothing; and too little is no failure."""

import http.server
import json
import threading
from datetime import UTC, datetime, timedelta

import boto3
import numpy as np
import pytest

from seed_code.common import clients, drift_report, monitoring
from seed_code.common.drift_report import PSI, WASSERSTEIN, Classification, Drift, Part, Regression, Table
from seed_code.common.errors import ClientError
from seed_code.common.monitoring_store import put_report
from seed_code.common.objects import Objects
from tests.roles import make_role

BUCKET = "drift-reports"
T = datetime(2026, 3, 2, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def bucket(localcloud):
    client = boto3.client(
        "s3",
        endpoint_url=localcloud.endpoint,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return client


@pytest.fixture
def objects(bucket, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Objects(bucket)


def evaluation(of, time=T, config="deployment-1"):
    """What a report is about; `of` keeps tests apart."""
    return monitoring.Evaluation(
        project="p",
        workload="forecaster",
        stage="prod",
        time=time,
        endpoint="p-forecaster-prod",
        endpoint_config=config,
        model_package_arn="arn:aws:sagemaker:eu-west-1:123456789012:model-package/p-forecaster/3",
        model_version=3,
        root=f"s3://{BUCKET}/{of}/prod",
        capture_uri=f"s3://{BUCKET}/{of}/capture",
        experiment="p-forecaster",
    )


def minutes(shift, count=400, seed=0):
    random = np.random.default_rng(seed)
    fee = random.lognormal(9 + shift, 0.3, count).tolist()
    return {"fee": [None if at == 7 else value for at, value in enumerate(fee)], "kind": ["a", "b"] * (count // 2)}


def points(count=200, seed=0):
    random = np.random.default_rng(seed)
    actual = random.lognormal(9, 0.3, count)
    times = [T - timedelta(minutes=count - number) for number in range(count)]
    return {"time": times, "actual": actual.tolist(), "forecast": (actual * random.lognormal(0, 0.1, count)).tolist()}


def answers(count=200, seed=0):
    random = np.random.default_rng(seed)
    probability = random.uniform(0, 1, count)
    happened = (random.uniform(0, 1, count) < probability).astype(int)
    return {"probability": probability.tolist(), "purchased": happened.tolist()}


NOTHING = Part("nothing", "Answers", "3 answers; 30 are needed")
HOURS = Table("hours", "Hours", "One by one.", ("hour", "loss"), [("05:00", 0.1), ("</script><!--", 0.2)])
PARTS = (
    HOURS,
    Drift("inputs", "Inputs", "a with b", minutes(0.7), minutes(0.0, seed=1), {"fee": 0.5}, WASSERSTEIN),
    Drift("kinds", "Kinds", "a with b", minutes(0.0), minutes(0.0), {"kind": 0.25}, PSI, categories=("kind",)),
    Regression("forecasts", "Forecasts", "a with b", points(), points(seed=1), "forecast", "actual"),
    Regression("alone", "Forecasts", "a alone", points(), None, "forecast", "actual"),
    Classification("answers", "Answers", "a alone", answers(), None, "probability", "purchased", 0.5),
    NOTHING,
)


@pytest.fixture(scope="module")
def drift_page():
    """Imported when it is needed: Evidently is large."""
    from seed_code.common import drift_page

    return drift_page


DAILY = "daily"
ALARM = "p-forecaster-prod-drift </script>"


@pytest.fixture(scope="module")
def page(drift_page):
    of = evaluation("whole")
    return drift_page.draw("forecaster, prod: 2026-03-02 06:00 UTC", drift_report.facts(of, ALARM), PARTS).page


def read(objects, uri):
    content = objects.get(uri)
    assert content is not None, uri
    return content.decode()


def test_a_report_says_what_drifted_and_what_it_is_about(objects, page, capsys):
    of = evaluation("whole")
    said = drift_report.publish(of, ALARM, PARTS, objects)
    kept = json.loads(read(objects, f"{of.drift_uri}/report.json"))
    assert kept == said
    assert (kept["verdict"], kept["drifted"], kept["reason"]) == ("reported", ["fee"], ALARM)
    assert kept["page"] == f"s3://{BUCKET}/whole/prod/drift/2026/03/02/20260302T060000Z/report.html"
    parts = {part["name"]: part for part in kept["parts"]}
    assert list(parts) == ["hours", "inputs", "kinds", "forecasts", "alone", "answers", "nothing"]
    assert (parts["inputs"]["current"], parts["inputs"]["reference"], parts["alone"]["reference"]) == (400, 400, 0)
    (fee,) = parts["inputs"]["columns"]
    assert fee["distance"] > fee["threshold"] == 0.5
    assert parts["kinds"]["columns"] == [
        {"column": "kind", "method": "psi", "distance": 0.0, "threshold": 0.25, "drifted": False}
    ]
    names = [metric["metric_name"].partition("(")[0] for metric in parts["forecasts"]["metrics"]]
    assert {"RMSE", "MAE"} <= set(names)
    assert parts["nothing"]["text"] == NOTHING.text
    assert "MLFLOW_TRACKING_URI is not set" in kept["mlflow"]["error"]
    assert "drifted: fee" in capsys.readouterr().out
    # The same parts give the same page, and what the data say ends no script of it.
    assert read(objects, kept["page"]) == page
    assert "the alarm p-forecaster-prod-drift < /script>" in page
    assert "</script><!--" not in page


@pytest.mark.browser
@pytest.mark.slow  # Evidently's scripts, in a browser
def test_the_page_shows_all_its_parts_and_fetches_nothing(page, tmp_path):
    from playwright.sync_api import expect

    from tests.pipelines.browsers import chromium

    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    said, asked = [], []
    with chromium() as browser:
        opened = browser.new_page()
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(file.as_uri())
        for text in ("Hours", "Data Drift Summary", "Predicted vs Actual in Time", "Confusion Matrix", NOTHING.text):
            expect(opened.get_by_text(text, exact=True).first).to_be_visible(timeout=20_000)
        # A column's row opens, and shows how its values are distributed.
        drawn = opened.locator(".js-plotly-plot").count()
        opened.locator("tr", has_text="fee").locator("button").first.click()
        expect(opened.locator(".js-plotly-plot")).not_to_have_count(drawn, timeout=20_000)
        expect(opened.get_by_text("Not implemented")).to_have_count(0)
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_too_little_for_every_part_is_a_page_that_says_so(objects):
    of = evaluation("little")
    said = drift_report.publish(of, DAILY, [HOURS, NOTHING], objects)
    assert (said["verdict"], said["drifted"]) == ("too-little-data", [])
    page = read(objects, said["page"])
    assert "3 answers; 30 are needed" in page
    assert "<th>Why</th><td>daily</td>" in page
    assert "&lt;/script&gt;&lt;!--" in page


def test_the_hours_are_those_of_the_period(objects):
    for number in range(30):
        time = T - number * monitoring.HOUR
        config = "deployment-1" if number < 20 else "deployment-0"
        of = evaluation("period", time, config)
        put_report(objects, of, monitoring.report(of, monitoring.SCORED, "fine", {"MeanWeightedQuantileLoss": number}))
    objects.put(f"s3://{BUCKET}/period/prod/evaluations/2026/03/02/notes.txt", b"of somebody else")
    of = evaluation("period")
    found = drift_report.evaluations(objects, of, T - 24 * monitoring.HOUR)
    assert [report["metrics"]["MeanWeightedQuantileLoss"] for report in found] == list(range(23, -1, -1))
    assert [report["endpoint_config"] for report in drift_report.of_deployment(found, of)] == ["deployment-1"] * 20
    assert (
        len(drift_report.evaluations(objects, evaluation("period", T - monitoring.HOUR), T - 3 * monitoring.HOUR)) == 2
    )


def test_evaluations_that_are_damaged_are_passed_over(objects, capsys):
    for number, content in enumerate((b"{", b"[]", b"\xff", b"{}", b'{"schema_version": 9}')):
        objects.put(evaluation("damaged", T - number * monitoring.HOUR).report_uri, content)
    assert drift_report.evaluations(objects, evaluation("damaged"), T - 24 * monitoring.HOUR) == []
    assert capsys.readouterr().out.count("is damaged, and passed over") == 3


class Mlflow(http.server.BaseHTTPRequestHandler):
    """What the report asks of a tracking server. `kept` is all that it was told; `place` where runs keep files."""

    kept: dict
    place: str
    runs: list

    def do_GET(self):
        if "get-by-name" in self.path:
            self.answer({"experiment": {"experiment_id": "7"}})
        else:
            self.answer({"run": {"info": {"artifact_uri": self.place}}})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("runs/search"):
            self.answer({"runs": [{"info": {"run_id": run}} for run in self.runs]})
        else:
            tag = json.loads(body)
            self.kept[tag["key"]] = tag["value"]
            self.answer({})

    def do_PUT(self):
        self.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({})

    def answer(self, document):
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def mlflow(objects, monkeypatch):
    handler = type("Handler", (Mlflow,), {"kept": {}, "place": "mlflow-artifacts:/7/run/artifacts", "runs": ["run"]})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_mlflow_gets_the_page_and_its_address(objects, mlflow):
    said = drift_report.publish(evaluation("mlflow"), DAILY, [NOTHING], objects)
    assert said["mlflow"] == {"run_id": "run"}
    path = "/api/2.0/mlflow-artifacts/artifacts/7/run/artifacts/drift/20260302T060000Z/report.html"
    assert mlflow.kept == {drift_report.TAG: said["page"], path: read(objects, said["page"]).encode()}


def test_a_run_that_keeps_its_files_in_s3_gets_the_page_there(objects, mlflow):
    mlflow.place = f"s3://{BUCKET}/mlflow/7/run/artifacts"
    said = drift_report.publish(evaluation("mlflow-s3"), DAILY, [NOTHING], objects)
    assert said["mlflow"] == {"run_id": "run"}
    assert read(objects, f"{mlflow.place}/drift/20260302T060000Z/report.html") == read(objects, said["page"])


@pytest.mark.parametrize(
    ("runs", "place", "why"),
    [
        ([], "", "has no run of the deployment deployment-1"),
        (["run"], "file:///somewhere", "kept at file:///somewhere/drift/20260302T060000Z/report.html; expected s3://"),
    ],
)
def test_mlflow_that_takes_no_page_ends_no_report(objects, mlflow, capsys, runs, place, why):
    mlflow.runs, mlflow.place = runs, place
    said = drift_report.publish(evaluation("mlflow-not"), DAILY, [NOTHING], objects)
    assert said["mlflow"]["run_id"] is None
    assert why in said["mlflow"]["error"]
    assert f"warning: the report is not in MLflow: {said['mlflow']['error']}" in capsys.readouterr().out


def test_s3_that_is_not_there_is_named(objects):
    of = evaluation("x")
    with pytest.raises(ClientError, match="s3://no-such-bucket-at-all"):
        drift_report.publish(
            monitoring.Evaluation(**{**of.__dict__, "root": "s3://no-such-bucket-at-all/x"}), "no", [NOTHING], objects
        )


# --- the workloads' programs, whole -----------------------------------------------------------------------------------

FEE = "avg_fee_1min"


@pytest.fixture
def run(aws, bucket, monkeypatch, capsys):
    """Runs a workload's program in the account; gives its report and what it printed."""
    clients.session.cache_clear()  # it keeps the environment of its first client

    def ran(program, of, *arguments):
        told = {
            "--project": of.project,
            "--stage": of.stage,
            "--evaluation-time": monitoring.iso(of.time),
            "--model-package-arn": of.model_package_arn,
            "--model-version": f"{of.model_version}",
            "--endpoint-config": of.endpoint_config,
            "--monitor-uri": of.root.removesuffix(f"/{of.stage}"),
            "--endpoint-prefix": of.endpoint.removesuffix(f"-{of.stage}"),
            "--capture-uri": of.capture_uri,
            "--experiment": of.experiment,
        }
        argv = [part for pair in told.items() for part in pair]
        monkeypatch.setattr("sys.argv", ["drift_report", *argv, *arguments])
        program.main()
        return json.loads(read(Objects(bucket), f"{of.drift_uri}/report.json")), capsys.readouterr().out

    return ran


@pytest.fixture(scope="module")
def minutes_group(localcloud):
    """Every second minute of six hours before T, and of the same hours a day before, when fees were half as high."""
    clients = {
        name: boto3.client(
            name,
            endpoint_url=localcloud.endpoint,
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        for name in ("iam", "sagemaker", "sagemaker-featurestore-runtime")
    }
    group = "drift-report-minutes"
    types = {"tx_minute": "String", "event_time": "String", FEE: "Fractional", "total_nb_trx_1min": "Integral"}
    clients["sagemaker"].create_feature_group(
        FeatureGroupName=group,
        RecordIdentifierFeatureName="tx_minute",
        EventTimeFeatureName="event_time",
        FeatureDefinitions=[{"FeatureName": name, "FeatureType": kind} for name, kind in types.items()],
        OnlineStoreConfig={"EnableOnlineStore": True},
        RoleArn=make_role(clients["iam"], "drift-report"),
    )
    while clients["sagemaker"].describe_feature_group(FeatureGroupName=group)["FeatureGroupStatus"] == "Creating":
        pass
    random = np.random.default_rng(0)
    for back, fee in ((0, 2000.0), (1440, 1000.0)):
        for at in range(1, 361, 2):
            minute = T - timedelta(minutes=back + at)
            values = {
                "tx_minute": f"{minute:%Y-%m-%dT%H:%M:%SZ}",
                "event_time": f"{minute + timedelta(seconds=60):%Y-%m-%dT%H:%M:%SZ}",
                FEE: f"{fee * random.lognormal(0, 0.1)}",
                "total_nb_trx_1min": f"{random.poisson(280)}",
            }
            clients["sagemaker-featurestore-runtime"].put_record(
                FeatureGroupName=group,
                Record=[{"FeatureName": name, "ValueAsString": value} for name, value in values.items()],
            )
    return group


def test_the_forecasters_program_finds_fees_that_doubled(run, objects, minutes_group, drift_page):
    from seed_code.forecaster import drift_report as program

    of = evaluation("forecaster")
    for number in range(3):
        hour = evaluation("forecaster", T - number * monitoring.HOUR)
        origin = monitoring.iso(hour.begin)
        window = {"origin": origin, "actual": [2000.0 + at for at in range(30)], "mean": [1100.0] * 30}
        report = monitoring.report(hour, "scored", "fine", {"MeanWeightedQuantileLoss": 0.45}, windows=[window])
        put_report(objects, hour, report)
    series = ("--feature-group", minutes_group, "--target", FEE, "--frequency", "1min")
    report, said = run(program, of, *series, "--reason", "p-forecaster-prod-drift")
    assert (report["verdict"], report["drifted"]) == ("reported", [FEE])
    parts = {part["name"]: part for part in report["parts"]}
    assert parts["forecasts"]["current"] == 90
    assert "a day before" in parts["minutes"]["text"]
    assert "drift_report: reported; drifted: avg_fee_1min; s3://" in said
    assert "the alarm p-forecaster-prod-drift" in read(objects, report["page"])


def test_the_forecasters_program_without_data_says_so(run, objects, minutes_group):
    from seed_code.forecaster import drift_report as program

    of = evaluation("forecaster-empty", T - timedelta(days=30))
    series = ("--feature-group", minutes_group, "--target", FEE, "--frequency", "1min")
    report, said = run(program, of, *series, "--reason", DAILY)
    assert report["verdict"] == "too-little-data"
    assert "drift_report: too-little-data; drifted: nothing" in said
    page = read(objects, report["page"])
    assert "None of the last 24 hours was evaluated." in page
    assert "The store has 0 of the 1440 steps of the last 24 hours." in page


def test_the_forecasters_program_names_a_frequency_that_is_none(run, minutes_group, capsys):
    from seed_code.forecaster import drift_report as program

    with pytest.raises(SystemExit):
        run(program, evaluation("x"), "--feature-group", minutes_group, "--target", FEE, "--frequency", "often")
    assert "--frequency is `often`; expected a multiple" in capsys.readouterr().err


def test_the_cardholders_program_finds_a_population_that_is_another(run, objects, drift_page):
    from seed_code.cardholders import drift_report as program
    from seed_code.cardholders import profile

    of = evaluation("cardholders")
    random = np.random.default_rng(0)
    columns = {"usage_freq": random.poisson(40, 2000), "amount_spend": random.lognormal(6, 1, 2000)}
    document = profile.document(profile.of_fields(columns), [0.7, 0.3])
    objects.put(f"s3://{BUCKET}/profile.json", json.dumps(document).encode())
    known = profile.Profile.read(document, "it").fields
    counts = {
        "usage_freq": known["usage_freq"].count(random.poisson(40, 500)),
        "amount_spend": known["amount_spend"].count(random.lognormal(8, 1, 500)),
    }
    judged = [[round(value, 6), int(random.random() < value), int(value > 0.5)] for value in random.random(300)]
    hour = {"requests": 500, "counts": counts, "clusters": {"0": 340, "1": 160}, "due": 310, "judged": judged}
    state = {"endpoint_config": of.endpoint_config, "hours": {monitoring.iso(of.begin): hour}}
    objects.put(of.state_uri, json.dumps(state).encode())
    fields = [{"name": name, "psi": 0.1, "ks": 0.1, "count": 500, "request": True} for name in counts]
    about = {"uri": f"s3://{BUCKET}/profile.json"}
    put_report(objects, of, monitoring.report(of, "scored", "fine", {"BrierScore": 0.2}, fields=fields, profile=about))
    report, _ = run(program, of, "--window-hours", "72", "--max-psi", "0.25")
    assert (report["verdict"], report["drifted"]) == ("reported", ["amount_spend"])
    assert [part["name"] for part in report["parts"]] == ["hours", "fields", "clusters", "answers", "calibration"]
    assert {"current": 500, "reference": 2000}.items() <= report["parts"][1].items()
    objects.put(of.state_uri, b"{")
    report, _ = run(program, of, "--window-hours", "72", "--max-psi", "0.25")
    assert [part["name"] for part in report["parts"]] == ["hours", "evaluation"]
