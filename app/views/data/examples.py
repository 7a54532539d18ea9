"""Questions to the tables as SQL: `examples("mnist-5k-cnn-a0", "relu4")` is {what is asked: the query}."""


def examples(run: str, layer: str) -> dict[str, str]:
    """Return worked examples; where one needs a single run or layer, it names these."""
    run, layer = (text.replace("'", "''") for text in (run, layer))
    return {
        "The twenty most selective units": """\
select run, layer, unit, si, null_p95, preferred_class
from units
where not dead
order by si desc
limit 20""",
        "Mean SI by layer, beside its null": """\
select run, layer, mean_si, mean_si_live, null_p95, dead, units
from layers
order by run, depth""",
        "Accuracy by class of each network": """\
select run, label as class, avg((prediction = label)::int) as accuracy, count(*) as images
from images
group by all
order by class, run""",
        "Images on which two networks disagree": """\
select a.image, a.label, a.run as one_run, a.prediction as one, b.run as other_run, b.prediction as other
from images a
join images b on a.image = b.image and a.run < b.run and a.prediction <> b.prediction
join runs ra on ra.run = a.run
join runs rb on rb.run = b.run and rb.fingerprint = ra.fingerprint  -- the same images
order by a.image""",
        "Images that most networks get wrong": """\
select fingerprint, image, label, count(*) filter (prediction <> label) as wrong, count(*) as networks,
  list(distinct prediction order by prediction) as taken_for
from images
join runs using (run)
group by all
having wrong > 0
order by wrong desc, image""",
        "Is SI related to the drop in accuracy?": """\
-- where an atlas is stored; within a layer, since SI is not to be compared across layers
select run, layer, count(*) as units, corr(si, before - after) as correlation
from units
join atlas using (run, layer, unit)
where not dead
group by all
order by run, layer""",
        "One unit, class by class": f"""\
select label as class, count(*) as images, avg(value) as mean, median(value) as median, max(value) as largest
from activations
join images using (run, image)
where run = '{run}' and layer = '{layer}' and unit = 0
group by all
order by mean desc""",
        "When selectivity appeared in training": """\
select run, epoch, test_accuracy, mean_si, mean_si_live
from epochs
order by run, epoch""",
    }
