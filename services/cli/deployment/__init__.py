"""What `busbar init` makes: the folder that docker-compose.prod.yml mounts, with every secret of one deployment.

deployment     the order in which it is made, kept and changed (CENTRAL)
bus_users      who may do what on NATS, and the file that says so
store_users    who may do what in Valkey, and the file that says so
folder         the files, with the owner and the mode that each must have
"""
