use std::fs::{self, File};
use std::io;
use std::mem::{Discriminant, discriminant};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::Module as _;
use burn::optim::lr_scheduler::LrSchedulerRecord;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;
use burn_pack::{Reader, Scalar};

use super::CHECKPOINTS_NAME;
use super::manifest::Manifest;
use super::reports::write_whole;
use crate::pack::open_pack;
use crate::weights::check_parameters;
use crate::{Error, Objective, Result, TrainingModel};

/// Checkpoints to keep: the last, and the one before it in case the last cannot be read.
const KEPT: usize = 2;

/// The states of a run by step: a folder such as `step-120` with three files and their manifest, which
/// appears when all are on the disk.
#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    folder: PathBuf,
    /// burn writes the three files from three threads.
    finishing: Arc<Mutex<()>>,
    /// Steps of an epoch, in which burn counts.
    steps_per_epoch: usize,
}

/// If true, the folder of a run has a checkpoint, readable or not.
pub(crate) fn has_checkpoint(folder: &Path) -> bool {
    let checkpoints = Checkpoints::new(folder.join(CHECKPOINTS_NAME));
    checkpoints.steps().is_ok_and(|steps| !steps.is_empty())
}

/// The files of a checkpoint.
const PARTS: [&str; 3] = ["model.bpk", "optimiser.bpk", "schedule.bpk"];

