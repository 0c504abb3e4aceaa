//! A model of one's own trains, is killed and resumed, saves, loads and is evaluated as ours are.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_outside::{
    CONFIDENCE, Cloud, CloudBatch, PointClassification, PointClassifier, SHAPES, batch, clouds,
    config,
};
use perceiver_train::data::Source;
use perceiver_train::models::{PerceiverConfig, PerceiverHead};
use perceiver_train::report::{CardModel, CardSettings, LOG_NAME, Log, Record};
use perceiver_train::{
    ChaCha8Rng, Ending, Error, Finished, LoaderBuilder, Measure, Metric, Objective, StepOutput,
    StopHandle, TrainingEvent, TrainingRun, evaluate, load_weights,
};

/// Fresh weights and dropout draw from a generator of the whole process: concurrent runs would disturb
/// each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An empty folder of a test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn head_of(config: &PerceiverConfig) -> PointClassifier {
    let device = Device::flex();
    device.seed(5);
    PointClassifier::from_config(config, &device.autodiff()).unwrap()
}

/// Any objective, on clouds.
fn run_of<O: Objective<Batch = CloudBatch>>(folder: &Path, objective: O) -> TrainingRun<O> {
    let training =
        LoaderBuilder::new(batch).batch_size(6).shuffle(7).workers(2).build(clouds(60, 1));
    let validation = LoaderBuilder::new(batch).batch_size(10).build(clouds(30, 2));
    TrainingRun::new(folder, objective, training, validation).learning_rate(0.01)
}

/// Ten steps with all state that a run has beside its weights.
fn run(folder: &Path) -> TrainingRun<PointClassification> {
    let run = run_of(folder, PointClassification::new(head_of(&config())));
    run.steps(10).validate_every(4).log_every(5).accumulation(2).max_norm(1.0).average_decay(0.9)
}

/// Trains, and stops when the log reaches a step.
fn stopped_at(step: u64, run: TrainingRun<PointClassification>) -> Ending {
    let stop = StopHandle::default();
    let handle = stop.clone();
    let run = run.stop_handle(&stop).on_progress(move |event| {
        if let TrainingEvent::Logged(record) = event
            && record.step == step
        {
            handle.stop();
        }
    });
    run.train().unwrap().ending
}

/// All weights, without the identifiers that burn draws for them.
fn weights(folder: &Path) -> Vec<u8> {
    let head = load_weights(head_of(&config()), folder).unwrap();
    head.save_pretrained(&config(), folder).unwrap();
    fs::read(folder.join("model.safetensors")).unwrap()
}

/// The log without its times.
fn records(folder: &Path) -> Vec<Record> {
    let log = Log::read(folder.join(LOG_NAME)).unwrap();
    let records = log.train.into_iter().chain(log.validation);
    records.map(|record| Record { seconds: 0.0, ..record }).collect()
}

fn assert_same(one: &Path, other: &Path) {
    assert_eq!(records(one), records(other));
    assert!(weights(one) == weights(other), "other weights");
}

/// A run that writes a model card.
fn carded(run: TrainingRun<PointClassification>) -> TrainingRun<PointClassification> {
    let settings = CardSettings {
        summary: "Names the shapes of clouds.".into(),
        limits: "Knows three shapes.".into(),
        licence: "mit".into(),
        measured_on: "30 clouds".into(),
        baseline: Some("33.3 (guessing)".into()),
        data: Vec::new(),
    };
    let usage = "`load_weights(head, folder)`".into();
    let model = CardModel::Custom { class: "PointClassifier".into(), usage };
    run.model_card("Shapes", model, settings)
}

