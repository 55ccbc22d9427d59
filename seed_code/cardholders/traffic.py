"""Invents callers: `python -m seed_code.cardholders.traffic --examples examples.parquet --out FILE.jsonl`.

A line is a request, made of an example of Prepare's holdout (which no model has learnt from), and what became of it:

    {"request": {"usage_freq", "amount_spend", "uniq_merchant", "k", "features"}, "days_to_purchase": 3}

`days_to_purchase` counts from the request's day; null is none within the examples' horizon. A caller who tells what
became of an answer tells whether `days_to_purchase` is at most k.

With --drifted the callers ask about other holders: prices have risen fivefold, cards are used a third as often, and who
used to buy has stopped, while who seldom did now buys within days. Requests are far from training then, and answers
are wrong.

The same arguments give the same bytes.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seed_code.cardholders import example_requests, frames
from seed_code.cardholders.features import STORED_FEATURE_NAMES
from seed_code.common.arguments import ArgumentParser, whole_number
from seed_code.common.failure import reports_failure

_DEARER, _RARER = 5, 3
_OBEY = 0.9  # share of the drifted holders who do the opposite of before
_SOON_DAYS = 3
_AMOUNTS = ("amount_spend", "spend_7d", "spend_30d", "spend_90d", "mean_amount")


@reports_failure
def main() -> None:
    """Write requests with what became of them."""
    parser = ArgumentParser(prog="traffic")
    parser.add_argument("--examples", required=True, type=Path, help="the holdout's examples.parquet, from Prepare")
    parser.add_argument("--out", required=True, type=Path, help="file to write: .jsonl")
    parser.add_argument("--requests", type=whole_number(1, 1_000_000), default=1000, help="how many")
    parser.add_argument("--max-k", type=whole_number(1, 365), default=30, help="k is drawn from 1 to this")
    parser.add_argument("--drifted", action="store_true", help="of holders who are not those of the examples")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes")
    arguments = parser.parse_args()
    examples = frames.read(arguments.examples, frames.columns_of_examples(STORED_FEATURE_NAMES))
    lines = traffic(examples, arguments.requests, arguments.max_k, arguments.seed, drifted=arguments.drifted)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n" for line in lines)
    sys.stdout.write(f"{arguments.out}: {len(lines)} requests\n")


def traffic(examples: pd.DataFrame, requests: int, max_k: int, seed: int, *, drifted: bool) -> list[dict[str, Any]]:
    """Requests with what became of them. examples: as `frames.columns_of_examples` has them."""
    random = np.random.default_rng(seed)
    # Nobody is asked about twice before everybody was asked about once.
    rounds = -(-requests // len(examples))
    rows = np.concatenate([random.permutation(len(examples)) for _ in range(rounds)])[:requests]
    frame = examples.iloc[rows].reset_index(drop=True)
    days = random.integers(1, max_k + 1, requests).tolist()
    if drifted:
        frame = _drifted(frame, random)
    to_next = frame[frames.DAYS_TO_NEXT].to_numpy(np.float64)
    outcomes = [None if np.isnan(one) else int(one) for one in to_next]
    asked = example_requests.of(frame, STORED_FEATURE_NAMES)
    return [
        {"request": {**request, "k": k}, "days_to_purchase": outcome}
        for request, k, outcome in zip(asked, days, outcomes, strict=True)
    ]


def _drifted(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Other holders with other habits."""
    changed = frame.copy()
    for name in _AMOUNTS:
        changed[name] = changed[name] * _DEARER
    for name in ("usage_freq", "uniq_merchant"):
        changed[name] = changed[name] // _RARER
    used_to_buy = frame[frames.DAYS_TO_NEXT].le(7).to_numpy()
    obeys = random.random(len(frame)) < _OBEY
    soon = random.integers(1, _SOON_DAYS + 1, len(frame)).astype(np.float64)
    opposite = np.where(used_to_buy, np.nan, soon)
    changed[frames.DAYS_TO_NEXT] = np.where(obeys, opposite, frame[frames.DAYS_TO_NEXT].to_numpy(np.float64))
    return changed


if __name__ == "__main__":
    main()
