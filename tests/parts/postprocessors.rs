use burn::tensor::{Device, Tensor};
use perceiver_core::Initialisation;
use perceiver_io::{
    AudioPostprocessor, ClassificationPostprocessor, EmbeddingDecoder, MultimodalPostprocessor,
    Postprocessor, ProjectionPostprocessor,
};
use perceiver_models::{NamedTensors, PerceiverConfig};

use crate::arguments::Arguments;
use crate::case::Case;
use crate::output::Output;
use crate::preprocessors::MODALITIES;

pub(crate) fn run(case: &Case, device: &Device) -> Result<NamedTensors, String> {
    let mut arguments = case.arguments();
    let config = &case.config;
    match case.part() {
        "PerceiverProjectionPostprocessor" => {
            postprocess(case, projection(&mut arguments, device), device)
        }
        "PerceiverAudioPostprocessor" => {
            postprocess(case, audio(&mut arguments, config, device), device)
        }
        "PerceiverClassificationPostprocessor" => {
            postprocess(case, classification(&mut arguments, config, device), device)
        }
        "PerceiverMultimodalPostprocessor" => {
            postprocess(case, multimodal(&mut arguments, config, device), device)
        }
        "PerceiverEmbeddingDecoder" => embed(case, device),
        other => Err(format!("unknown postprocessor {other}")),
    }
}

fn postprocess<O>(case: &Case, module: O, device: &Device) -> Result<NamedTensors, String>
where
    O: Postprocessor<Tensor<3>, Output: Output>,
{
    let module = case.load(module)?;
    let (answers, sizes) = answers(case, device);
    let mut found = NamedTensors::new();
    module.forward(answers, &sizes).insert("logits", &mut found);
    Ok(found)
}

/// Concatenated answers, and their number per modality. If the reference takes a dictionary, its entries
/// are concatenated.
fn answers(case: &Case, device: &Device) -> (Tensor<3>, Vec<usize>) {
    if case.inputs.contains_key("inputs") {
        let sizes = &case.options["call"]["modality_sizes"];
        let sizes = MODALITIES.iter().filter_map(|name| sizes[*name].as_u64());
        return (case.input("inputs", device), sizes.map(|size| size as usize).collect());
    }
    let answers: Vec<Tensor<3>> =
        MODALITIES.iter().map(|name| case.input(&format!("inputs.{name}"), device)).collect();
    let sizes = answers.iter().map(|answers| answers.dims()[1]).collect();
    (Tensor::cat(answers, 1), sizes)
}

fn embed(case: &Case, device: &Device) -> Result<NamedTensors, String> {
    let module = case.load(EmbeddingDecoder::new(case.config.vocab_size, device))?;
    let answers = case.input("hidden_states", device);
    let mut found = NamedTensors::new();
    module.forward(answers, case.input("embeddings", device)).insert("logits", &mut found);
    Ok(found)
}

pub(crate) fn projection(arguments: &mut Arguments, device: &Device) -> ProjectionPostprocessor {
    let [inputs, outputs] =
        ["in_channels", "out_channels"].map(|name| arguments.optional_size(name).expect(name));
    ProjectionPostprocessor::new(inputs, outputs, Initialisation::default(), device)
}

fn audio(
    arguments: &mut Arguments,
    config: &PerceiverConfig,
    device: &Device,
) -> AudioPostprocessor {
    let inputs = arguments.optional_size("in_channels").expect("in_channels");
    AudioPostprocessor::new(inputs, config.samples_per_patch, Initialisation::default(), device)
}

fn classification(
    arguments: &mut Arguments,
    config: &PerceiverConfig,
    device: &Device,
) -> ClassificationPostprocessor {
    let inputs = arguments.optional_size("in_channels").expect("in_channels");
    let init = Initialisation::default();
    ClassificationPostprocessor::new(inputs, config.num_labels(), init, device)
}

pub(crate) fn multimodal(
    arguments: &mut Arguments,
    config: &PerceiverConfig,
    device: &Device,
) -> MultimodalPostprocessor {
    arguments.ignore(&["input_is_dict"]);
    let mut of = arguments.nested("modalities").expect("modalities");
    let mut audio_arguments = of.the_part("audio", "PerceiverAudioPostprocessor");
    let mut image_arguments = of.the_part("image", "PerceiverProjectionPostprocessor");
    let mut label_arguments = of.the_part("label", "PerceiverClassificationPostprocessor");
    MultimodalPostprocessor::new(
        audio(&mut audio_arguments, config, device),
        projection(&mut image_arguments, device),
        classification(&mut label_arguments, config, device),
    )
}