#[test]
fn it_learns_and_what_is_saved_scores_as_the_log_says() {
    let _alone = alone();
    let folder = folder("learns");
    let run = run_of(&folder, PointClassification::new(head_of(&config())));
    let finished = carded(run.steps(240).validate_every(80).learning_rate(3e-3)).train();
    let Finished { ending, best, .. } = finished.unwrap();
    assert_eq!(ending, Ending::Complete);
    let best = best.unwrap();

    let head = load_weights(head_of(&config()), &folder).unwrap();
    let loader = LoaderBuilder::new(batch).batch_size(10).build(clouds(30, 2));
    let found = evaluate(&PointClassification::new(head), &loader).unwrap();
    assert_eq!(found.examples, 30);
    assert_eq!((found.loss, &found.measures), (best.loss, &best.measures));
    assert!(found.measures.get(&Metric::ACCURACY).unwrap() > 80.0, "{found:?}");

    let card = fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(
        card.contains("| 30 clouds | confidence | ") && card.contains(" % | 33.3 (guessing) |")
    );
    let curve = fs::read_to_string(folder.join("learning-curve.svg")).unwrap();
    assert!(curve.contains("confidence (%)"), "{curve}");
}

#[test]
fn a_head_that_saves_a_model_folder_loads_from_it() {
    let _alone = alone();
    let folder = folder("pretrained");
    let run = run(&folder).save_with(|head, folder| head.save_pretrained(&config(), folder));
    let best = run.train().unwrap().best.unwrap();
    let loaded = PointClassifier::from_pretrained(&folder, &Device::flex()).unwrap();
    let loader = LoaderBuilder::new(batch).batch_size(10).build(clouds(30, 2));
    let found = evaluate(&PointClassification::new(loaded.model), &loader).unwrap();
    assert_eq!((found.loss, found.measures), (best.loss, best.measures));
}

#[test]
fn a_complete_run_that_is_resumed_writes_its_reports_again() {
    let _alone = alone();
    let folder = folder("reports");
    carded(run(&folder)).train().unwrap();
    let reports = || {
        ["README.md", "learning-curve.svg"]
            .map(|name| fs::read_to_string(folder.join(name)).unwrap())
    };
    let written = reports();
    fs::remove_file(folder.join("README.md")).unwrap();
    fs::write(folder.join("learning-curve.svg"), "old").unwrap();
    assert_eq!(carded(run(&folder)).resume(true).train().unwrap().ending, Ending::Complete);
    assert_eq!(reports(), written);
    assert!(written[0].contains(" % | 33.3 (guessing) |"), "{}", written[0]);
}

#[test]
fn dropout_is_off_in_an_evaluation() {
    let _alone = alone();
    let objective = PointClassification::new(head_of(&config()));
    let loader = LoaderBuilder::new(batch).batch_size(10).build(clouds(30, 2));
    let [tracked, plain] = [evaluate(&objective, &loader), evaluate(&objective.valid(), &loader)]
        .map(|found| found.unwrap());
    assert_eq!((tracked.loss, tracked.measures), (plain.loss, plain.measures));

    let shuffled = LoaderBuilder::new(batch).shuffle(1).build(clouds(3, 1));
    let error = evaluate(&objective, &shuffled).unwrap_err().to_string();
    assert_eq!(error, "evaluation loader is shuffled, expected a fixed order");
}

/// Clouds of which the first cannot be read.
struct Torn(Vec<Cloud>);

impl Source for Torn {
    type Example = Cloud;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn example(
        &self,
        index: usize,
        random: &mut ChaCha8Rng,
    ) -> perceiver_train::data::Result<Cloud> {
        if index == 0 {
            let source = std::io::ErrorKind::NotFound.into();
            let path = "first.cloud".into();
            return Err(perceiver_train::data::Error::Io { path, action: "read", source });
        }
        self.0.example(index, random)
    }
}

#[test]
fn each_evaluation_counts_its_own_skipped_examples() {
    let _alone = alone();
    let objective = PointClassification::new(head_of(&config()));
    let loader = LoaderBuilder::new(batch).batch_size(2).build(Torn(clouds(3, 1)));
    for _ in 0..5 {
        let found = evaluate(&objective, &loader).unwrap();
        assert_eq!((found.examples, found.skipped.count), (2, 1));
        assert_eq!(found.skipped.reasons.len(), 1);
    }
}

