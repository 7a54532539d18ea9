"""The store as notebooks, commands and pages see it: `store = Store("data"); store.units("run", "conv1.relu")`."""

import errno
import os
import tempfile
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd

from selviz.errors import SelvizError, TransientError, unknown, unreadable
from selviz.store import fix_commands, layers_of_runs, ledger, run_archive, run_list, sql, unit_search
from selviz.store.export import FORMATS, write_table
from selviz.store.files import StrPath, check_name, is_name, read_json
from selviz.store.images import image_folder
from selviz.store.queries import Fix, check, opened, read, read_column, read_ordered
from selviz.store.schema import TABLES, stages_read, unit_measures, view_query
from selviz.store.unit_search import ALL, Wanted

IN_NOTEBOOKS = "run dataset model alpha seed state test_accuracy mean_si".split()


class Store:
    """The runs below one folder. Every method reads what is there now; none needs torch. Tables are pandas DataFrames.

    In them `layer` is a layer's name, and classes are names, with their positions in `..._index` columns. An unknown or
    unfinished run, an unknown layer or unit, and a damaged file raise SelvizError; the other runs are still there.
    """

    def __init__(self, data: StrPath = "data") -> None:
        self.path = Path(data)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def _repr_html_(self) -> str:
        return str(self.runs()[IN_NOTEBOOKS].to_html(index=False, border=0))

    def run_path(self, run: str) -> Path:
        """Return the folder of `run`, there or not. A name that would leave the store raises SelvizError."""
        return self.path / "runs" / check_name("run", run)

    def names(self) -> list[str]:
        """Return the names of all runs, finished or not; other folders that lie there are passed over."""
        try:
            with os.scandir(self.path / "runs") as entries:
                return sorted(entry.name for entry in entries if is_name(entry.name) and _is_folder(entry))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise unreadable(self.path / "runs", error) from error

    def runs(self) -> pd.DataFrame:
        """Return one row per run, finished or not: settings, `state`, accuracy, mean SI, and the command that
        resumes it.
        """
        return run_list.list_runs(self.path, self.names())

    def hypotheses(self) -> pd.DataFrame:
        """Return one row per registered hypothesis: statement, study, level, state, verdict, p, effect with
        interval, ...
        """
        return ledger.hypotheses(self.path)

    def run(self, run: str) -> dict[str, Any]:
        """Return the settings and the summary of a finished run."""
        folder = self.run_path(run)
        summary = read_json(folder / "summary.json")
        if isinstance(summary, dict):
            return {**(read_json(folder / "config.json") or {}), **summary, "run": run}
        if not folder.is_dir():
            raise unknown("run", run, self.names(), fix="See: selviz runs" if self.names() else self._empty())
        entry = run_list.row(self.path, run)
        if entry["state"] == "running":
            raise SelvizError(f"Run {run} is not finished: {entry['reason']}; wait for it.")
        reason = f" ({entry['reason']})" if entry["reason"] else ""
        fix = f"go on with: {entry['resume']}" if entry.get("resume") else f"remove the folder {folder}"
        raise SelvizError(f"Run {run} is {entry['state']}{reason}; {fix}")

    def layers(self, run: str) -> pd.DataFrame:
        """Return the unit layers in forward order: layer, units, depth 0..1, mean_si with and without dead units,
        its null.
        """
        return self.table(run, "layers")

    def layers_of(self, runs: Sequence[str]) -> pd.DataFrame:
        """Return `layers` of runs that have one network's layers, as one table with a column `run` first.

        They are read from the stages' records, and where these lack them from the files, many at a time. A run that is
        damaged, and one whose layers are others than the first run's, raises SelvizError.
        """
        runs = list(runs)
        if not runs:
            return pd.DataFrame({"run": []})
        files = [self._files(run, ("metrics",))["metrics"] for run in runs]
        return layers_of_runs.together(self.layers(runs[0]), runs, files, self._fix(runs[0], ("metrics",)))

    def units(self, run: str, layer: str | None = None) -> pd.DataFrame:
        """Return every unit of the run or of one layer: si with its null, preferred_class, mean_activation, dead,
        ...
        """
        return self.table(run, "units", layer)

    def class_means(self, run: str, layer: str | None = None, unit: int | Sequence[int] | None = None) -> pd.DataFrame:
        """Return mean, standard deviation and number of images for each class of each unit, of one layer, or of
        one unit or some.
        """
        return self.table(run, "class_means", layer, unit)

    def tuning(self, run: str, layer: str, units: Sequence[int] | None = None) -> np.ndarray:
        """Return the mean activation of the units of a layer, or of some of them, on each class, float64 [k, C]."""
        if units is None:
            units = range(self._layer(run, layer)["units"])
        return self.tuning_of(run, [(layer, unit) for unit in units])

    def tuning_of(self, run: str, units: Sequence[tuple[str, int]]) -> np.ndarray:
        """Return the mean activation of each of some units (layer, unit) on each class, float64 [k, C]."""
        places = self._places(run, units)
        stored = sorted(set(places))
        layers, numbers = (tuple(place[part] for place in stored) for part in (0, 1))
        query = (
            "SELECT mean FROM metrics.class_means SEMI JOIN "
            "(SELECT unnest(?::USMALLINT[]) AS layer, unnest(?::UINTEGER[]) AS unit) chosen USING (layer, unit) "
            "ORDER BY layer, unit, class"
        )
        means = read_column(self._files(run, ("metrics",)), query, (layers, numbers), self._fix(run, ("metrics",)))
        classes, left = divmod(len(means), max(len(stored), 1))
        if left or (stored and not classes):
            raise self._damaged(run, f"it has {len(means)} means of classes of {len(stored)} units", "metrics")
        return means.reshape(len(stored), classes)[_positions(stored, places)]

    def images(self, run: str) -> pd.DataFrame:
        """Return the evaluation images: image, label, prediction, fold (0 or 1); not the sealed ones of fold 2."""
        return self.table(run, "images")

    def sealed_images(self, run: str) -> pd.DataFrame:
        """Return the images of the sealed fold: image, label_index, prediction_index; no rows for an older run.

        For the test of a registered claim, and nothing else: whoever looks at them otherwise unseals them.
        """
        query = (
            "SELECT image, label AS label_index, prediction AS prediction_index FROM capture.images WHERE fold = 2 "
            "ORDER BY image"
        )
        return read(self._files(run, ("capture",)), query, (), self._fix(run))

    def sealed_matrix(self, run: str, layer: str) -> np.ndarray:
        """Return the activations of one layer on the sealed images, float32 [N, U]; for tests of claims alone."""
        return self._matrix(run, layer)[self._reported_images(run) :]

    def epochs(self, run: str) -> pd.DataFrame:
        """Return the training, one row per epoch."""
        return self.table(run, "epochs")

    def epoch_layers(self, run: str) -> pd.DataFrame:
        """Return the mean SI of each layer after each epoch."""
        return self.table(run, "epoch_layers")

    def snapshots(self, run: str) -> pd.DataFrame:
        """Return the moments of training at which every unit's SI was kept, one row each: done (epochs so far),
        accuracy.
        """
        return self.table(run, "snapshots")

    def snapshot_layers(self, run: str) -> pd.DataFrame:
        """Return the mean SI of each layer at each snapshot, with its label-shuffle null."""
        return self.table(run, "snapshot_layers")

    def snapshot_units(self, run: str, layer: str | None = None) -> pd.DataFrame:
        """Return every unit's SI at each snapshot."""
        return self.table(run, "snapshot_units", layer)

    def early_curves(self, run: str) -> pd.DataFrame:
        """Return accuracy while more and more units are silent, at the weights after some epochs, one row per point."""
        return self.table(run, "early_curves")

    def early_areas(self, run: str) -> pd.DataFrame:
        """Return the area under each of these curves, 0..1."""
        return self.table(run, "early_areas")

    def unit_metrics(self, run: str, layer: str | None = None) -> pd.DataFrame:
        """Return the measures of class selectivity beside SI, one row per unit: ccmas, precision, auc, d_prime, ...,
        classes.
        """
        return self.table(run, "unit_metrics", layer)

    def sanity(self, run: str) -> pd.DataFrame:
        """Return how attributions change as weights become random, one row per method, layer, step and image."""
        return self.table(run, "sanity")

    def curves(self, run: str) -> pd.DataFrame:
        """Return accuracy while more and more units are silent, one row per point; layer "network" is all layers
        together.
        """
        return self.table(run, "curves")

    def areas(self, run: str) -> pd.DataFrame:
        """Return the area under each of the curves, 0..1."""
        return self.table(run, "areas")

    def atlas(self, run: str, layer: str | None = None) -> pd.DataFrame:
        """Return what silencing each single unit does: accuracy before and after, images lost and gained,
        loss_change, ...
        """
        return self.table(run, "atlas", layer)

    def atlas_classes(self, run: str, layer: str | None = None, unit: int | None = None) -> pd.DataFrame:
        """Return the same for each class."""
        return self.table(run, "atlas_classes", layer, unit)

    def atlas_layers(self, run: str) -> pd.DataFrame:
        """Rank correlations within each layer: of the gradient estimate, and of SI, with the exact effect."""
        return self.table(run, "atlas_layers")

    def robustness(self, run: str) -> pd.DataFrame:
        """Return accuracy under each corruption and attack, one row per severity or epsilon, with Wilson intervals."""
        return self.table(run, "robustness")

    def robustness_summary(self, run: str) -> pd.DataFrame:
        """Return mean corruption accuracy, overall ("all") and by family, and the same relative to clean accuracy."""
        return self.table(run, "robustness_summary")

    def robustness_layers(self, run: str, layer: str | None = None) -> pd.DataFrame:
        """Return how the units of each layer move under each corruption and attack, and whether selective ones
        move more.
        """
        return self.table(run, "robustness_layers", layer)

    def robustness_units(self, run: str, layer: str | None = None, unit: int | None = None) -> pd.DataFrame:
        """Return SI, preferred class, mean and shift of each unit under each corruption and attack."""
        return self.table(run, "robustness_units", layer, unit)

    def robustness_classes(self, run: str, layer: str | None = None, unit: int | None = None) -> pd.DataFrame:
        """Return each unit's mean for each class under each corruption and attack."""
        return self.table(run, "robustness_classes", layer, unit)

    def robustness_images(self, run: str) -> pd.DataFrame:
        """Return what the network takes each image for under each corruption and attack."""
        return self.table(run, "robustness_images")

    def dimensionality(self, run: str, layer: str | None = None) -> pd.DataFrame:
        """Return how many directions each layer uses, clean, and in its change under perturbation, with intervals."""
        return self.table(run, "dimensionality", layer)

    def gradient_variability(self, run: str, layer: str | None = None) -> pd.DataFrame:
        """Return how much the gradients of each layer's units by the input vary, over images and over units."""
        return self.table(run, "gradient_variability", layer)

    def unit_map(self, run: str, layer: str | None = None) -> pd.DataFrame:
        """Return where each unit lies on a map by its tuning, within its layer: pca_x, pca_y, tsne_x, tsne_y."""
        return self.table(run, "unit_map", layer)

    def similarity(self, run: str) -> pd.DataFrame:
        """Return how alike each layer is to that of other runs: other, pwcca (a distance), cka, directions, ranks,
        rows.
        """
        return self.table(run, "similarity")

    def linear_maps(self, run: str) -> pd.DataFrame:
        """Return mean SI of each layer's units as they are, after random rotations, and after the best linear maps
        found.
        """
        return self.table(run, "linear_maps")

    def unit(self, run: str, layer: str, unit: int) -> dict[str, Any]:
        """Return one unit as a dict: its row of `units`, with the run and its layer's depth and kind."""
        layer_row = self._layer(run, layer)
        table = self.units(run, layer)
        row: Any = table[table["unit"] == _unit_number(layer_row, unit)].iloc[0].to_dict()
        facts = {name: layer_row[name] for name in ("depth", "signed", "squeeze")}
        return {"run": run, **{name: _plain(value) for name, value in {**row, **facts}.items()}}

    def unit_measures(self, run: str) -> list[str]:
        """Return the columns of `find_units` that units can be sorted by and cut at: what is stored of the run."""
        return list(unit_search.measures(self._browsed(run), self._missing(run)))

    def find_units(self, run: str, wanted: Wanted = ALL, **page: Any) -> pd.DataFrame:
        """Return the units that fit, with every stored measure; `page`: order, descending, limit, offset, short of
        `unit_search.rows`.

        Units without a value of the measure come last; of equals, those of earlier layers and lower numbers first.
        """
        query = unit_search.rows(self._browsed(run), wanted, **page, missing=self._missing(run))
        return self._browse(run, query, unit_search.stages_of(wanted) if page.get("short") else self._browsed(run))

    def count_units(self, run: str, wanted: Wanted = ALL) -> dict[str, Any]:
        """Return how many units fit, how many of them are dead, their layers, lowest and highest value of the
        measure.
        """
        query = unit_search.summary(self._browsed(run), wanted, self._missing(run))
        row = self._browse(run, query, unit_search.stages_of(wanted)).iloc[0]
        layers = sorted(row["layers"]) if row["units"] else []
        return {"units": int(row["units"]), "dead": int(row["dead"]), "layers": layers, **row[["lowest", "highest"]]}

    def activations(self, run: str, layer: str, unit: int) -> pd.DataFrame:
        """Return one unit on every evaluation image: image, label, prediction, fold, label_index,
        prediction_index, value.
        """
        layer_row = self._layer(run, layer)
        images = self._reported_images(run)
        condition = "layer = ? AND unit = ? AND image < ?"
        values = self._values(run, condition, (layer_row["layer"], _unit_number(layer_row, unit), images))
        table = self.images(run)
        if len(values) != len(table):
            raise self._damaged(run, f"it has {len(values)} activations of unit {unit} for {len(table)} images")
        table["value"] = values
        return table

    def ranks(self, run: str, layer: str, values: Sequence[float]) -> np.ndarray:
        """Return for each unit of a layer, the share 0..1 of images on which it is less active than in `values` [U]."""
        layer_row = self._layer(run, layer)
        if len(values) != layer_row["units"]:
            raise SelvizError(f"Layer {layer} has {layer_row['units']} units, and {len(values)} values were given.")
        # An image on which the unit is just as active counts half.
        query = (
            "SELECT avg((value < given[unit + 1])::INT + (value = given[unit + 1])::INT / 2) AS share "
            "FROM capture.activations, (SELECT ?::FLOAT[] AS given) WHERE layer = ? AND image < ? "
            "GROUP BY unit ORDER BY unit"
        )
        parameters = (tuple(float(value) for value in values), layer_row["layer"], self._reported_images(run))
        return read_column(self._files(run, ("capture",)), query, parameters, self._fix(run))

    def matrix(self, run: str, layer: str, units: Sequence[int] | None = None) -> np.ndarray:
        """Return the activations of one layer on the images of `images`, float32 [N, U], or of some units [N, k]."""
        if units is None:
            return self._matrix(run, layer)[: self._reported_images(run)]
        return self.activations_of(run, [(layer, unit) for unit in units])

    def activations_of(self, run: str, units: Sequence[tuple[str, int]]) -> np.ndarray:
        """Return the activations of some units (layer, unit) on the images of `images`, float32 [N, k]."""
        images, places = self._reported_images(run), self._places(run, units)
        stored = sorted(set(places))  # the order in which the rows lie
        if not stored:
            return np.empty((images, 0), np.float32)
        by_layer = {layer: tuple(unit for own, unit in stored if own == layer) for layer, _ in stored}
        # A join takes a fifth of the time of a list of numbers, and DuckDB does not keep the order of its rows. One
        # over layers and units would look at all rows.
        query = " UNION ALL ".join(
            [
                "SELECT value, a.rowid AS place FROM capture.activations a SEMI JOIN "
                "(SELECT unnest(?::UINTEGER[]) AS unit) chosen USING (unit) WHERE layer = ? AND image < ?"
            ]
            * len(by_layer)
        )
        parameters = tuple(part for layer, numbers in by_layer.items() for part in (numbers, layer, images))
        values = read_ordered(self._files(run, ("capture",)), query, parameters, self._fix(run))
        if values.size != len(stored) * images:
            raise self._damaged(run, f"it has {values.size} activations of {len(stored)} units for {images} images")
        return values.reshape(len(stored), images).T[:, _positions(stored, places)]

    def _matrix(self, run: str, layer: str) -> np.ndarray:
        """Return the activations of one layer on all images, the sealed ones last, float32 [N, U]."""
        layer_row = self._layer(run, layer)
        values = self._values(run, "layer = ?", (layer_row["layer"],))
        query = "SELECT count(*) AS images FROM capture.images"
        images = int(read(self._files(run, ("capture",)), query, (), self._fix(run))["images"][0])
        if values.size != layer_row["units"] * images:
            raise self._damaged(run, f"it has {values.size} activations of layer {layer} for {images} images")
        return values.reshape(layer_row["units"], images).T

    def thumbnails(self, run: str, images: Sequence[int]) -> dict[int, bytes]:
        """Return image number -> the bytes of a small picture that a browser shows; numbers that do not exist are
        left out.
        """
        try:
            wanted = sorted({number for number in map(int, images) if 0 <= number < 2**32})
        except (TypeError, ValueError, OverflowError):
            raise SelvizError(f"{str(images)[:80]} are no numbers of images; give such as [0, 1].") from None
        query = "SELECT image, png FROM images.thumbnails WHERE image IN (SELECT unnest(?::BIGINT[]))"
        with opened(self._files(run, ("images",)), self._fix(run)) as connection:
            return dict(connection.execute(query, [wanted]).fetchall())

    def sql(
        self, query: str, runs: Sequence[str] | None = None, limit: int | None = 10_000, seconds: float = 30.0
    ) -> pd.DataFrame:
        """Return the result of one SELECT over the views runs, epochs, layers, units, class_means, images, ...

        Each view has a `run` column and covers the finished runs, or those of `runs`. `.attrs["truncated"]` says
        whether there were more than `limit` rows (None: all are returned), `.attrs["left_out"]` which runs could not be
        read and why; one that was asked for by name and cannot be read raises SelvizError, as do writing, other files
        and more time.
        """
        if (limit is not None and limit < 1) or not seconds > 0:
            raise SelvizError(f"limit is {limit} and seconds is {seconds}; both must be above 0.")
        wanted = sql.wanted_views(query)
        frame = self.runs()
        if runs is not None:
            runs = [runs] if isinstance(runs, str) else list(runs)
            for run in runs:
                self.run(run)
            frame = frame[frame["run"].isin(runs)]
        names = frame.loc[frame["state"] == "finished", "run"].tolist()
        stages = {stage for view in wanted if view in TABLES for stage in stages_read(view)}
        if "activations" in wanted and len(names) > sql.MOST_RUNS:
            raise SelvizError(
                f"The query would read the activations of {len(names)} runs, and those of {sql.MOST_RUNS} can be read "
                f"at once; name the runs that you mean (--runs A,B). `select run from runs` lists them all."
            )
        files, left_out = {}, {}
        for run in names if stages else []:
            try:
                files[run] = self._files(run, stages)
            except TransientError:
                raise
            except SelvizError as error:
                left_out[run] = str(error)
        table = sql.run_query(query, wanted, frame, files, limit, seconds, left_out, self.hypotheses())
        if runs is not None and left_out:
            raise SelvizError("; ".join(f"run {run} cannot be read: {reason}" for run, reason in left_out.items()))
        return table

    @overload
    def export(self, run: str, table: str, path: None = None, format: str = "csv") -> bytes: ...
    @overload
    def export(self, run: str, table: str, path: StrPath, format: str = "csv") -> Path: ...
    def export(self, run: str, table: str, path: StrPath | None = None, format: str = "csv") -> Path | bytes:
        """Write one table of a run to `path` as csv, parquet or json and return the path; without a path, the bytes."""
        if table not in TABLES:
            raise unknown("table", table, list(TABLES))
        if format not in FORMATS:
            raise unknown("format", format, list(FORMATS))
        files = self._files(run, stages_read(table))
        if path is not None:
            return write_table(run, table, files, Path(path), format, self._fix(run, files))
        with tempfile.TemporaryDirectory() as folder:
            return write_table(run, table, files, Path(folder) / table, format, self._fix(run, files)).read_bytes()

    def pack(self, run: str, path: StrPath, pixels: bool = False) -> Path:
        """Write a finished run, with small copies of its images, as one zip file for another store; the file's path.

        With `pixels` the images of a run that was captured from memory go along, so that it can be silenced there.
        """
        fingerprint: Any = self.run(run).get("fingerprint")
        return run_archive.pack(self.path, run, fingerprint, path, lambda stage: self._fix(run, (stage,))(), pixels)

    def unpack(self, path: StrPath, name: str | None = None) -> str:
        """Bring in a run that `pack` wrote, under `name` if one is given; the run's name. Other runs stay untouched."""
        return run_archive.unpack(self.path, path, name)

    def table(
        self, run: str, table: str, layer: str | None = None, unit: int | Sequence[int] | None = None
    ) -> pd.DataFrame:
        """Return one of TABLES for a run, for one of its layers, or for one unit of it or some."""
        stages, order = stages_read(table), TABLES[table].order
        conditions: list[str] = []
        parameters: list[Any] = []
        if layer is not None:
            layer_row = self._layer(run, layer)
            conditions.append("t.layer = ?")
            parameters.append(layer_row["layer"])
            if isinstance(unit, Sequence) and not isinstance(unit, str):
                conditions.append("t.unit IN (SELECT unnest(?::BIGINT[]))")
                parameters.append(tuple(sorted({_unit_number(layer_row, each) for each in unit})))
            elif unit is not None:
                conditions.append("t.unit = ?")
                parameters.append(_unit_number(layer_row, unit))
        query = f"{view_query(table, {stage: stage for stage in stages}, conditions)} ORDER BY {order}"
        return read(self._files(run, stages), query, tuple(parameters), self._fix(run, stages))

    def _browsed(self, run: str) -> tuple[str, ...]:
        """Return the stages that the units of this run are read from."""
        folder = self.run_path(run)
        return unit_search.STAGES + tuple(stage for stage in unit_search.MORE if (folder / f"{stage}.duckdb").exists())

    def _missing(self, run: str) -> set[str]:
        """Return the optional measures that the run's files lack, since an earlier selviz wrote them."""
        stages, missing = self._browsed(run), set()
        for name, declared in unit_measures().items():
            if declared.optional and declared.stage in stages:
                query = f"SELECT column_name FROM (DESCRIBE {declared.stage}.{declared.table})"
                columns = read(self._files(run, (declared.stage,)), query, (), self._fix(run, (declared.stage,)))
                missing |= {name} - set(columns["column_name"])
        return missing

    def _browse(self, run: str, query: unit_search.Query, stages: Collection[str]) -> pd.DataFrame:
        files = self._files(run, stages)
        for stage in stages:
            check(files[stage], self._fix(run, (stage,)))
        return read(files, *query, self._fix(run))

    def _values(self, run: str, condition: str, parameters: tuple[Any, ...]) -> np.ndarray:
        # The rows lie sorted by layer, unit and image, and DuckDB keeps their order.
        query = f"SELECT value FROM capture.activations WHERE {condition}"
        return read_column(self._files(run, ("capture",)), query, parameters, self._fix(run))

    def _reported_images(self, run: str) -> int:
        """Return how many images are not sealed; they are the first ones."""
        query = "SELECT count(*) AS images FROM capture.images WHERE fold < 2"
        return int(read(self._files(run, ("capture",)), query, (), self._fix(run))["images"][0])

    def _layer(self, run: str, layer: str) -> dict[str, Any]:
        """Return the layer's row in the capture stage: its position as "layer", its name, units, depth, ..."""
        table = read(self._files(run, ("capture",)), "SELECT * FROM capture.layers ORDER BY layer", (), self._fix(run))
        names = table["name"].tolist()
        if layer not in names:
            raise unknown("layer", layer, names, fix=f"See: selviz layers {run}{self._data()}")
        position = names.index(layer)
        return {name: _plain(table[name].iat[position]) for name in table.columns}

    def _places(self, run: str, units: Sequence[tuple[str, int]]) -> list[tuple[int, int]]:
        """Return (position of the layer, unit) of each unit; SelvizError for one that does not exist."""
        rows = {layer: self._layer(run, layer) for layer in {layer for layer, _ in units}}
        return [(rows[layer]["layer"], _unit_number(rows[layer], unit)) for layer, unit in units]

    def _files(self, run: str, stages: Collection[str]) -> dict[str, Path]:
        folder = self.run_path(run)
        about = run_list.row(self.path, run)
        if about["state"] != "finished":
            about = self.run(run)  # says why not
        files = {stage: folder / f"{stage}.duckdb" for stage in stages if stage != "images"}
        if "images" in stages:
            fingerprint: Any = about.get("fingerprint")
            files["images"] = image_folder(self.path, fingerprint) / "images.duckdb"
        return files

    def _damaged(self, run: str, problem: str, stage: str = "capture") -> SelvizError:
        file = self.run_path(run) / f"{stage}.duckdb"
        return SelvizError(f"{file} is damaged: {problem}; {self._fix(run, (stage,))()}")

    def _fix(self, run: str, stages: Collection[str] = ("capture",)) -> Fix:
        return partial(fix_commands.sentence, self.path, run, stages)

    def rebuild_command(self, run: str, what: str = "capture") -> str:
        """Return the command that writes a file of a finished run again: a stage, "weights" or a .json file."""
        return fix_commands.rebuild_command(self.path, self.run_path(run).name, what)

    def _data(self) -> str:
        return fix_commands.in_store(self.path)

    def _empty(self) -> str:
        return f"The store {self.path} has no runs yet: selviz demo{self._data()}"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one; one that the system does not let us look at may be."""
    try:
        return entry.is_dir()
    except OSError as error:
        return error.errno not in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _positions(stored: Sequence[tuple[int, int]], places: Sequence[tuple[int, int]]) -> list[int]:
    """Return where each place stands among the stored ones."""
    position = {place: number for number, place in enumerate(stored)}
    return [position[place] for place in places]


def _unit_number(layer_row: dict[str, Any], unit: Any) -> int:
    try:
        number = int(unit)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number < layer_row["units"]:
        raise SelvizError(
            f"Unknown unit {str(unit)!r}: layer {layer_row['name']} has the units 0 to {layer_row['units'] - 1}."
        )
    return number
