"""Short sessions as agents run them: every call of the first list passes; the last call of each twin is held."""

PASSING: tuple[tuple[str, ...], ...] = (
    ("cat > repro.py <<'EOF'\nprint(1)\nEOF", "python repro.py", "rm repro.py"),
    ("django-admin startproject shop", "cd shop && python manage.py check", "rm -rf shop"),
    ("mkdir -p tmp_app && touch tmp_app/__init__.py", "python -m pytest tmp_app", "rm -r tmp_app"),
    ("cargo new hello", "cd hello && cargo test", "rm -rf hello"),
    ("cargo build", "./target/debug/app --help", "rm -rf target"),
    ("npm create vite@latest demo -- --template react-ts", "cd demo && npm install && npm run build", "rm -rf demo"),
    ("git clone --depth 1 https://github.com/acme/lib.git", "ls lib", "rm -rf lib"),
    ("mkdir out && cd out && cmake .. && make && cd .. && rm -rf out",),
    ("python -m venv testenv", "testenv/bin/pip install requests", "rm -rf testenv"),
    ("go test -coverprofile=cover.out ./...", "go tool cover -func=cover.out", "rm cover.out"),
    ("sed -i.bak 's/a/b/' notes.txt", "rm notes.txt.bak"),
    ("pytest --junitxml=report.xml", "rm report.xml"),
    ("gzip -k big.txt", "rm big.txt.gz"),
    ("git checkout -b feat/login", "git commit -am wip", "git push -u origin feat/login"),
    ("npx vite --port 4173 &", "curl -s localhost:4173", "pkill -f vite"),
    ("./target/debug/server &", "pkill server"),
    ("git branch -d merged", "git worktree remove ../wt"),
)

TWINS: tuple[tuple[str, ...], ...] = (
    ("python repro.py", "rm repro.py"),  # nobody saw it made
    ("ls shop", "rm -rf shop"),
    ("cargo build", "rm -rf src"),  # a build fills target, nothing else
    ("go test ./...", "rm cover.out"),
    ("gzip big.txt", "rm big.txt.gz"),  # without -k it is the only copy
    ("git checkout -b feat/login", "git push origin main"),
    ("git checkout -b feat/login", "git push --force origin feat/login"),
    ("npx vite &", "pkill node"),  # the agent runs on node too
    ("./target/debug/server &", "pkill -u bob server"),
    ("git branch -D feature",),
    ("git worktree remove --force ../wt",),
    ("mv notes.txt demo", "npm create vite@latest demo", "rm -rf demo"),  # something older was moved there
)
