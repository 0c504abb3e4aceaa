//! A file of the fixtures: the arguments of a part, its weights, inputs and outputs.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use perceiver_models::{
    Checkpoint, KeyMap, LoadOptions, NamedTensors, PerceiverConfig, load_module, write_tensors,
};
use perceiver_tests::{fixtures, read_tensors};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::arguments::Arguments;

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) options: Value,
    pub(crate) config: PerceiverConfig,
    weights: NamedTensors,
    pub(crate) inputs: NamedTensors,
    pub(crate) outputs: NamedTensors,
}

/// Every file of the folder, sorted.
pub(crate) fn cases() -> Vec<Case> {
    let files = fs::read_dir(fixtures("parts")).expect("the fixtures are there");
    let mut paths: Vec<PathBuf> =
        files.map(|file| file.expect("the folder can be read").path()).collect();
    paths.sort();
    paths.iter().map(|path| Case::read(path)).collect()
}

impl Case {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).expect("the file can be read");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).expect("a safetensors file");
        let options = metadata.metadata().as_ref().and_then(|of| of.get("options"));
        let options: Value =
            serde_json::from_str(options.expect("every file has options")).expect("JSON");
        let config = PerceiverConfig::from_json(&options["config"].to_string());
        let mut case = Self {
            name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
            config: config.expect("a valid configuration"),
            options,
            weights: NamedTensors::new(),
            inputs: NamedTensors::new(),
            outputs: NamedTensors::new(),
        };
        for (name, tensor) in read_tensors(path) {
            let (group, name) = name.split_once('.').expect("every tensor is in a group");
            let group = match group {
                "weights" => &mut case.weights,
                "inputs" => &mut case.inputs,
                "outputs" => &mut case.outputs,
                other => panic!("{}: no group is called {other}", case.name),
            };
            group.insert(name.to_owned(), tensor);
        }
        case
    }

    /// The class or function of the part in the reference.
    pub(crate) fn part(&self) -> &str {
        self.options["part"].as_str().expect("every case names its part")
    }

    pub(crate) fn arguments(&self) -> Arguments {
        Arguments::new(&self.options["arguments"])
    }

    /// True if the reference returned attention maps.
    pub(crate) fn has_attentions(&self) -> bool {
        self.outputs.keys().any(|name| name.contains("attentions"))
    }

    /// Loads all weights of the case into `module`, like a checkpoint.
    pub(crate) fn load<M: Module>(&self, module: M) -> Result<M, String> {
        self.load_renamed(module, |key| key.to_owned())
    }

    /// The same with renamed keys, for a module that has another name in the reference.
    pub(crate) fn load_renamed<M: Module>(
        &self,
        module: M,
        rename: impl Fn(&str) -> String,
    ) -> Result<M, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("part.safetensors");
        let weights = self.weights.iter().map(|(key, data)| (rename(key), data.clone()));
        write_tensors(&file, weights).map_err(|error| error.to_string())?;
        let checkpoint = Checkpoint::open(&file).map_err(|error| error.to_string())?;
        load_module(module, &checkpoint, &KeyMap::PERCEIVER, &LoadOptions::default())
            .map(|(module, _)| module)
            .map_err(|error| error.to_string())
    }

    pub(crate) fn input<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        Tensor::from_data(self.inputs[name].clone(), device)
    }

    pub(crate) fn ids<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D, Int> {
        Tensor::from_data(self.inputs[name].clone(), device)
    }

    /// Number of axes of an input.
    pub(crate) fn rank(&self, name: &str) -> usize {
        self.inputs[name].shape().num_dims()
    }
}

/// The same elements in another shape: the reference keeps the axes of some grids whose cells are tokens
/// here.
pub(crate) fn reshaped(data: TensorData, shape: &[usize]) -> TensorData {
    let dtype = data.dtype();
    TensorData::from_bytes(data.into_bytes(), shape.to_vec(), dtype)
}