impl Checkpoints {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, finishing: Arc::default(), steps_per_epoch: 1 }
    }

    pub(super) fn with_steps_per_epoch(self, steps_per_epoch: usize) -> Self {
        Self { steps_per_epoch, ..self }
    }

    /// Steps of the checkpoints, in order. An error if something else has the name of one.
    pub(super) fn steps(&self) -> Result<Vec<usize>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::io(&self.folder, "read"))?,
        };
        let step = |name: &str| name.strip_prefix("step-")?.parse().ok();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut steps: Vec<usize> = names.filter_map(|name| step(&name)).collect();
        steps.sort_unstable();
        match steps.iter().map(|step| self.place(*step)).find(|place| !place.is_dir()) {
            Some(place) => Err(damaged(&place, &"not a folder, expected that of a checkpoint")),
            None => Ok(steps),
        }
    }

    /// The last step whose checkpoint can be read, and why later ones cannot: burn's learner panics on
    /// a damaged one. An error if there are checkpoints, but none that can be read.
    pub(super) fn last_readable(&self) -> Result<(Option<usize>, Vec<Error>)> {
        let mut damaged = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            match self.read(step) {
                Ok(()) => return Ok((Some(step), damaged)),
                Err(error) => damaged.push(error),
            }
        }
        match damaged.into_iter().next() {
            Some(error) => Err(error),
            None => Ok((None, Vec::new())),
        }
    }

    /// Reads the files of a checkpoint.
    fn read(&self, step: usize) -> Result<()> {
        let place = self.place(step);
        Manifest::check(step, &place, &self.folder, &PARTS)?;
        let [model, optimiser, schedule] = PARTS.map(|name| place.join(name));
        for path in [&model, &optimiser, &schedule] {
            open_pack(path)?;
        }
        ModuleRecord::load(&model).map_err(|error| damaged(&model, &error))?;
        OptimizerRecord::load(&optimiser).map_err(|error| damaged(&optimiser, &error))?;
        LrSchedulerRecord::load(&schedule).map_err(|error| damaged(&schedule, &error))?;
        Ok(())
    }

    /// The three checkpointers of burn's learner.
    pub(super) fn parts(&self) -> [Part; 3] {
        PARTS.map(|name| Part { of: self.clone(), name })
    }

    /// Checks that a checkpoint holds the parameters of this model, where burn's learner would panic.
    pub(super) fn check_model<O: Objective>(
        &self,
        step: usize,
        model: &TrainingModel<O>,
    ) -> Result<()> {
        let path = self.place(step).join(PARTS[0]);
        check_parameters(model, &path)?;
        let record = ModuleRecord::load(&path).map_err(|error| damaged(&path, &error))?;
        let loaded = model.clone().try_load_record(record);
        loaded.map(drop).map_err(|error| damaged(&path, &error))
    }

    /// Checks that a checkpoint holds the state of this optimiser: burn would begin again with what
    /// does not fit.
    pub(super) fn check_optimiser(&self, step: usize, optimiser: &ModuleOptimizer) -> Result<()> {
        let path = self.place(step).join(PARTS[1]);
        let pack = open_pack(&path)?;
        let has_scalars = !pack.scalars().is_empty();
        let tensors = pack.into_tensors().map_err(|error| damaged(&path, &error))?;
        // burn panics on a tensor without a parameter.
        if let Some(tensor) = tensors.iter().find(|tensor| tensor.param_id.is_none()) {
            let reason = format!("`{}` belongs to no parameter", tensor.name);
            return Err(Error::SavedState { path, reason });
        }
        let record = OptimizerRecord::load(&path).map_err(|error| damaged(&path, &error))?;
        let fitting = optimiser.clone().load_record(record).to_record().len();
        // Only a schedule has numbers alone.
        if fitting == tensors.len() && !(tensors.is_empty() && has_scalars) {
            return Ok(());
        }
        let reason =
            format!("state of another optimiser: {fitting} of {} tensors fit", tensors.len());
        Err(Error::OtherModel { path, reason })
    }

    /// Checks that a checkpoint holds the state of this schedule: burn would begin again with one that
    /// does not fit.
    pub(super) fn check_schedule(&self, step: usize, schedule: &ModuleLrScheduler) -> Result<()> {
        let path = self.place(step).join(PARTS[2]);
        let own = schedule.to_record().into_bytes().map_err(|error| damaged(&path, &error))?;
        let own = Reader::from_bytes(own).map_err(|error| damaged(&path, &error))?;
        let saved = open_pack(&path)?;
        let kinds = |pack: &Reader| -> Vec<(String, Discriminant<Scalar>)> {
            pack.scalars()
                .iter()
                .map(|(name, scalar)| (name.clone(), discriminant(scalar)))
                .collect()
        };
        if saved.tensor_names().is_empty() && kinds(&saved) == kinds(&own) {
            return Ok(());
        }
        let reason = "not the state of this learning-rate schedule".to_owned();
        Err(Error::SavedState { path, reason })
    }

    /// Writes an empty file among the checkpoints, whose name is its content.
    pub(super) fn write_mark(&self, name: &str) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(Error::io(&self.folder, "create"))?;
        let path = self.folder.join(name);
        write_whole(&path, b"")
    }

    fn place(&self, step: usize) -> PathBuf {
        self.folder.join(format!("step-{step}"))
    }

    /// The place of a checkpoint until it is complete.
    fn unfinished(&self, step: usize) -> PathBuf {
        self.folder.join(format!(".step-{step}"))
    }

    /// Removes the files of an unfinished checkpoint, as a killed run leaves them, lest they complete
    /// a later one.
    pub(super) fn remove_unfinished(&self) -> Result<()> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(Error::io(&self.folder, "read"))?,
        };
        for entry in entries {
            let path = entry.map_err(Error::io(&self.folder, "read"))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(".step-") {
                fs::remove_dir_all(&path).map_err(Error::io(&path, "remove"))?;
            }
        }
        Ok(())
    }

    fn finish(&self, step: usize) -> Result<()> {
        let _finishing = self.finishing.lock().unwrap_or_else(PoisonError::into_inner);
        let (unfinished, place) = (self.unfinished(step), self.place(step));
        if !PARTS.iter().all(|name| unfinished.join(name).is_file()) {
            return Ok(());
        }
        Manifest::new(step, &unfinished, &self.folder, &PARTS)?.write(&unfinished)?;
        if place.exists() {
            fs::remove_dir_all(&place).map_err(Error::io(&place, "replace"))?;
        }
        fs::rename(unfinished, &place).map_err(Error::io(&place, "write"))?;
        sync(&self.folder).map_err(Error::io(&self.folder, "write"))
    }
}

fn damaged(path: &Path, error: &impl ToString) -> Error {
    let reason = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::SavedState { path: path.to_path_buf(), reason }
}

/// One of a checkpoint's files.
#[derive(Debug, Clone)]
pub(super) struct Part {
    of: Checkpoints,
    name: &'static str,
}

impl<R: Checkpoint> Checkpointer<R> for Part {
    fn save(&self, epoch: usize, record: R) -> Result<(), CheckpointerError> {
        let step = epoch * self.of.steps_per_epoch;
        let folder = self.of.unfinished(step);
        fs::create_dir_all(&folder).map_err(CheckpointerError::IOError)?;
        // A file has another name until it is complete.
        let (path, partial) = (folder.join(self.name), folder.join(format!("{}.part", self.name)));
        record.save(partial.clone())?;
        sync(&partial)
            .and_then(|()| fs::rename(partial, path))
            .map_err(CheckpointerError::IOError)?;
        // burn's error has no place for a path except in the text of the system's error.
        self.of.finish(step).map_err(|error| match error {
            Error::Io { path, source, .. } => {
                let message = format!("{}: {source}", path.display());
                CheckpointerError::IOError(io::Error::new(source.kind(), message))
            }
            error => CheckpointerError::IOError(io::Error::other(error)),
        })
    }

