use burn::module::Module;

/// One thing for each modality of the audio-visual autoencoder.
///
/// The fields are in token order: the reference concatenates modalities sorted by name.
#[derive(Module, Debug)]
pub struct Modalities<T: Module> {
    /// For the sound track.
    pub audio: T,
    /// For the video frames.
    pub image: T,
    /// For the class label.
    pub label: T,
}
