"""What a study leaves: nothing, also where it was killed between its stage and the end of its work."""

import json
import subprocess
import sys

import pytest

from selviz.studies.stage_writing import clear_leftovers
from selviz.system.locks import Claim


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_what_a_killed_writer_left_beside_its_finished_stage_is_removed_unless_somebody_is_at_work(tmp_path):
    partial = tmp_path / "partial"
    partial.mkdir()
    mine, others = partial / "robustness-10722c98.npz", partial / "atlas-0.npz"
    for path in (mine, others):
        path.write_bytes(b"finished part")
    code = (
        "import os, signal\nfrom selviz.system.locks import Claim\n"
        f"Claim({str(tmp_path / 'claim.json')!r}).__enter__()\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code])
    assert json.loads((tmp_path / "claim.json").read_text())
    clear_leftovers(tmp_path, "robustness")
    assert not mine.exists() and not (tmp_path / "claim.json").exists() and others.exists()
    mine.write_bytes(b"finished part")
    with Claim(tmp_path / "claim.json", "a study"):
        clear_leftovers(tmp_path, "robustness")
        assert mine.exists() and (tmp_path / "claim.json").exists()
