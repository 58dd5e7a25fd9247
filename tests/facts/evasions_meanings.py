"""More rows of test_evasions.py: words that mean something else than they seem to, and code that arrives by another way."""

from typing import Any

SPELLING: list[tuple[Any, Any]] = [
    ("git undo -h 3", "git commit -h"),
    ("php bin/console d:s:u --force", "php bin/console d:s:v"),
    ("php artisan mig:fresh", "php artisan mig:stat"),
    ("php bin/magento s:uni", "php bin/magento c:f"),
    ("drush sql:dr -y", "drush st"),
]  # fmt: skip

REMOTE: list[tuple[Any, Any]] = [
    ("docker run --entrypoint rm -v $PWD:/w alpine -rf /w", "docker run --entrypoint ls -v $PWD:/w alpine -la /w"),
    ("docker run --rm hashicorp/terraform:1.9 destroy -auto-approve", "docker run --rm hashicorp/terraform:1.9 validate"),
    ("docker run --rm registry.example.org/mirror/amazon/aws-cli:2 s3 rm s3://b --recursive", "docker run --rm amazon/aws-cli s3 ls"),
    ("docker run migrate/migrate -path /m -database pg://db/x down", "docker run migrate/migrate -path /m -database pg://db/x version"),
    ("docker run --rm -v $PWD:/git alpine/git push --force", "docker run --rm -v $PWD:/git alpine/git log --oneline"),
    ("podman run --rm docker.io/bitnami/kubectl@sha256:0a delete ns shop", "podman run --rm docker.io/bitnami/kubectl get ns"),
    (["docker run -d --name db1 postgres", "docker rm -f db2"], ["docker run -d --name db1 postgres", "docker rm -f db1"]),
    ("docker compose rm -fsv", "docker compose rm -fs"),
    ("docker compose up -d -V", "docker compose up -d"),
    ("docker system prune -af --volumes", "docker builder prune -af"),
]  # fmt: skip

MEANINGS: dict[str, list[tuple[Any, Any]]] = {"spelling": SPELLING, "remote": REMOTE}
