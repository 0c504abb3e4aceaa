use burn::tensor::Tensor;
use perceiver_io::MultimodalOutput;
use perceiver_models::NamedTensors;

/// The output of a decoder or postprocessor, under the names of the fixtures.
pub(crate) trait Output {
    fn insert(self, name: &str, found: &mut NamedTensors);
}

impl<const D: usize> Output for Tensor<D> {
    fn insert(self, name: &str, found: &mut NamedTensors) {
        found.insert(name.to_owned(), self.into_data());
    }
}

impl Output for MultimodalOutput {
    fn insert(self, name: &str, found: &mut NamedTensors) {
        self.audio.insert(&format!("{name}.audio"), found);
        self.image.insert(&format!("{name}.image"), found);
        self.label.insert(&format!("{name}.label"), found);
    }
}

/// The output of a model without a decoder.
impl Output for () {
    fn insert(self, _: &str, _: &mut NamedTensors) {}
}
