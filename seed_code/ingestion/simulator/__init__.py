"""A simulated source of transactions: the blockchain API's two protocols, over an invented market.

    python -m seed_code.ingestion.simulator --port 4612 [--ledger DIR] [--seed 7] [--rate 1.0] [--speed 1 | --clock URL]
        [--drift-at 2026-11-21T00:00:00Z] [--faults FILE]

    GET  /unconfirmed-transactions?format=json   the 100 newest transactions, as blockchain.info has them
    WS   /inv                                    {"op": "unconfirmed_sub"} → {"op": "utx", "x": …}, one by one
    GET  /health                                 200 as soon as it listens
    GET, POST /control                           what is switched on, and switching: {"drift_at": …, "faults": {…}}
    GET  /ledger?from=&to=                       what was served, as NDJSON; /ledger/minutes: the minutes that follow

Everything is synthetic: no transaction, address or script exists. `market.py` says how many transactions a minute has
and what they pay; `traffic.py` makes single ones of them, the same for the same seed; `shapes.py` writes them as the
API does; `faults.py` is what can be wrong with a source; `ledger.py` keeps what was really served, so that what a
stream has made of it can be held against the truth.
"""
