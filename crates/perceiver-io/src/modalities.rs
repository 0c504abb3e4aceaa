use burn::module::Module;

/// One value per modality of the audio-visual autoencoder.
///
/// The fields are in the order of the tokens: the reference sorts modalities by name.
#[derive(Module, Debug)]
pub struct Modalities<T: Module> {
    /// For the sound track.
    pub audio: T,
    /// For the video frames.
    pub image: T,
    /// For the class label.
    pub label: T,
}
