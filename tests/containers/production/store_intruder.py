"""What somebody tries who has taken over an orchestrator's container; runs there: `python - < store_intruder.py`.

With the orchestrator's own password it tries Valkey's other commands, and tells as JSON which of them were obeyed.
"""

import json
import os
from pathlib import Path

import redis

URL = Path(os.environ["BUSBAR_REDIS_URL_FILE"]).read_text().strip()
COMMANDS = (
    "FLUSHALL",
    "FLUSHDB",
    "KEYS *",
    "SCAN 0",
    "CONFIG GET *",
    "CONFIG SET appendonly no",
    "ACL LIST",
    "ACL SETUSER mine on nopass +@all ~*",
    "CLIENT LIST",
    "DEBUG SLEEP 0",
    "SHUTDOWN NOSAVE",
    "BGREWRITEAOF",
    "REPLICAOF NO ONE",
    "MONITOR",
    "SCRIPT FLUSH",
    "FUNCTION LIST",
    "MODULE LIST",
    "SUBSCRIBE any",
    "GET somebody-elses",
    "SET somebody-elses 1",
    "EVAL return{redis.call('get','somebody-elses')} 0",
    "EVAL return{redis.call('flushall')} 0",
)


def is_obeyed(client: redis.Redis, command: str) -> bool:
    try:
        client.execute_command(*command.split())  # type: ignore[no-untyped-call]
    except redis.RedisError:
        return False
    return True


def is_let_in(url: str) -> bool:
    try:
        redis.Redis.from_url(url).ping()
    except redis.RedisError:
        return False
    return True


client = redis.Redis.from_url(URL)
without_password = "redis://valkey:6379/0"
told = {
    "obeyed": [command for command in COMMANDS if is_obeyed(client, command)],
    "may do its own work": is_obeyed(client, "SET busbar:v1:cache:test 1 PX 1"),
    "was let in without a password": is_let_in(without_password),
}
print(json.dumps(told))
