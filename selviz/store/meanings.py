"""What each table and each of its columns means, in words: `table("units")`, `column("units", "si")`.

Scales are named where they are not plain: shares and accuracies are 0..1, `image` counts from 0 in evaluation order.
"""

ABOUT = {
    "runs": "One row a network: its settings and its results as a whole.",
    "epochs": "One row an epoch of training.",
    "epoch_layers": "The mean SI of each layer after each epoch.",
    "layers": "One row a unit layer, in forward order.",
    "units": "One row a unit: a channel of a layer, or a neuron of a dense one.",
    "class_means": "One row a unit and class: what the unit does on the images of that class.",
    "unit_metrics": "Measures of class selectivity beside SI, one row a unit.",
    "unit_map": "Where each unit lies on a map of its layer, near those with a like tuning.",
    "curves": "Accuracy while more and more units are silent, one row a point.",
    "areas": "The area under each of these curves.",
    "atlas": "What silencing each single unit does, one row a unit.",
    "atlas_classes": "The same for each class, one row a unit and class.",
    "atlas_layers": "Rank correlations over the units of each layer.",
    "sanity": "How an attribution changes as weights become random, one row a step and image.",
    "images": "One row an evaluation image: what it shows and what the network takes it for.",
    "activations": "One row a unit and image. The largest table: name a layer.",
}
STORED_BY = {  # tables that not every run has -> the command that writes them
    "unit_metrics": "metrics",
    "unit_map": "map",
    "sanity": "sanity",
    "curves": "curves",
    "areas": "curves",
    "atlas": "atlas",
    "atlas_classes": "atlas",
    "atlas_layers": "atlas",
}

