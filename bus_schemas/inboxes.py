"""Where replies go: the inbox of a process on its first connection, and on its second one for large results."""


def bulk_inbox(inbox: str) -> str:
    """Where large results go: the inbox of the same process on its second connection, so that they delay no other.

    `_INBOX_orchestrator.<instance>.r.7` → `_INBOX_orchestrator.<instance>-bulk.r.7`.
    """
    service, instance, rest = inbox.split(".", 2)
    return f"{service}.{bulk_instance(instance)}.{rest}"


def bulk_instance(instance: str) -> str:
    """The name of a process on its second connection."""
    return f"{instance}-bulk"
