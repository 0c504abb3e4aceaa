use burn::tensor::Device;
use perceiver_core::Initialisation;
use perceiver_io::{
    AudioPreprocessorConfig, Combination, FourierPositionEncoding, ImageInput, ImagePreparation,
    ImagePreprocessorConfig, Modalities, MultimodalInput, MultimodalPreprocessor,
    MultimodalPreprocessorConfig, OneHotPreprocessor, Pixels, PositionConfig,
    PositionEncodingConfig, Preprocessor, TextPreprocessor, TextPreprocessorConfig,
};
use perceiver_models::{NamedTensors, PerceiverConfig};
use serde_json::json;

use crate::arguments::Arguments;
use crate::case::{Case, reshaped};

/// In token order.
pub(crate) const MODALITIES: [&str; 3] = ["audio", "image", "label"];

pub(crate) fn run(case: &Case, device: &Device) -> Result<NamedTensors, String> {
    let mut arguments = case.arguments();
    let init = Initialisation::default();
    match case.part() {
        "PerceiverTextPreprocessor" => {
            preprocess(case, text(&case.config, device), case.ids("inputs", device))
        }
        "PerceiverOneHotPreprocessor" => {
            preprocess(case, one_hot(&case.config), case.input("inputs", device))
        }
        "PerceiverAudioPreprocessor" => {
            let module = audio(&mut arguments).init(init, device);
            preprocess(case, module, case.input("inputs", device))
        }
        "PerceiverImagePreprocessor" => {
            let module = image(&mut arguments).init(init, device);
            preprocess(case, module, image_input(case, device))
        }
        "PerceiverMultimodalPreprocessor" => {
            let module = multimodal(&mut arguments, &case.config, device);
            preprocess(case, module, multimodal_input(case, device))
        }
        other => Err(format!("unknown preprocessor {other}")),
    }
}

fn preprocess<P: Preprocessor>(
    case: &Case,
    module: P,
    input: P::Input,
) -> Result<NamedTensors, String> {
    let module = case.load(module)?;
    let channels = json!(module.channels());
    if channels != case.options["num_channels"] {
        return Err(format!("says it makes {channels} channels"));
    }
    let made = module.forward(input);
    let flat = case.options["call"]["network_input_is_1d"] != false;
    let as_expected = |name: &str, data| {
        if flat { data } else { reshaped(data, case.outputs[name].shape()) }
    };
    let mut found = NamedTensors::new();
    let tokens = made.tokens.to_dense().into_data();
    found.insert("inputs".into(), as_expected("inputs", tokens));
    let sizes = case.options.get("modality_sizes");
    for (i, content) in made.without_positions.into_iter().enumerate() {
        let name = match sizes {
            None => "inputs_without_pos".to_owned(),
            Some(_) => format!("inputs_without_pos.{}", MODALITIES[i]),
        };
        let content = as_expected(&name, content.to_dense().into_data());
        found.insert(name, content);
    }
    for (i, segment) in made.tokens.segments().iter().enumerate() {
        let tokens = json!(segment.tokens());
        if sizes.is_some_and(|sizes| sizes[MODALITIES[i]] != tokens) {
            return Err(format!("makes {tokens} tokens of {}", MODALITIES[i]));
        }
    }
    Ok(found)
}

pub(crate) fn text(config: &PerceiverConfig, device: &Device) -> TextPreprocessor {
    let text = TextPreprocessorConfig {
        vocabulary: config.vocab_size,
        max_positions: config.max_position_embeddings,
        channels: config.d_model,
    };
    text.init(Initialisation::default(), device)
}

fn one_hot(config: &PerceiverConfig) -> OneHotPreprocessor {
    OneHotPreprocessor::new(config.num_labels())
}

fn audio(arguments: &mut Arguments) -> AudioPreprocessorConfig {
    let out_channels = arguments.size("out_channels", 64);
    AudioPreprocessorConfig {
        samples_per_patch: arguments.size("samples_per_patch", 96),
        positions: positions(arguments, "fourier", out_channels),
        combination: combination(arguments),
    }
}

