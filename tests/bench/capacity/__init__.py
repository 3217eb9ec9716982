"""How much one Busbar holds: `python -m tests.bench.capacity [ROW…]`, the rows of capacity in docs/load-testing.md.

| file | the row |
|---|---|
| `hits.py` | answers from the memory of one orchestrator |
| `waiting.py` | 1,000 and 5,000 callers of a tool that waits |
| `replicas.py` | two orchestrators and two workers against one of each |
| `many_servers.py` | 200 servers with 10,000 tools against two |
| `start_up.py` | `busbar up` with the two examples, until it is ready |
| `results.py` | results of 1 kB and 50 kB, over stdio and HTTP, in both eras |

`rows.py` names them; `figures.py` says what a figure is; `callers.py`, `lean_server.py`, `sdk_server.py` and
`announcers.py` are the load, `lean.py` is the way to the lean server. `tests/bench/wrk.py` asks, and counts processor
time.
"""
