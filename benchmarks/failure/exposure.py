"""Log-in, proxy and two replicas as docs/serving.md has them: `python benchmarks/failure/exposure.py` prints JSON.

Two `selviz serve --public` over one store, behind nginx (or `--proxy caddy`) with the block of docs/serving.md as it
stands there (a certificate of our own, an upstream of two), and Streamlit's log-in with an OpenID Connect provider. A
real browser then does what a visitor does; each step is true or false. Needs Linux, root (port 443), nginx or Caddy,
openssl, Chromium, and

    pip install -e '.[app,login]' playwright oidc-provider-mock

The provider asks for no password: that is the part of a real one that is not tried here.
"""

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOST, PORTS, PROVIDER = "selviz.example.org", (8601, 8602), 9400
START = "What is in here, and does it matter?"  # the title of the first page
PATIENCE = 60_000  # ms for a page, on a machine that has other work


def block(begins: str) -> str:
    """The block of docs/serving.md that begins so."""
    text = (ROOT / "docs/serving.md").read_text()
    return re.search(rf"```\w*\n({re.escape(begins)}.*?)```", text, re.DOTALL)[1]


def certificate(folder: Path) -> tuple[Path, Path]:
    """Certificate and key of our own for HOST."""
    key, public = folder / "selviz.key", folder / "selviz.pem"
    words = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={HOST} -keyout {key} -out {public}"
    subprocess.run([*words.split(), "-addext", f"subjectAltName=DNS:{HOST}"], check=True, capture_output=True)
    return public, key


def nginx(folder: Path) -> list[str]:
    """The command that starts nginx with the block, a certificate, and two replicas in place of one."""
    public, key = certificate(folder)
    server = block("map $http_upgrade").replace("/etc/ssl/selviz.pem", str(public))
    server = server.replace("/etc/ssl/selviz.key", str(key)).replace("http://127.0.0.1:8501", "http://selviz")
    replicas = " ".join(f"server 127.0.0.1:{port};" for port in PORTS)
    path = folder / "nginx.conf"
    path.write_text(
        f"pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{}}\n"
        f"http {{ access_log off; upstream selviz {{ ip_hash; {replicas} }}\n{server}}}\n"
    )
    return ["nginx", "-c", str(path), "-g", "daemon off;"]


def caddy(folder: Path) -> list[str]:
    """The command that starts Caddy with the block, a certificate, and two replicas in place of one."""
    public, key = certificate(folder)
    one, replicas = "reverse_proxy localhost:8501", " ".join(f"127.0.0.1:{port}" for port in PORTS)
    two = f"tls {public} {key}\n    " + block("reverse_proxy").replace("a:8501 b:8501", replicas)
    path = folder / "Caddyfile"
    path.write_text(f"{{\n    admin off\n}}\n{block(HOST).replace(one, two)}")
    return ["caddy", "run", "--config", str(path)]


PROXIES = {"nginx": (nginx, ["nginx", "-v"]), "caddy": (caddy, ["caddy", "version"])}


def secret(folder: Path) -> None:
    """The log-in's settings, as docs/serving.md has them."""
    (folder / ".streamlit").mkdir()
    (folder / ".streamlit" / "secrets.toml").write_text(
        f'[auth]\nredirect_uri = "https://{HOST}/oauth2callback"\ncookie_secret = "{secrets.token_urlsafe(32)}"\n'
        f'[auth.university]\nclient_id = "selviz"\nclient_secret = "unchecked"\n'
        f'server_metadata_url = "http://127.0.0.1:{PROVIDER}/.well-known/openid-configuration"\n'
    )


def answers(port: int, seconds: float = 90) -> None:
    """Waits until something listens at the port."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    raise SystemExit(f"Nothing answers at port {port} after {seconds:g} s.")


@contextlib.contextmanager
def started(folder: Path, data: str, proxy: list[str]):
    """Provider, replicas and proxy; gives the processes by port."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SELVIZ_NO_DEMO": "1"}
    serve = [
        sys.executable,
        "-m",
        "selviz",
        "serve",
        "--public",
        "--address",
        "localhost",
        "--host",
        HOST,
        "--data",
        data,
        "--port",
    ]
    commands = {port: [*serve, str(port)] for port in PORTS}
    commands[PROVIDER] = [shutil.which("oidc-provider-mock") or "oidc-provider-mock", "--user", "ada"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = {port: subprocess.Popen(words, cwd=folder, env=environment, **quiet) for port, words in commands.items()}
    try:
        for port in running:
            answers(port)
        running[443] = subprocess.Popen(proxy, env={**os.environ, "XDG_DATA_HOME": str(folder / "share")}, **quiet)
        answers(443)
        yield running
    finally:
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        for process in running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)


