"""A key of a caller runs one query; its repetitions are told what the first was told.

ledger   CENTRAL: claim a key, wait for whoever has it, or tell what was told
entries  the ledger's entries in the shared store
keys     what may be a key, and what makes two queries the same (pure)
"""
