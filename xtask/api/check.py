"""Runs a system and checks what it documents: OpenAPI documents against the official schema, and every process against its
document, with schemathesis.

check.py <jumun> <model folder> <data folder> <port offset>
"""

import json
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

from openapi_spec_validator import OpenAPIV31SpecValidator

GATEWAY_PORT = 8088
READY_WITHIN_S = 60
HERE = pathlib.Path(__file__).parent


def wait_until_ready(url):
    end = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/actuator/health/readiness", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if time.monotonic() > end:
                sys.exit(f"{url} is not ready within {READY_WITHIN_S} s")
            time.sleep(0.1)


def validate_openapi(url):
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=5) as answer:
        OpenAPIV31SpecValidator(json.load(answer)).validate()
    print(f"{url}/openapi.json: valid OpenAPI 3.1")


def gateway_config(model, folder):
    """The gateway documents no asks. It answers one with 403, and not with 405 as to a method that no one may send."""
    text = (HERE / "schemathesis.toml").read_text()
    for service in model["services"]:
        for aggregate in service["aggregates"]:
            asked = {command["path"] for command in aggregate["commands"] if command["actor"] in ("service", "undo")}
            for path in sorted(asked):
                text += f'\n[[operations]]\ninclude-path = "{path}"\nchecks.unsupported_method.enabled = false\n'
    config = pathlib.Path(f"{folder}.toml")
    config.write_text(text)
    return config


def schemathesis(url, examples, config=HERE / "schemathesis.toml"):
    options = ["--seed", "7", "-n", str(examples), "--suppress-health-check", "all", "--continue-on-failure"]
    command = [str(pathlib.Path(sys.executable).parent / "st"), "--config-file", str(config), "run"]
    environment = {"PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "hooks", "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*command, f"{url}/openapi.json", *options], env=environment, cwd=pathlib.Path(sys.executable).parent, capture_output=True, text=True)
    print(f"{url}: {done.stdout.strip().splitlines()[-1:]}")
    if done.returncode != 0:
        print(done.stdout, done.stderr)
    return done.returncode == 0


def main(jumun, models, data, offset):
    models, offset = pathlib.Path(models), int(offset)
    model = json.loads((models / "model.json").read_text())
    # A busy machine is no finding.
    asks = [(service["name"], ask["service"]) for service in model["services"] for ask in service["asks"] if "service" in ask]
    settings = [part for asker, asked in asks for part in ["--set", f"{asker}.calls.{asked}.time_limit=10s"]]
    command = [jumun, "up", model["system"], "--data", data, "--port-offset", str(offset), *settings]
    with open(f"{data}.log", "w") as log, subprocess.Popen(command, stdout=log, stderr=log) as system:
        try:
            url = lambda port: f"http://127.0.0.1:{port + offset}"
            services = [url(service["port"]) for service in model["services"]]
            gateway = url(GATEWAY_PORT)
            for process in [*services, gateway]:
                wait_until_ready(process)
                validate_openapi(process)
            # The gateway has every command; the services have the asks besides.
            results = [schemathesis(gateway, 5, gateway_config(model, data))] + [schemathesis(service, 3) for service in services]
        finally:
            system.terminate()
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