def visit(replicas: dict, chromium: str) -> dict[str, bool]:
    """What a visitor does, from the log-in to the log-out."""
    from playwright.sync_api import sync_playwright

    told, outside = {}, []
    with sync_playwright() as playwright:
        rules = f"--host-resolver-rules=MAP {HOST} 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", rules])
        context = browser.new_context(ignore_https_errors=True)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("request", lambda request: outside.append(request.url) if HOST not in request.url else None)

        def logged_out(page) -> bool:
            page.get_by_text("Log in with university").wait_for()
            shown = (page.get_by_text(words).count() for words in ("Log out", START, "Show this run first", "mnist"))
            return not any(shown)

        answer = page.goto(f"https://{HOST}/")
        told["nothing_is_shown_before_the_log_in"] = logged_out(page)
        told["the_proxy_s_and_the_dashboard_s_headers_are_there"] = {
            "strict-transport-security", "content-security-policy", "x-content-type-options"
        } <= set(answer.headers)  # fmt: skip
        statuses = page.evaluate(
            "Promise.all(['/_stcore/metrics', '/health'].map(p => fetch(p).then(answer => answer.status)))"
        )
        told["streamlit_s_metrics_are_closed"], told["health_is_open"] = (
            found == wanted for found, wanted in zip(statuses, (404, 200))
        )
        told["nothing_comes_from_elsewhere"] = not [u for u in outside if not u.startswith(("data:", "blob:"))]
        page.get_by_text("Log in with university").click()
        page.locator("button", has_text="ada").first.click()
        page.get_by_text("Log out").wait_for()
        page.get_by_text(START).first.wait_for()
        told["the_log_in_leads_back_to_the_page"] = page.url.startswith(f"https://{HOST}/")
        second = context.new_page()
        second.goto(f"https://{HOST}/network")
        second.get_by_text("Log out").wait_for()
        told["a_second_tab_is_logged_in"] = True
        # The replica that has this visitor is the one with more connections.
        mine = max(PORTS, key=lambda port: connections(port))
        replicas[mine].send_signal(signal.SIGTERM)
        told["a_replica_ends_at_sigterm"] = replicas[mine].wait(20) is not None
        page.get_by_role("link", name="Silence").first.click()
        page.wait_for_url("**/silence**")
        page.get_by_text("Log out").wait_for()
        told["the_other_replica_goes_on_with_the_visit"] = page.get_by_text("Log in with").count() == 0
        page.get_by_text("Log out").click()
        page.wait_for_url(f"http://127.0.0.1:{PROVIDER}/**")  # the provider ends its session too
        page.goto(f"https://{HOST}/")
        told["logged_out"] = logged_out(page)
        second.reload()
        told["the_second_tab_too"] = logged_out(second)
        browser.close()
    return told


def connections(port: int) -> int:
    """How many connections to the port are established (Linux)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]]
    return sum(line[1].endswith(f":{port:04X}") and line[3] == "01" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a store with finished runs")
    parser.add_argument("--proxy", choices=PROXIES, default="nginx")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    arguments = parser.parse_args()
    data = str(Path(arguments.data).resolve())
    command, asks_version = PROXIES[arguments.proxy]
    with tempfile.TemporaryDirectory(prefix="selviz-exposure-") as folder:
        os.chmod(folder, 0o755)  # nginx's workers are another user
        secret(Path(folder))
        with started(Path(folder), data, command(Path(folder))) as replicas:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORTS[0]}/health", timeout=20) as answer:
                runs = json.load(answer)["runs"]
            told = visit(replicas, arguments.chromium)
    asked = subprocess.run(asks_version, capture_output=True, text=True)
    proxy = f"{arguments.proxy}: {(asked.stdout + asked.stderr).strip()}"
    print(json.dumps({"runs": runs, "proxy": proxy, "met": all(told.values()), **told}, indent=1))


if __name__ == "__main__":
    main()