#[test]
fn a_resumed_run_is_the_run_that_was_never_stopped() {
    let _alone = alone();
    let (whole, parts) = (folder("whole"), folder("parts"));
    assert_eq!(run(&whole).train().unwrap().ending, Ending::Complete);
    assert_eq!(stopped_at(5, run(&parts)), Ending::Interrupted { step: 5 });
    assert_eq!(run(&parts).resume(true).train().unwrap().ending, Ending::Complete);
    assert_same(&parts, &whole);
}

#[test]
fn a_complete_run_that_resumes_knows_the_units_of_its_metrics() {
    let _alone = alone();
    let folder = folder("complete");
    let trained = run(&folder).train().unwrap().best.unwrap();
    let resumed = run(&folder).resume(true).train().unwrap().best.unwrap();
    assert_eq!(resumed, trained);
    let (metric, _) = resumed.measures.iter().find(|(found, _)| **found == CONFIDENCE).unwrap();
    assert_eq!(metric.unit, CONFIDENCE.unit);
    assert_eq!(metric.higher_is_better, CONFIDENCE.higher_is_better);
}

#[test]
fn half_a_checkpoint_costs_a_step_and_not_the_run() {
    let _alone = alone();
    let (whole, torn) = (folder("untorn"), folder("torn"));
    run(&whole).train().unwrap();
    stopped_at(5, run(&torn));
    let checkpoints = torn.join("checkpoints");
    // The last checkpoint is damaged, and a later one was never finished.
    let file = checkpoints.join("step-5/optimiser.bpk");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    fs::create_dir(checkpoints.join(".step-8")).unwrap();
    fs::write(checkpoints.join(".step-8/model.bpk"), "half").unwrap();
    run(&torn).resume(true).train().unwrap();
    assert_same(&torn, &whole);
}

#[test]
fn a_model_that_was_built_without_autodiff_trains_all_the_same() {
    let _alone = alone();
    let (tracked, plain) = (folder("tracked"), folder("plain"));
    run(&tracked).train().unwrap();
    Device::flex().seed(5);
    let head = PointClassifier::from_config(&config(), &Device::flex()).unwrap();
    let plain_run = run_of(&plain, PointClassification::new(head)).steps(10).validate_every(4);
    let plain_run = plain_run.log_every(5).accumulation(2).max_norm(1.0).average_decay(0.9);
    plain_run.train().unwrap();
    assert_same(&plain, &tracked);
}

/// Runs for hours in a process of its own, which `a_killed_run_resumes_bit_for_bit` kills.
#[test]
#[ignore = "a part of another test"]
fn endless_run() {
    let folder = std::env::var_os("OUTSIDE_FOLDER").unwrap();
    run(folder.as_ref()).steps(1_000_000).train().unwrap();
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_killed_run_resumes_bit_for_bit() {
    let _alone = alone();
    let (whole, killed) = (folder("not-killed"), folder("killed"));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "endless_run", "--ignored"])
        .env("OUTSIDE_FOLDER", &killed)
        .stdout(Stdio::null())
        .spawn();
    let child = Killed(child.unwrap());
    let since = Instant::now();
    let reached = |step: usize| {
        let names = fs::read_dir(killed.join("checkpoints")).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| name.strip_prefix("step-")?.parse().ok()).any(|at: usize| at > step)
    };
    while !reached(4) {
        assert!(since.elapsed() < Duration::from_secs(60), "no checkpoint in a minute");
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(child);
    let log = Log::read(killed.join(LOG_NAME)).unwrap();
    let steps = log.train.last().unwrap().step as usize + 6;
    run(&killed).steps(steps).resume(true).train().unwrap();
    run(&whole).steps(steps).train().unwrap();
    assert_same(&killed, &whole);
}

