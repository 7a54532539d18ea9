"""Numbers that others published, to set beside one's own: `SI_CURVE`, accuracy against mean SI by alpha."""

import pandas as pd

# Digitised from a figure of the authors of arXiv 2003.01262 (Leavitt & Morcos 2020): about 20 seeds each, read to
# 0.1 points and 0.005 SI. The network is not printed on it; from its accuracy, ResNet18 on Tiny ImageNet.
SI_CURVE = pd.DataFrame(
    [
        (-2, 0.154, 53.1),
        (-1, 0.222, 53.6),
        (-0.7, 0.249, 53.4),
        (-0.4, 0.282, 53.2),
        (-0.3, 0.293, 53.1),
        (-0.2, 0.306, 52.8),
        (-0.1, 0.322, 52.4),
        (0, 0.346, 51.6),
        (0.1, 0.394, 50.8),
        (0.2, 0.461, 50.4),
        (0.3, 0.530, 49.7),
        (0.4, 0.582, 49.5),
        (0.7, 0.702, 49.4),
        (1, 0.776, 49.3),
        (2, 0.879, 47.1),
    ],
    columns=["alpha", "mean_si", "accuracy"],
).assign(accuracy=lambda table: table["accuracy"] / 100)