    fn delete(&self, epoch: usize) -> Result<(), CheckpointerError> {
        let step = epoch * self.of.steps_per_epoch;
        let _finishing = self.of.finishing.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_dir_all(self.of.place(step)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(CheckpointerError::IOError(error))
            }
            _ => Ok(()),
        }
    }

    fn restore(&self, epoch: usize) -> Result<R, CheckpointerError> {
        let step = epoch * self.of.steps_per_epoch;
        R::load(self.of.place(step).join(self.name))
    }
}

/// Waits until a file is on the disk.
fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Keeps the checkpoints of the last few epochs, as burn counts.
#[derive(Debug, Clone)]
pub(super) struct KeepLast {
    epochs: Vec<usize>,
}

impl KeepLast {
    /// Counts the checkpoints of an earlier session.
    pub(super) const fn after(epochs: Vec<usize>) -> Self {
        Self { epochs }
    }
}

impl CheckpointingStrategy for KeepLast {
    fn checkpointing(&mut self, epoch: usize, _: &EventStoreClient) -> Vec<CheckpointingAction> {
        self.epochs.retain(|kept| *kept != epoch);
        self.epochs.push(epoch);
        let old = self.epochs.len().saturating_sub(KEPT);
        let deleted = self.epochs.drain(..old).map(CheckpointingAction::Delete);
        // This runs before the new checkpoint is complete, so the one before stays.
        deleted.chain([CheckpointingAction::Save]).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    use super::*;

    fn save(checkpoints: &Checkpoints, step: usize, parts: usize) {
        for part in checkpoints.parts().iter().take(parts) {
            Checkpointer::save(part, step, LrSchedulerRecord::new().with_scalar("at", step as u64))
                .unwrap();
        }
    }

    #[test]
    fn a_checkpoint_appears_when_all_its_files_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().join("checkpoints"));
        save(&checkpoints, 5, 3);
        save(&checkpoints, 10, 2);
        assert_eq!(checkpoints.steps().unwrap(), [5]);
        save(&checkpoints, 10, 3);
        assert_eq!(checkpoints.steps().unwrap(), [5, 10]);
    }

    #[test]
    fn files_of_a_killed_run_complete_no_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().join("checkpoints"));
        checkpoints.remove_unfinished().unwrap();
        save(&checkpoints, 5, 3);
        save(&checkpoints, 10, 2);
        checkpoints.remove_unfinished().unwrap();
        let last = &checkpoints.parts()[2];
        Checkpointer::save(last, 10, LrSchedulerRecord::new()).unwrap();
        assert_eq!(checkpoints.steps().unwrap(), [5]);
    }

    #[test]
    fn saved_states_are_restored() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().to_path_buf());
        save(&checkpoints, 7, 3);
        let record: LrSchedulerRecord = checkpoints.parts()[2].restore(7).unwrap();
        assert_eq!(record.scalar::<u64>("at"), Some(7));
    }

    #[test]
    fn a_damaged_checkpoint_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().to_path_buf());
        for step in [5, 10] {
            let [model, optimiser, schedule] = checkpoints.parts();
            let layer = LinearConfig::new(3, 2).init(&Device::flex());
            model.save(step, layer.into_record()).unwrap();
            optimiser.save(step, OptimizerRecord::default()).unwrap();
            schedule.save(step, LrSchedulerRecord::new()).unwrap();
        }
        let last = || checkpoints.last_readable().unwrap();
        assert_eq!((last().0, last().1.len()), (Some(10), 0));
        let damage = |step| {
            let model = folder.path().join(format!("step-{step}/model.bpk"));
            let whole = fs::read(&model).unwrap();
            fs::write(model, &whole[..whole.len() - 1]).unwrap();
        };
        damage(10);
        assert_eq!((last().0, last().1.len()), (Some(5), 1));
        assert!(last().1[0].to_string().contains("step-10/model.bpk: damaged: "));
        // Without any, a run must not begin again over what is left.
        damage(5);
        let error = checkpoints.last_readable().unwrap_err().to_string();
        assert!(error.contains("step-10/model.bpk: damaged: "), "{error}");
    }
}