#[track_caller]
fn refused(run: TrainingRun<impl Objective>) -> String {
    let error = run.train().unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn a_resumed_run_of_another_model_is_refused_by_the_name_of_a_parameter() {
    let _alone = alone();
    let folder = folder("another");
    stopped_at(5, run(&folder));
    let larger = PerceiverConfig { num_latents: 6, ..config() };
    let larger = run_of(&folder, PointClassification::new(head_of(&larger))).average_decay(0.9);
    let error = refused(larger.steps(10).resume(true));
    assert!(error.contains("checkpoints/step-5/model.bpk: weights of another model: "), "{error}");
    assert!(error.contains("latents` has shape [4, 16], expected [6, 16]"), "{error}");

    let deeper = PerceiverConfig { num_self_attends_per_block: 2, ..config() };
    let deeper = run_of(&folder, PointClassification::new(head_of(&deeper))).average_decay(0.9);
    let error = refused(deeper.steps(10).resume(true));
    assert!(error.contains("is missing; the file has "), "{error}");

    assert!(
        refused(run(&folder)).ends_with("holds a run already; resume it or choose another folder")
    );
    let wrong = load_weights(head_of(&larger_config()), &folder).unwrap_err().to_string();
    assert!(wrong.contains("weights.bpk: weights of another model: "), "{wrong}");
}

#[test]
fn a_resumed_run_of_other_settings_is_refused_by_their_name() {
    let _alone = alone();
    let of = |folder: &Path, config: &PerceiverConfig| {
        let run = run_of(folder, PointClassification::new(head_of(config))).steps(10);
        run.validate_every(4).log_every(5).accumulation(2).max_norm(1.0).average_decay(0.9)
    };
    // The weights have the same shapes.
    let heads = PerceiverConfig { num_self_attention_heads: 4, ..config() };
    let untied = folder("untied");
    stopped_at(5, run(&untied));
    let error = refused(of(&untied, &heads).resume(true));
    assert!(error.contains("`objective.") && error.contains("the saved run has"), "{error}");
    assert!(error.contains("heads"), "{error}");
    let optimiser = burn::optim::SgdConfig::new().build();
    let error = refused(run(&untied).optimiser(optimiser).resume(true));
    assert!(error.contains("`run.optimiser` is \"Sgd\", the saved run has \"AdamW\""), "{error}");
    let error = refused(run(&untied).accumulation(3).resume(true));
    assert!(error.contains("`run.accumulation` is 3, the saved run has 2"), "{error}");

    let error = refused(run(&folder("empty")).resume_only(true));
    assert!(error.ends_with("empty: nothing to resume: it holds no run"), "{error}");
    stopped_at(5, run(&folder("empty")).resume(true));

    let tied = folder("tied");
    stopped_at(5, run(&tied).tied_to(&[("rate", 0.01)]));
    let error = refused(run(&tied).tied_to(&[("rate", 0.02)]).resume(true));
    assert!(error.contains("is 0.02, the saved run has 0.01"), "{error}");
    run(&tied).tied_to(&[("rate", 0.01)]).resume(true).train().unwrap();
}

#[test]
fn a_folder_has_one_run_at_a_time() {
    let _alone = alone();
    let (first, second) = (folder("one-at-a-time"), folder("one-at-a-time"));
    let message = std::sync::Arc::new(Mutex::new(None));
    let found = std::sync::Arc::clone(&message);
    let run = run(&first).on_progress(move |event| {
        if let TrainingEvent::Saved = event {
            let other = run_of(&second, PointClassification::new(head_of(&config())));
            let error = other.resume(true).train().unwrap_err();
            *found.lock().unwrap() = Some(error.to_string());
        }
    });
    run.train().unwrap();
    let message = message.lock().unwrap().take().unwrap();
    assert!(message.ends_with("in use: another process trains there"), "{message}");
}

/// Divides by the number of labels, which is zero in some batches.
#[derive(Module, Debug)]
struct Unlabelled {
    inner: PointClassification,
    #[module(skip)]
    is_labelled: fn(i64) -> bool,
}

impl Objective for Unlabelled {
    type Head = PointClassifier;
    type Batch = CloudBatch;

    fn head(&self) -> &PointClassifier {
        self.inner.head()
    }

    fn step(&self, batch: CloudBatch) -> StepOutput {
        let shapes = batch.shapes.clone().into_data();
        let labels = if (self.is_labelled)(shapes.iter::<i64>().sum()) { 6.0 } else { 0.0 };
        let output = self.inner.step(batch);
        let labels = Tensor::<1>::from_floats([labels], &output.loss.device());
        let loss = output.loss * labels.clone() / labels.clone();
        StepOutput::new(loss).with(Measure::new(Metric::new("labels", ""), labels.clone(), labels))
    }
}

#[test]
fn batches_in_which_nothing_counts_change_neither_weights_nor_the_log() {
    let _alone = alone();
    let folder = folder("unlabelled");
    let inner = PointClassification::new(head_of(&config()));
    let run = run_of(&folder, Unlabelled { inner, is_labelled: |sum| sum % 2 == 0 }).steps(12);
    run.validate_every(6).log_every(1).train().unwrap();
    let records = records(&folder);
    assert!(records.iter().all(|record| record.loss.is_finite()), "{records:?}");
    // Some steps have a line and some have none.
    let lines = Log::read(folder.join(LOG_NAME)).unwrap().train.len();
    assert!((1..12).contains(&lines), "{lines}");
    let head = load_weights(head_of(&config()), &folder).unwrap();
    let loader = LoaderBuilder::new(batch).batch_size(10).build(clouds(30, 2));
    assert!(evaluate(&PointClassification::new(head), &loader).unwrap().loss.is_finite());
}

/// One of two batches of a step has labels: the step is that of this batch alone.
#[test]
fn a_step_is_the_mean_of_the_batches_that_count() {
    let _alone = alone();
    let trained = |name: &str, shapes: [usize; 2], batches: usize| {
        let folder = folder(name);
        let of_shape = |shape: usize| clouds(3, 1).into_iter().filter(move |c| c.shape == shape);
        let training: Vec<_> = shapes.iter().flat_map(|shape| of_shape(*shape)).collect();
        let training = LoaderBuilder::new(batch).shuffle(7).build(training);
        let validation = LoaderBuilder::new(batch).batch_size(10).build(clouds(30, 2));
        // Its draws depend on the batches before.
        let config = PerceiverConfig { attention_probs_dropout_prob: 0.0, ..config() };
        let inner = PointClassification::new(head_of(&config));
        let objective = Unlabelled { inner, is_labelled: |sum| sum != 0 };
        let run = TrainingRun::new(&folder, objective, training, validation).steps(1);
        run.optimiser(burn::optim::SgdConfig::new().build()).accumulation(batches).train().unwrap();
        weights(&folder)
    };
    // Shape 0 is never labelled.
    let half = trained("half-labelled", [0, 1], 2);
    assert!(half == trained("one-batch", [1, 1], 1), "other weights");
    assert!(half == trained("both-labelled", [1, 1], 2), "other weights");
    assert!(half != trained("another-shape", [2, 2], 1), "the same weights");
}

fn larger_config() -> PerceiverConfig {
    PerceiverConfig { num_latents: 6, ..config() }
}

/// Measures something that no cloud has.
#[derive(Module, Debug)]
struct Unmeasured {
    inner: PointClassification,
    optional: bool,
}

impl Objective for Unmeasured {
    type Head = PointClassifier;
    type Batch = CloudBatch;

    fn head(&self) -> &PointClassifier {
        self.inner.head()
    }

    fn step(&self, batch: CloudBatch) -> StepOutput {
        let output = self.inner.step(batch);
        let none = Tensor::zeros([1], &output.loss.device());
        let measure = Measure::new(Metric::new("torus recall", ""), none.clone(), none);
        output.with(if self.optional { measure.optional() } else { measure })
    }
}

#[test]
fn a_metric_without_examples_is_refused_by_its_name() {
    let _alone = alone();
    let run = |name: &str, optional| {
        let inner = PointClassification::new(head_of(&config()));
        run_of(&folder(name), Unmeasured { inner, optional }).steps(4)
    };
    let error = refused(run("unmeasured", false));
    let expected = "metric `torus recall` counted no examples in the validation part at step 4";
    assert_eq!(error, expected);
    let best = run("optional", true).train().unwrap().best.unwrap();
    let names: Vec<_> = best.measures.iter().map(|(metric, _)| metric.name.clone()).collect();
    assert_eq!(names, [CONFIDENCE.name, Metric::ACCURACY.name]);

    let inner = PointClassification::new(head_of(&config()));
    let loader = LoaderBuilder::new(batch).build(clouds(3, 1));
    let error = evaluate(&Unmeasured { inner, optional: false }, &loader);
    assert_eq!(error.unwrap_err().to_string(), "metric `torus recall` counted no examples");
}

#[test]
fn loaders_in_the_wrong_order_are_refused() {
    let _alone = alone();
    let objective = || PointClassification::new(head_of(&config()));
    let fixed = || LoaderBuilder::new(batch).build(clouds(3, 1));
    let shuffled = || LoaderBuilder::new(batch).shuffle(1).build(clouds(3, 1));
    let folder = folder("orders");
    let error = refused(TrainingRun::new(&folder, objective(), fixed(), fixed()));
    assert!(
        error.ends_with("training loader has a fixed order, expected a shuffled one"),
        "{error}"
    );
    let error = refused(TrainingRun::new(&folder, objective(), shuffled(), shuffled()));
    assert!(error.ends_with("validation loader is shuffled, expected a fixed order"), "{error}");
    let error = refused(TrainingRun::new(&folder, objective(), shuffled(), fixed()).steps(0));
    assert!(error.ends_with("steps is 0, expected 1 or more"), "{error}");
}

#[test]
fn a_run_that_diverges_or_cannot_save_ends_in_one_line() {
    let _alone = alone();
    let error = refused(run(&folder("diverged")).learning_rate(f64::INFINITY).max_norm(None));
    assert!(error.starts_with("loss is not finite at step "), "{error}");
    assert!(error.ends_with("a smaller learning rate or clipping may help"), "{error}");
    let mut unclear = clouds(60, 1);
    unclear.iter_mut().for_each(|cloud| cloud.points[0][0] = f32::NAN);
    let training = LoaderBuilder::new(batch).batch_size(6).shuffle(7).build(unclear);
    let validation = LoaderBuilder::new(batch).batch_size(10).build(clouds(30, 2));
    let objective = PointClassification::new(head_of(&config()));
    let error = refused(TrainingRun::new(folder("unclear"), objective, training, validation));
    let expected = "loss is not finite at step 1 with finite weights: examples hold NaN";
    assert!(error.starts_with(expected), "{error}");
    let run = run(&folder("unsaved")).save_with(|_, _| Err(Error::Save("no ink".into())));
    assert_eq!(refused(run), "cannot save the best weights: no ink");
}

#[test]
#[should_panic(expected = "coordinates have 3 dimensions, expected 2")]
fn points_of_another_dimension_name_both_numbers() {
    let flat = config().with_field("dims", 2);
    let _ = head_of(&flat).forward(Tensor::<3>::zeros([1, 4, 3], &Device::flex()));
}

#[test]
#[should_panic(expected = "a cloud has 0 points, expected 1 or more")]
fn a_cloud_without_points_is_refused() {
    let _ = head_of(&config()).forward(Tensor::<3>::zeros([1, 0, 3], &Device::flex()));
}

#[test]
#[should_panic(expected = "the loss has 6 values, expected 1")]
fn a_loss_for_each_example_is_refused() {
    let _ = StepOutput::new(Tensor::zeros([6], &Device::flex()));
}

#[test]
#[should_panic(expected = "the source has 0 examples, expected 1 or more")]
fn a_source_without_examples_is_refused() {
    let _ = LoaderBuilder::new(batch).build(Vec::<Cloud>::new());
}

#[test]
fn a_batch_function_may_be_a_closure() {
    let names = |clouds: Vec<Cloud>, _: &mut ChaCha8Rng, _: &Device| {
        clouds.iter().map(|cloud| SHAPES[cloud.shape]).collect::<Vec<_>>()
    };
    let loader = LoaderBuilder::new(names).batch_size(3).build(clouds(3, 1));
    let loader: &dyn burn::data::dataloader::DataLoader<_> = &loader;
    let batches: Vec<_> = loader.iter().map(Result::unwrap).collect();
    assert_eq!(batches, [SHAPES]);
}
