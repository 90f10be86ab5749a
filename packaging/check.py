#!/usr/bin/env python3
"""Checks what ships the program: units, Dockerfile, compose file.

    packaging/check.py PROGRAM

Other people's tools read the files; PROGRAM must know every option that they give it.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parent
UNITS = ["sdpp-seller.service", "sdpp-ledger.service"]
# What docs/operations.md promises of every unit.
PROMISED = {
    "Type": "exec",
    "User": "sdpp",
    "StateDirectory": "sdpp",
    "KillSignal": "SIGTERM",
    "Restart": "on-failure",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
}


def run(*command):
    """What a tool says is wrong; nothing if it is content."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    said = (done.stdout + done.stderr).strip()
    return [f"{command[0]}: {said or 'failed'}"] if done.returncode else []


def absent(tool):
    """Says that a tool is not on this machine: CI has it."""
    if shutil.which(tool):
        return False
    print(f"packaging: no {tool} here, so it checks nothing")
    return True


def unknown_words(program, command):
    """Options and verbs of a command line that the program does not have."""
    verbs, wrong = [], []
    for word in command:
        if word.startswith("-"):
            break
        verbs.append(word)
    shown = subprocess.run([program, *verbs, "--help"], capture_output=True, text=True, check=False)
    if shown.returncode:
        return [f"sdpp {' '.join(verbs)}: {shown.stderr.strip()}"]
    for word in command:
        if word.startswith("--") and not re.search(re.escape(word) + r"(?![\w-])", shown.stdout):
            wrong.append(f"sdpp {' '.join(verbs)} has no option {word}")
    return wrong


def settings(unit):
    """Pairs of a unit's lines."""
    lines = (HERE / unit).read_text(encoding="utf-8").splitlines()
    return [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]


def check_units(program):
    wrong = []
    for unit in UNITS:
        pairs = settings(unit)
        for key, value in PROMISED.items():
            if [key, value] not in pairs:
                wrong.append(f"{unit}: {key}={value} is promised and missing")
        start = shlex.split(dict(pairs)["ExecStart"])
        wrong += unknown_words(program, start[1:])
    if absent("systemd-analyze"):
        return wrong
    with tempfile.TemporaryDirectory() as folder:
        # The program is installed nowhere here: its path is put in where the units have the usual one.
        shutil.copytree(HERE / "sdpp-seller.service.d", Path(folder) / "sdpp-seller.service.d")
        for unit in UNITS:
            text = (HERE / unit).read_text(encoding="utf-8").replace("/usr/bin/sdpp", program)
            (Path(folder) / unit).write_text(text, encoding="utf-8")
        for unit in UNITS:
            command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"{folder}/{unit}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            # An unknown setting is only a warning to systemd.
            said = [line for line in done.stderr.splitlines() if folder in line or unit in line]
            wrong += said or ([f"{unit}: {done.stderr.strip()}"] if done.returncode else [])
    return wrong


def check_images(program):
    wrong = [] if absent("hadolint") else run("hadolint", "--failure-threshold", "info", "Dockerfile")
    text = (HERE / "Dockerfile").read_text(encoding="utf-8")
    rust = re.search(r'rust-version = "([\d.]+)"', (HERE.parent / "Cargo.toml").read_text(encoding="utf-8"))[1]
    if f"FROM rust:{rust}-" not in text:
        wrong.append(f"Dockerfile: Cargo.toml wants Rust {rust}, and another one builds the image")
    for needed in ["USER 1000", "VOLUME /data", "STOPSIGNAL SIGTERM", "HEALTHCHECK "]:
        if needed not in text:
            wrong.append(f"Dockerfile: {needed} is promised and missing")
    return wrong + unknown_words(program, ["status"]) + unknown_words(program, ["sell"])


def check_compose(program):
    wrong = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")
    yaml = YAML(typ="safe")
    services = yaml.load(HERE / "compose.yaml")["services"]
    for service in services.values():
        if service["image"] == "sdpp":
            wrong += unknown_words(program, service["command"])
        for volume in service["volumes"]:
            path = volume.split(":")[0]
            # The configuration is the user's own.
            if path.startswith("./") and path != "./sdpp.toml" and not (HERE / path).exists():
                wrong.append(f"compose.yaml: there is no {path}")
    (scrape,) = yaml.load(HERE / "prometheus.yaml")["scrape_configs"]
    for target in scrape["static_configs"][0]["targets"]:
        name, port = target.split(":")
        if f"0.0.0.0:{port}" not in services.get(name, {}).get("command", []):
            wrong.append(f"prometheus.yaml: nothing serves metrics at {target}")
    return wrong


def main():
    program = str(Path(sys.argv[1]).resolve())
    wrong = check_units(program) + check_images(program) + check_compose(program)
    for line in wrong:
        print(f"packaging: {line}")
    print(f"packaging: {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
