"""The deployment with containers, for real: docker-compose.prod.yml on a Docker engine."""
