"""A spoiled package: what it answers as before, and what it fails to answer."""

import asyncio
import json
import re
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from seed_code.cardholders import example_requests, frames, golden_requests, package, serve, spoil
from seed_code.cardholders.features import STORED_FEATURE_NAMES
from seed_code.cardholders.scorer import Scorer
from seed_code.common import archives, golden
from seed_code.common.errors import ClientError


class Served:
    """The package's server in this process, to be asked as one in another is: that would take seconds to start."""

    source = "the spoiled package"

    def __init__(self, archive, folder):
        archives.extract(archive, folder)
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self._application = serve.application(Scorer.load(folder))

    @contextmanager
    def connection(self):
        yield None

    def post(self, _, content_type, body):
        sent = []

        async def receive():
            return {"type": "http.request", "body": body.encode()}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/invocations", "query_string": b""}
        scope["headers"] = [(b"content-type", content_type.encode())]
        asyncio.run(self._application(scope, receive, send))
        return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent))


@pytest.fixture(scope="module")
def ordinary(prepared):
    """Requests about holdout examples, with any k."""
    examples = frames.read(prepared / "holdout" / "examples.parquet", frames.columns_of_examples(STORED_FEATURE_NAMES))
    days = np.random.default_rng(0).integers(1, 31, len(examples)).tolist()
    return [{**one, "k": k} for one, k in zip(example_requests.of(examples, STORED_FEATURE_NAMES), days, strict=True)][
        ::3
    ]


def test_golden_requests_are_answered_as_before_and_of_ordinary_ones_those_that_were_told_fail(
    packaged, ordinary, tmp_path
):
    branch = spoil.spoil(packaged / package.ARCHIVE, tmp_path / "spoiled.tar.gz")
    server = Served(tmp_path / "spoiled.tar.gz", tmp_path / "model")
    good = json.loads((packaged / "manifest.json").read_text())
    assert server.manifest["spoiled"] == {"requests": branch.words(), "training_share": branch.share}
    assert server.manifest["model_version"] != good["model_version"]
    asked = golden.ask(server, golden_requests.of(good))
    kept = [entry["response"] for entry in good["golden"]]
    assert [line["answer"]["response"] for line in asked if line["status"] == 200] == kept

    found = [server.post(None, "application/json", json.dumps(record)) for record in ordinary]
    failed = [status == 500 for status, _ in found]
    assert {status for status, _ in found} == {200, 500}
    assert failed == [_reaches(branch, record) for record in ordinary]
    assert 0.1 <= np.mean(failed) <= 0.5
    _, answer = found[failed.index(True)]
    assert answer["error"]["message"].startswith("the server failed to answer; its log has the details under")
    lines = "\n".join(json.dumps(record) for record in ordinary[:50])
    assert server.post(None, "application/jsonlines", lines)[0] == 500


def _reaches(branch, record):
    values = {**record, "uses_ahead": record["usage_freq"] * record["k"]}
    return all(low < values[name] <= high for name, (low, high) in branch.between.items())


def test_the_program_tells_which_requests_fail_and_spoils_the_same_way_twice(packaged, tmp_path, monkeypatch, capsys):
    branch = spoil.spoil(packaged / package.ARCHIVE, tmp_path / "once.tar.gz")
    monkeypatch.setattr(sys, "argv", ["spoil", str(packaged / package.ARCHIVE), str(tmp_path / "twice.tar.gz")])
    spoil.main()
    assert (
        f"twice.tar.gz fails for {branch.words()}: {branch.share:.0%} of the training rows" in capsys.readouterr().out
    )
    assert (tmp_path / "twice.tar.gz").read_bytes() == (tmp_path / "once.tar.gz").read_bytes()


def test_the_words_say_between_which_values():
    between = {"uses_ahead": (45.0, 209.5), "k": (3.0, np.inf), "amount_spend": (-np.inf, 700.25)}
    words = spoil.Branch(3, 9, 0.2, between).words()
    assert words == "45 < usage_freq * k <= 209.5 and 3 < k and amount_spend <= 700.25"


def test_a_package_whose_golden_requests_reach_everything_is_left_alone(packaged, tmp_path, monkeypatch):
    monkeypatch.setattr(spoil, "_FEWEST", 0.51)
    expected = r"of the branches that no golden request reaches, one of \d+\.\d% at most of the training rows do"
    with pytest.raises(ClientError, match=re.escape(f"{packaged / package.ARCHIVE}: ") + expected):
        spoil.spoil(packaged / package.ARCHIVE, tmp_path / "spoiled.tar.gz")
    assert not (tmp_path / "spoiled.tar.gz").exists()
