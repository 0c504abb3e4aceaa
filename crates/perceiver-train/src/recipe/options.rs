use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::StopHandle;

/// Settings of a session that a recipe does not know. Only the folder is required.
///
/// ```
/// use perceiver_train::recipe::TrainOptions;
///
/// let options = TrainOptions::new("fashion").data("target/data").resume(true);
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct TrainOptions {
    pub(super) folder: PathBuf,
    pub(super) data: PathBuf,
    pub(super) devices: Vec<Device>,
    pub(super) init: Option<PathBuf>,
    pub(super) freeze_encoder: bool,
    pub(super) resume: bool,
    pub(super) dashboard: bool,
    pub(super) machine: Option<String>,
    pub(super) stop: StopHandle,
}

impl TrainOptions {
    /// Trains in a folder, which will hold the model, the log and the checkpoints.
    pub fn new(folder: impl AsRef<Path>) -> Self {
        Self {
            folder: folder.as_ref().to_path_buf(),
            data: PathBuf::new(),
            devices: Vec::new(),
            init: None,
            freeze_encoder: false,
            resume: false,
            dashboard: false,
            machine: None,
            stop: StopHandle::default(),
        }
    }

    /// Folder in which the recipe's relative paths begin: the current folder by default.
    pub fn data(self, folder: impl AsRef<Path>) -> Self {
        Self { data: folder.as_ref().to_path_buf(), ..self }
    }

    /// Trains on one device: burn's default device if not set.
    pub fn device(self, device: &Device) -> Self {
        self.devices([device.clone()])
    }

    /// Trains on several devices, which share the batches.
    pub fn devices(self, devices: impl IntoIterator<Item = Device>) -> Self {
        Self { devices: devices.into_iter().collect(), ..self }
    }

    /// Starts from a model: a folder, a file of weights, or a hub id such as
    /// `deepmind/language-perceiver`. A model with another head gives all weights that fit. A decoder
    /// of other shapes, such as for other labels, starts with fresh weights where they differ, which
    /// [`TrainingEvent::Warning`](crate::TrainingEvent::Warning) says.
    pub fn init(self, model: impl Into<Option<PathBuf>>) -> Self {
        Self { init: model.into(), ..self }
    }

    /// If true, freezes preprocessor, latents and encoder, also in later sessions of the run.
    pub fn freeze_encoder(self, freeze: bool) -> Self {
        Self { freeze_encoder: freeze, ..self }
    }

    /// If true, continues after the last checkpoint in the folder, which has to hold a run of the same
    /// recipe. docs/training.md lists what may change.
    pub fn resume(self, resume: bool) -> Self {
        Self { resume, ..self }
    }

    /// If true, shows burn's dashboard on the terminal. Needs the feature `tui`.
    pub fn dashboard(self, show: bool) -> Self {
        Self { dashboard: show, ..self }
    }

    /// The machine, for the model card: `one core of an AMD EPYC`.
    pub fn machine(self, machine: impl Into<String>) -> Self {
        Self { machine: Some(machine.into()), ..self }
    }

    /// A handle that stops the run from another thread.
    pub fn stop_handle(self, handle: &StopHandle) -> Self {
        Self { stop: handle.clone(), ..self }
    }
}
