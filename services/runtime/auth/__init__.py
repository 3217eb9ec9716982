"""Who asks, and what they may use: independent of HTTP and of the bus.

- `authentication`  `authenticate` an authorization header; the rule for `anonymous_caller`
- `principals`      a `Principal` and its rights; `ANONYMOUS`, `BUS`
- `ring`            `KeyRing`: the keys in force, kept up with the file
- `keys`            the keys file: `add_key`, `list_keys`, `revoke_key`
"""
