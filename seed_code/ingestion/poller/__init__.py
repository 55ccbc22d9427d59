"""The poller: asks the source of transactions, and publishes what it says as events, losing nothing of it.

    source (pages.py or websocket.py) ─ Observation ─> entries.py ─ entries of events ─> spool.py ─> publisher.py ─> bus

An observation is on disk before the source is asked again, and off it when the bus has said that it took it. So a
crash repeats an event and never loses one; and a bus that fails holds up nothing but what waits for it.
"""
