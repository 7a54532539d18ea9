"""Which pixels an answer comes from, and whether the map that says so can be trusted.

    found = attribute(network, Target("relu3", 7), images)                    # integrated gradients of a unit
    found = attribute(network, Target(label=2), images, "gradcam")            # of a class's logit
    found = attribute(network, Target("relu3", 7, 2), images, "occlusion")    # of the logit by way of the unit alone
    found.maps                                                                # [N, H, W], what to draw
    faithfulness(network, Target("relu3", 7), images[:1], found.maps[0])      # deletion, insertion, infidelity
    table = sanity(network, targets, images, "gradcam")                       # the map as weights become random

Attributions are Captum's, or the same computed here where Captum is not installed. Threads may share the network: what
needs hooks works on a copy of its own.
"""

from selviz.attribution.attribute import Attribution, attribute, check, parameters
from selviz.attribution.faithfulness import faithfulness
from selviz.attribution.methods import COMPUTED_BY, METHODS
from selviz.attribution.sanity import sanity, sanity_summary, ssim
from selviz.attribution.targets import Response, Target

__all__ = [
    "COMPUTED_BY",
    "METHODS",
    "Attribution",
    "Response",
    "Target",
    "attribute",
    "check",
    "faithfulness",
    "parameters",
    "sanity",
    "sanity_summary",
    "ssim",
]
