"""The capture stage's rows are encoded as they are told to be, in their order, and come back to the bit."""

import numpy as np
import pandas as pd

from selviz.store.files import connect, sql_path
from selviz.store.stage_files import write_activations


def test_activations_of_several_row_groups_come_back_to_the_bit_in_their_order(tmp_path):
    random = np.random.default_rng(0)
    arrays = [random.normal(size=(3000, 300)).astype(np.float32), np.maximum(random.normal(size=(3000, 200)), 0)]
    arrays[0][:, 7] = 0
    arrays[0][5, :3] = [np.inf, -0.0, 1e-42]
    layers = pd.DataFrame(
        {"layer": [0, 1], "name": ["a", "b"], "units": [300, 200], "depth": 0.5, "signed": False, "squeeze": False}
    )
    images = pd.DataFrame({"image": range(3000), "label": 0, "prediction": 0, "fold": 0})
    file = write_activations(tmp_path, layers, images, enumerate(arrays), {})
    connection = connect()
    connection.execute(f"ATTACH '{sql_path(file)}' AS stage (READ_ONLY)")
    rows = connection.execute("SELECT layer, unit, image, value FROM stage.activations").fetchnumpy()
    for position, values in enumerate(arrays):
        here = rows["layer"] == position
        stored = np.asarray(rows["value"][here]).reshape(values.shape[1], 3000).T
        assert (stored.view(np.uint32) == values.astype(np.float32).view(np.uint32)).all()
        assert (rows["image"][here].reshape(-1, 3000) == np.arange(3000)).all()
        assert (rows["unit"][here].reshape(-1, 3000) == np.arange(values.shape[1])[:, None]).all()
    used = connection.execute(
        "SELECT column_name, list(DISTINCT compression) FROM pragma_storage_info('stage.activations') "
        "WHERE segment_type <> 'VALIDITY' GROUP BY column_name"
    ).fetchall()
    encodings = {name: set(found) - {"Constant"} for name, found in used}
    assert encodings["unit"] == {"RLE"} and encodings["image"] == {"BitPacking"} and encodings["layer"] <= {"RLE"}