_EVERYWHERE = {
    "run": "name of the run",
    "layer": "name of the unit layer",
    "unit": "number of the unit in its layer, from 0",
    "image": "number of the evaluation image, from 0",
    "class": "name of the class",
    "class_index": "position of the class in the data set's class names, from 0",
    "epoch": "epoch, from 1",
    "si": "class selectivity index over all evaluation images; 0 for a dead unit",
    "dead": "whether the unit is 0 on every evaluation image",
    "zero_share": "share of images on which the unit is 0, 0..1",
    "before": "accuracy with all units, 0..1",
    "after": "accuracy without the unit, 0..1",
    "change": "after - before",
    "lost": "images that are right only with the unit",
    "gained": "images that are right only without it",
    "loss_change": "exact change of the mean cross entropy",
    "estimate": "the same change as gradients estimate it",
    "images": "number of evaluation images",
}
_OWN = {
    "runs": {
        "dataset": "data set",
        "model": "kind of network",
        "alpha": "weight of selectivity in the loss; below 0 suppresses it",
        "seed": "seed of weights and order of images",
        "epochs": "epochs of training; 0 is the untrained control",
        "state": "finished, running, unfinished or failed",
        "test_accuracy": "accuracy on the evaluation images, 0..1",
        "test_accuracy_low": "lower end of its 95 % Wilson interval",
        "test_accuracy_high": "upper end of its 95 % Wilson interval",
        "mean_si": "mean over layers of the mean SI of all units",
        "mean_si_live": "the same without dead units",
        "null_mean": "mean SI under shuffled labels: mean over shuffles",
        "null_p95": "mean SI under shuffled labels: 95th percentile",
        "dead": "number of units that are 0 on every evaluation image",
        "units": "number of units",
        "layers": "number of unit layers",
        "created": "when the run was finished (UTC)",
        "resume": "command that goes on with an unfinished run",
        "reason": "why a run is not finished",
        "fingerprint": "of images, labels and class names: runs with the same one can be compared image by image",
        "kind": "trained, or untrained control",
        "train_images": "number of training images",
        "train_seconds": "time of training, seconds",
        "batch_size": "images in a training step",
        "learning_rate": "peak of the one-cycle schedule",
        "momentum": "of stochastic gradient descent",
        "weight_decay": "of stochastic gradient descent",
        "precision": "number format in training",
        "device": "where it was trained",
        "host": "name of the machine",
        "python": "version of Python",
        "threads": "threads of the processor",
    },
    "epochs": {
        "loss": "training loss, penalty included",
        "penalty": "mean SI in the minibatches, which alpha weighs in the loss",
        "train_accuracy": "0..1, during the epoch",
        "test_accuracy": "on the evaluation images after it, 0..1",
        "mean_si": "mean over layers of the mean SI, on the evaluation images after it",
        "mean_si_live": "the same without dead units",
        "learning_rate": "at the end of the epoch",
        "seconds": "time that it took",
    },
    "epoch_layers": {"mean_si": "mean SI of the layer's units on the evaluation images"},
    "layers": {
        "units": "number of units",
        "depth": "place in the network, 0 (first) to 1 (last)",
        "signed": "whether activations can be negative, which leaves SI without bounds",
        "squeeze": "whether it is the activation inside a squeeze-excitation block",
        "mean_si": "mean SI of all its units",
        "mean_si_live": "mean SI of its units that are not dead",
        "null_mean": "mean SI under shuffled labels: mean over shuffles",
        "null_p95": "mean SI under shuffled labels: 95th percentile",
        "dead": "number of dead units",
    },
    "units": {
        "null_mean": "the unit's SI under shuffled labels: mean over shuffles",
        "null_p95": "the unit's SI under shuffled labels: 95th percentile",
        "preferred_class": "class with the largest mean activation",
        "preferred_index": "position of that class in the class names, from 0",
        "mean_activation": "mean over all evaluation images",
        "std": "standard deviation over all evaluation images",
        "max_activation": "largest over all evaluation images",
    },
    "class_means": {
        "mean": "mean activation on the images of the class",
        "std": "standard deviation on the images of the class (over n - 1)",
        "images": "number of images of the class",
    },
    "unit_metrics": {
        "ccmas": "class-conditional mean activity selectivity of the preferred class",
        "precision": "share of one class among the most activating images, 0..1",
        "localist": "smallest activation on the class minus the largest on the others; above 0 separates perfectly",
        "auc": "area under the ROC curve of the best class, 0..1",
        "average_precision": "average precision for the best class, 0..1",
        "informedness": "largest true minus false positive rate over thresholds",
        "d_prime": "difference of the class's mean to the others', in standard deviations",
        "mutual_information": "between the binned activation and the class, in bits",
        "sparseness": "Treves and Rolls' sparseness over class means, 0..1",
        "superclass": "group of classes with the largest mean",
        "superclass_si": "SI over groups of classes",
        "superclass_null_mean": "the same under shuffled labels: mean over shuffles",
        "superclass_null_p95": "the same under shuffled labels: 95th percentile",
    },
    "unit_map": {
        "pca_x": "first principal component of the layer's scaled tuning vectors",
        "pca_y": "second principal component",
        "tsne_x": "place by t-SNE, across; empty for layers with fewer than 5 or more than 2,000 units",
        "tsne_y": "place by t-SNE, upwards",
    },
    "sanity": {
        "layer": "layer whose units are explained; logits is the predicted class's logit",
        "method": "method of attribution",
        "settings": "hash of the check's settings and of the weights",
        "parameters": "the settings, as JSON",
        "written": "when the check was made (UTC)",
        "step": "how many modules are random, from the top; 0 is the network as it is",
        "module": "the last module that became random",
        "unit": "number of the explained unit; empty for the logits",
        "class": "class whose logit is explained; empty for units",
        "rank_correlation": "Spearman's, of the map's pixels with those of step 0; empty for a map without variation",
        "rank_correlation_abs": "the same without signs",
        "ssim": "structural similarity of the map with that of step 0",
    },
    "curves": {
        "layer": "layer whose units are silenced; network is all layers together",
        "metric": "what the units are ordered by",
        "ranked_on": "the images that the order was made on",
        "measured_on": "the images that the accuracy was measured on",
        "direction": "descending, ascending, or random",
        "draw": "number of the random order",
        "step": "point of the curve, from 0",
        "removed": "units that are silent at this point",
        "images": "number of images that were measured",
        "accuracy": "0..1",
    },
    "areas": {
        "layer": "layer whose units are silenced; network is all layers together",
        "metric": "what the units are ordered by",
        "direction": "descending, ascending, or random",
        "draw": "number of the random order",
        "area": "mean accuracy along the curve, 0..1",
    },
    "atlas": {},
    "atlas_classes": {
        "images": "number of images of the class",
        "before": "accuracy on the class with all units, 0..1",
        "after": "accuracy on the class without the unit, 0..1",
    },
    "atlas_layers": {
        "units": "number of units",
        "estimate_to_loss": "of the gradients' estimate with the exact change of the loss",
        "estimate_to_drop": "of the gradients' estimate with the drop in accuracy",
        "si_to_drop": "of SI with the drop in accuracy",
    },
    "images": {
        "label": "what the image shows: name of its class",
        "prediction": "what the network takes it for: name of a class",
        "fold": "0 or 1: units are chosen on one half of the images and judged on the other",
        "label_index": "position of the label in the class names, from 0",
        "prediction_index": "position of the prediction in the class names, from 0",
    },
    "activations": {"value": "mean of the unit over positions, after the non-linearity"},
}
_ENDINGS = {"_class": "class for which `{}` is largest", "_index": "position of the class for which `{}` is largest"}


def table(name: str) -> str:
    """What a row of the table is."""
    return ABOUT.get(name, "")


def column(table: str, name: str) -> str:
    """What a column of the table means; empty for one that is not known here."""
    own = _OWN.get(table, {})
    if name in own or name in _EVERYWHERE:
        return own.get(name) or _EVERYWHERE[name]
    for ending, words in _ENDINGS.items():
        if name.endswith(ending) and (first := name.removesuffix(ending)) in own:
            return words.format(first)
    return ""
