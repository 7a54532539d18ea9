"""Try an installed wheel in an empty folder: a run is trained, read and drawn, the server answers."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

os.environ |= {"SELVIZ_NO_DEMO": "1", "OMP_NUM_THREADS": "1"}
os.environ.pop("SELVIZ_DATA", None)
PATIENCE_S = 180.0


def main() -> None:
    """Raise where anything of it fails."""
    import selviz

    site = Path(selviz.__file__).parents[1]
    assert "site-packages" in str(site), f"this is not an installed selviz: {selviz.__file__}"
    assert importlib.util.find_spec("selviz.testing") is None, "help for tests is in the wheel"
    run = selviz.train("digits", "cnn", epochs=0, max_images=60)
    assert Path("data/runs").is_dir() and len(run.figure().data) > 0
    assert selviz.ablate(run, "relu2:3", draws=0).images > 0
    assert selviz.publish(run, "published", attribution=False).index.exists()
    assert subprocess.run(["selviz", "runs"], check=True, capture_output=True, text=True).stdout.count("digits") == 1
    draw(site)
    serve()
    print("the wheel works")


def draw(site: Path) -> None:
    """Draw the first page, over the store of this folder."""
    from streamlit.testing.v1 import AppTest

    page = AppTest.from_file(str(site / "selviz_app" / "main.py"), default_timeout=PATIENCE_S).run()
    assert not page.exception, page.exception


def serve() -> None:
    """Start `selviz serve` and ask whether it is well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(["selviz", "serve", "--port", str(port)])
    try:
        end = time.monotonic() + PATIENCE_S
        while True:
            assert server.poll() is None and time.monotonic() < end, "selviz serve does not answer"
            try:
                with urllib.request.urlopen(f"http://localhost:{port}/health", timeout=10) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                time.sleep(0.5)
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    sys.exit(main())