pub(crate) fn image(arguments: &mut Arguments) -> ImagePreprocessorConfig {
    let out_channels = arguments.size("out_channels", 64);
    let batch_norm = arguments.switch("conv2d_use_batchnorm", true);
    let block = arguments.size("conv_after_patching_in_channels", 54);
    let linear = arguments.switch("conv_after_patching", false).then_some(block);
    let preparation = match arguments.text("prep_type", "conv").as_str() {
        "conv" => ImagePreparation::Conv { batch_norm },
        "conv1x1" => ImagePreparation::Conv1x1,
        "patches" => ImagePreparation::Patches { linear },
        "pixels" => ImagePreparation::Pixels,
        other => panic!("prep_type cannot be {other}"),
    };
    ImagePreprocessorConfig {
        preparation,
        in_channels: arguments.size("in_channels", 3),
        out_channels,
        spatial_downsample: arguments.size("spatial_downsample", 4),
        temporal_downsample: arguments.size("temporal_downsample", 1),
        positions: positions(arguments, "fourier", out_channels),
        combination: combination(arguments),
    }
}

pub(crate) fn image_input(case: &Case, device: &Device) -> ImageInput {
    ImageInput {
        pixels: match case.rank("inputs") {
            4 => Pixels::Image(case.input("inputs", device)),
            _ => Pixels::Video(case.input("inputs", device)),
        },
        interpolate_positions: case.options["call"]["interpolate_pos_encoding"] == true,
    }
}

pub(crate) fn multimodal(
    arguments: &mut Arguments,
    config: &PerceiverConfig,
    device: &Device,
) -> MultimodalPreprocessor {
    let mut of = arguments.nested("modalities").expect("modalities");
    let audio = audio(&mut of.the_part("audio", "PerceiverAudioPreprocessor"));
    let image = image(&mut of.the_part("image", "PerceiverImagePreprocessor"));
    drop(of.the_part("label", "PerceiverOneHotPreprocessor"));
    let mut masks = arguments.nested("mask_probs");
    let mut probability =
        |modality: &str| masks.as_mut().and_then(|masks| masks.optional_number(modality));
    let multimodal = MultimodalPreprocessorConfig {
        audio,
        image,
        labels: config.num_labels(),
        min_padding: arguments.size("min_padding_size", 2),
        mask_probabilities: Modalities {
            audio: probability("audio"),
            image: probability("image"),
            label: probability("label"),
        },
    };
    multimodal.init(Initialisation::default(), device)
}

pub(crate) fn multimodal_input(case: &Case, device: &Device) -> MultimodalInput {
    MultimodalInput {
        audio: case.input("inputs.audio", device),
        image: case.input("inputs.image", device),
        label: case.input("inputs.label", device),
        hidden_labels: None,
    }
}

/// Positions, projected from `out_channels` if the arguments have a projection.
pub(crate) fn positions(
    arguments: &mut Arguments,
    default: &str,
    out_channels: usize,
) -> PositionConfig {
    let encoding = match arguments.text("position_encoding_type", default).as_str() {
        "fourier" => {
            let of = arguments.nested("fourier_position_encoding_kwargs");
            let fourier = fourier(&mut of.expect("arguments of the Fourier encoding"));
            PositionEncodingConfig::Fourier(fourier)
        }
        "trainable" => {
            let of = arguments.nested("trainable_position_encoding_kwargs");
            trainable(&mut of.expect("arguments of the trainable encoding"))
        }
        other => panic!("position_encoding_type cannot be {other}"),
    };
    let projected = arguments.optional_size("project_pos_dim");
    PositionConfig { encoding, projection: projected.map(|channels| (out_channels, channels)) }
}

pub(crate) fn fourier(arguments: &mut Arguments) -> FourierPositionEncoding {
    FourierPositionEncoding {
        bands: arguments.optional_size("num_bands").expect("num_bands"),
        max_resolution: arguments.sizes("max_resolution").expect("max_resolution"),
        concat_positions: arguments.switch("concat_pos", true),
        sine_only: arguments.switch("sine_only", false),
    }
}

pub(crate) fn trainable(arguments: &mut Arguments) -> PositionEncodingConfig {
    let index_dims = arguments.sizes("index_dims").expect("index_dims");
    PositionEncodingConfig::Trainable {
        positions: index_dims.iter().product(),
        dimensions: index_dims.len(),
        channels: arguments.size("num_channels", 128),
    }
}

fn combination(arguments: &mut Arguments) -> Combination {
    match arguments.text("concat_or_add_pos", "concat").as_str() {
        "concat" => Combination::Concat,
        "add" => Combination::Add,
        other => panic!("concat_or_add_pos cannot be {other}"),
    }
}
