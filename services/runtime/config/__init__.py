"""`busbar.yaml`: the policy everyone reads, and the connections that only worker and supervisor read.

- `file`         finds the file; `load_policy`, `public_text`
- `connections`  how each server is reached; `load_config`, `load_connection`
- `policy`       the models of the public part; `LivePolicy`, the one that is in force
- `following`    reads the file anew when that is ordered on the bus; calls `file`
- `document`     reads the file and parts public from private keys; calls `syntax`, `policy`
- `syntax`       YAML or JSON text as plain data
- `expansion`    `${VARIABLE}` in private values
- `headers`      which header names may be configured
- `errors`       what is wrong, one line each, without a secret in it
"""
