"""What the services share in Redis or Valkey: an accelerator, which may be away at any time.

client      the store: a wait is at most 0.1 s, and one that is away costs that once → connection
connection  the one connection, which all share: replies come in the order of the commands
cache_keys  under which names the cache keeps its entries, generations and tallies
cache_book  how many entries live, and how they are all made invalid at once
retained    what is to outlast every process: of each name the newest word
"""

from services.runtime.left_out import left_out

with left_out("opentelemetry.sdk.metrics"):  # for redis-py's own metrics, which nobody asks for
    import redis.asyncio.connection  # noqa: F401

from services.runtime.store.client import Script, Store, StoreAwayError, StoreError, StoreRefusedError, open_store

__all__ = ["Script", "Store", "StoreAwayError", "StoreError", "StoreRefusedError", "open_store"]
